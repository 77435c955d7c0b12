"""Depth maps that lie beside the pictures, as iw3 exports and RGB-D cameras write them."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import cv2
import numpy as np
import numpy.typing as npt
import torch
import torch.nn.functional as F
from torch import Tensor

from inpaintkit.config import MAP_VALUES, nearest_name
from inpaintkit.depth.fastdepth import limited_size
from inpaintkit.depth.protocol import MAP_NAME, NEAR_IS_BRIGHT, min_max
from inpaintkit.errors import InputError

ENDINGS = (".png", ".npy", ".exr")
EXR_CHANNELS = ("Z", "Y", "RGB")  # distance, grey, colour; looked for in this order


def _read_exr(path: Path) -> npt.NDArray[np.generic]:
    if importlib.util.find_spec("OpenEXR") is None:
        raise InputError(f"File: {path} needs the package OpenEXR; run `pip install inpaintkit[exr]`")
    import OpenEXR

    try:
        channels = OpenEXR.File(str(path)).channels()
    except RuntimeError as error:
        raise OSError(str(error)) from error
    named = [name for name in EXR_CHANNELS if name in channels]
    values: npt.NDArray[np.generic] = channels[(named or list(channels))[0]].pixels
    return values


def _read_values(path: Path) -> npt.NDArray[np.generic] | None:
    if path.suffix == ".npy":
        return np.load(path, allow_pickle=False)  # type: ignore[no-any-return]
    if path.suffix == ".exr":
        return _read_exr(path)
    # decoding from memory also works where the path is not ASCII
    return cv2.imdecode(np.fromfile(path, np.uint8), cv2.IMREAD_UNCHANGED)


def read_depth_map(path: Path) -> npt.NDArray[np.float32]:
    """Return the values (H, W) of an 8 or 16 bit grey PNG, a NumPy or an EXR file; raise `InputError` if they aren't a depth map."""
    try:
        values = _read_values(path)
    except InputError:
        raise
    except (OSError, ValueError, EOFError, cv2.error):
        values = None
    if values is None:
        raise InputError(
            f"File: {path} can't be read as a depth map; write an 8 or 16 bit grey PNG, a .npy array or an .exr file"
        )
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
    """Depth from a map for each picture file, scaled to 0..1 per picture.

    The maps lie beside the pictures, or in `folder`. `map_name` is the map's name without ending, in which ``{name}``
    stands for the picture's; .png, .npy and .exr are looked for. `values` says what large values mean:
    ``near_is_bright``, ``far_is_bright`` (both relative), or ``distance`` (metric; 0 is nearest, not unknown).
    """

    name = "File"

    def __init__(
        self,
        resolution: int | None = None,
        folder: str | Path | None = None,
        map_name: str = MAP_NAME,
        values: str = NEAR_IS_BRIGHT,
    ) -> None:
        if values not in MAP_VALUES:
            hint = nearest_name(values, MAP_VALUES)
            raise InputError(f"map_values: {values!r} is unknown{hint}; choose one of {', '.join(MAP_VALUES)}")
        if "{name}" not in map_name or "/" in map_name or "\\" in map_name:
            raise InputError(f"map_name: {map_name!r} must hold {{name}} and no folder, e.g. {MAP_NAME}")
        if map_name != MAP_NAME and folder is None:
            raise InputError(
                f"map_name: only maps named {MAP_NAME} can lie beside the pictures; give the folder of {map_name!r} as model_path"
            )
        self.resolution = resolution or 0  # 0: each map's own
        self.folder = Path(folder) if folder is not None else None
        self.map_name, self.near_is_bright = map_name, values == NEAR_IS_BRIGHT
        self.metric = values == "distance"
        self.version = "file" if self.near_is_bright else f"file-{values}"

    def find_map(self, picture_path: str | Path) -> Path:
        """Return the depth map of a picture; raise `InputError` that names what was looked for if there is none."""
        picture = Path(picture_path)
        folder = self.folder or picture.parent
        stem = self.map_name.replace("{name}", picture.stem)
        candidates = [folder / f"{stem}{ending}" for ending in ENDINGS]
        for candidate in candidates:
            if candidate.is_file():
                return candidate
        raise InputError(f"File: no depth map for {picture}; put {stem}.png, {stem}.npy or {stem}.exr into {folder}")

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
