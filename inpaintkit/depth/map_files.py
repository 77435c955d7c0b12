"""Depth maps that lie beside the pictures, as iw3 exports and RGB-D cameras write them."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import numpy.typing as npt
import torch
import torch.nn.functional as F
from torch import Tensor

from inpaintkit.depth.fastdepth import limited_size
from inpaintkit.depth.protocol import min_max
from inpaintkit.errors import InputError

ENDINGS = ("_depth.png", "_depth.npy")


def read_depth_map(path: Path) -> npt.NDArray[np.float32]:
    """Return the values (H, W) of an 8 or 16 bit grey PNG or a NumPy file; raise `InputError` if they aren't a depth map."""
    try:
        if path.suffix == ".npy":
            values = np.load(path, allow_pickle=False)
        else:
            # decoding from memory also works where the path is not ASCII
            values = cv2.imdecode(np.fromfile(path, np.uint8), cv2.IMREAD_UNCHANGED)
    except (OSError, ValueError, EOFError, cv2.error):
        values = None
    if values is None:
        raise InputError(f"File: {path} can't be read as a depth map; write an 8 or 16 bit grey PNG or a .npy array")
    if values.ndim == 3 and (values == values[:, :, :1]).all():
        values = values[:, :, 0]
    if values.ndim != 2 or values.dtype.kind not in "uif":
        raise InputError(
            f"File: {path} has shape {values.shape} and type {values.dtype}; write one grey channel of numbers"
        )
    if not np.isfinite(values).all():
        raise InputError(f"File: {path} holds NaN or infinite values; replace them by a depth")
    return np.asarray(values, np.float32)


class MapFileModel:
    """Depth from ``NAME_depth.png`` or ``NAME_depth.npy`` for picture ``NAME.*``, bright = near, scaled to 0..1 per picture.

    The maps lie beside the pictures, or in `folder`. With `near_is_bright` off, large values mean far.
    """

    name = "File"
    metric = False
    version = "file"

    def __init__(
        self, resolution: int | None = None, folder: str | Path | None = None, near_is_bright: bool = True
    ) -> None:
        self.resolution = resolution or 0  # 0: each map's own
        self.folder = Path(folder) if folder is not None else None
        self.near_is_bright = near_is_bright

    def find_map(self, picture_path: str | Path) -> Path:
        """Return the depth map of a picture; raise `InputError` that names what was looked for if there is none."""
        picture = Path(picture_path)
        folder = self.folder or picture.parent
        candidates = [folder / f"{picture.stem}{ending}" for ending in ENDINGS]
        for candidate in candidates:
            if candidate.is_file():
                return candidate
        raise InputError(
            f"File: no depth map for {picture}; put {candidates[0].name} or {candidates[1].name} into {folder}"
        )

    def infer_file(self, picture_path: str | Path) -> Tensor:
        """Return depth (1, 1, h, w), float32 in 0..1, 1 = near, for the picture file `picture_path`."""
        depth = torch.from_numpy(read_depth_map(self.find_map(picture_path)))[None, None]
        if self.resolution:
            size = limited_size(depth.shape[2], depth.shape[3], self.resolution)
            depth = F.interpolate(depth, size, mode="area")
        return min_max(depth if self.near_is_bright else -depth)

    def infer(self, pictures: Tensor) -> Tensor:
        """Raise `InputError`: a map can't be found from the picture's content."""
        raise InputError(
            "File: depth maps are found by the picture's path; call infer_file(path) instead of infer(pictures)"
        )
