"""Depth maps in files beside the pictures, as iw3's export and RGB-D cameras write them."""

import importlib.util
import math
from functools import lru_cache
from pathlib import Path

import cv2
import numpy as np
import numpy.typing as npt
import torch
import torch.nn.functional as F
from PIL import Image
from PIL.TiffImagePlugin import IMAGELENGTH, IMAGEWIDTH, TiffImageFile
from torch import Tensor

from inpaintkit.config import MAP_NAME, MAP_VALUES, NEAR_IS_BRIGHT, require_known
from inpaintkit.depth.preparation import limited_size
from inpaintkit.depth.protocol import DepthModel, min_max
from inpaintkit.errors import InputError
from inpaintkit.files import require_folder
from inpaintkit.text import seen_name, shown

ENDINGS = (".png", ".npy", ".exr", ".jpg", ".jpeg", ".tif", ".tiff", ".webp")
LARGEST_FILE, LARGEST_MAP = 1 << 30, 120_000_000  # bytes, pixels
ORIENTATION_TAG = 0x0112
TURNS = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
"""How to turn a camera's picture upright, by its EXIF orientation."""

SIDEWAYS = (5, 6, 7, 8)
"""Orientations that swap width and height."""

SAME_SHAPE = 0.02  # up to which difference of aspect ratio (see `_aspect_difference`) a map fits its picture as it is
SQUEEZED = 0.11
"""Difference up to which a map is resized to fit: networks' maps, as iw3 exports them, have rounded sides and cut
borders. 3:2 and 4:3 differ by more."""

EXR_CHANNELS = ("Z", "Y", "RGB")  # distance, grey, colour; looked for in this order


def _read_exr(path: Path) -> npt.NDArray[np.generic]:
    if importlib.util.find_spec("OpenEXR") is None:
        raise InputError(f"File: {path} needs the package OpenEXR; run `pip install OpenEXR`")
    import OpenEXR

    try:
        channels = OpenEXR.File(str(path)).channels()
    except RuntimeError as error:
        raise OSError(str(error)) from error
    named = [name for name in EXR_CHANNELS if name in channels]
    values: npt.NDArray[np.generic] = channels[(named or list(channels))[0]].pixels
    return values


def _read_values(path: Path) -> npt.NDArray[np.generic] | None:
    if path.stat().st_size > LARGEST_FILE:
        raise ValueError(f"it has more than {LARGEST_FILE >> 20} MiB")
    if path.suffix.lower() == ".npy":
        # memory-mapped first: a header with a wrong shape allocates nothing, and arrays of Python objects are refused
        return np.array(np.lib.format.open_memmap(path, mode="r"))
    if path.suffix.lower() == ".exr":
        return _read_exr(path)
    with Image.open(path) as image:  # the size is known before anything is decoded
        if math.prod(image.size) > LARGEST_MAP:
            raise ValueError(f"it has more than {LARGEST_MAP // 1_000_000} million pixels")
    # decoding from memory also works where the path is not ASCII
    return cv2.imdecode(np.fromfile(path, np.uint8), cv2.IMREAD_UNCHANGED)


def read_depth_map(path: Path) -> npt.NDArray[np.float32]:
    """Return the values (H, W) of a grey picture, NumPy or EXR file; raise `InputError` if they aren't a depth map."""
    reason = ""
    try:
        values = _read_values(path)
    except InputError:
        raise
    except Exception as error:  # decoders raise dozens of kinds of errors, and one bad file must not end a run
        values = None
        reason = f" ({shown(error)})"
    if values is None:
        raise InputError(
            f"File: {path} can't be read as a depth map{reason}; write an 8 or 16 bit grey PNG, a .npy array or an .exr file"
        )
    if not values.size:
        raise InputError(f"File: {path} holds no values; write a depth map of the picture's shape")
    if values.ndim == 3 and (values == values[:, :, :1]).all():
        values = values[:, :, 0]
    if values.ndim != 2 or values.dtype.kind not in "uif":
        raise InputError(
            f"File: {path} has shape {values.shape} and type {values.dtype}; write one grey channel of numbers"
        )
    with np.errstate(over="ignore"):
        numbers = np.asarray(values, np.float32)
    if not np.isfinite(numbers).all():
        raise InputError(f"File: {path} holds NaN or infinite values; replace them by a depth")
    return numbers


class MapFileModel:
    """Depth model that reads each picture's depth from a map file and scales it to 0..1 per picture.

    The maps lie beside the pictures, or in `folder`. `map_name` is a map's name without its ending, in which ``{name}``
    stands for the picture's; the `ENDINGS` are tried in order. `values` tells what large values mean:
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
        require_known("map_values", values, MAP_VALUES)
        if "{name}" not in map_name or "/" in map_name or "\\" in map_name:
            raise InputError(f"map_name: {map_name!r} must hold {{name}} and no folder, e.g. {MAP_NAME}")
        if map_name != MAP_NAME and folder is None:
            raise InputError(
                f"map_name: only maps named {MAP_NAME} can lie beside the pictures; give the folder of {map_name!r} as model_path"
            )
        self.resolution = resolution or 0  # 0: each map's own
        self.folder = require_folder(folder, "model_path") if folder is not None else None
        self.map_name = map_name
        self.near_is_bright = values == NEAR_IS_BRIGHT
        self.metric = values == "distance"
        self.version = "file" if self.near_is_bright else f"file-{values}"

    def find_map(self, picture_path: str | Path) -> Path:
        """Return the path of a picture's depth map; raise `InputError` that names the files to add if there is none."""
        picture = Path(picture_path)
        folder = self.folder or picture.parent
        stem = self.map_name.replace("{name}", picture.stem)
        entries = _entries(folder, folder.stat().st_mtime_ns) if folder.is_dir() else {}
        for ending in ENDINGS:
            found = entries.get(seen_name(f"{stem}{ending}"))
            if found is not None and found.is_file():
                return found
        raise InputError(f"File: no depth map for {picture}; put {stem}.png, {stem}.npy or {stem}.exr into {folder}")

    def infer_file(self, picture_path: str | Path) -> Tensor:
        """Return depth (1, 1, h, w), float32 in 0..1, 1 = near, for a picture file, upright as the picture is shown.

        Raises `InputError` if there is no readable map or its shape differs from the picture's.
        """
        file = self.find_map(picture_path)
        depth = torch.from_numpy(_upright(read_depth_map(file), file, Path(picture_path)))[None, None]
        if self.resolution:
            size = limited_size(depth.shape[2], depth.shape[3], self.resolution)
            depth = F.interpolate(depth, size, mode="area")
        return min_max(depth if self.near_is_bright else -depth)

    def infer(self, pictures: Tensor) -> Tensor:
        """Raise `InputError`: a map can't be found from the picture's content."""
        raise InputError(
            "File: depth maps are found by the picture's path; call infer_file(path) instead of infer(pictures)"
        )


def depth_of_file(model: DepthModel, path: str | Path, pixels: Tensor) -> Tensor:
    """Return depth (1, 1, h, w) of the picture file `path` with `pixels` (1, 3, H, W): from its map or the network."""
    return model.infer_file(path) if isinstance(model, MapFileModel) else model.infer(pixels)


@lru_cache(maxsize=8)
def _entries(folder: Path, changed: int) -> dict[str, Path]:
    """Return the entries of `folder` by `seen_name`; `changed`, its modification time, makes the cache list it anew."""
    return {seen_name(path.name): path for path in sorted(folder.iterdir(), reverse=True)}


def _upright(values: npt.NDArray[np.float32], file: Path, picture: Path) -> npt.NDArray[np.float32]:
    """Return a map in the shape of its picture as shown; raise `InputError` if their shapes differ too much.

    A map stored sideways, as the sensor saw the picture, is turned upright; one that a network squeezed a little is
    resized.
    """
    try:
        with Image.open(picture) as image:
            stored = image.size
            turn = image.getexif().get(ORIENTATION_TAG, 1)
            if isinstance(image, TiffImageFile):  # its `size` may already be that of the turned picture
                stored = image.tag_v2[IMAGEWIDTH], image.tag_v2[IMAGELENGTH]
    except Exception:  # a picture that can't be read is refused elsewhere, with its own reason
        return values
    seen = stored[::-1] if turn in SIDEWAYS else stored
    size = values.shape[::-1]
    upright = _aspect_difference(size, seen)
    sideways = _aspect_difference(size, stored) if turn in SIDEWAYS else math.inf
    if min(upright, sideways) >= SQUEEZED:
        raise InputError(
            f"File: {file} is a map of {size[0]}x{size[1]} px, {picture.name} a picture of {seen[0]}x{seen[1]}; their shapes differ"
        )
    if sideways < upright:
        values = np.array(Image.fromarray(values).transpose(TURNS[turn]))
    if min(upright, sideways) < SAME_SHAPE:
        return values
    scale = min(size) / min(seen)
    fitting: npt.NDArray[np.float32] = cv2.resize(values, (round(seen[0] * scale), round(seen[1] * scale)))
    return fitting


def _aspect_difference(one: tuple[int, ...], other: tuple[int, ...]) -> float:
    """Return how much the aspect ratios of two sizes differ beyond rounding, as a logarithm; 0 = not at all."""
    return max(0.0, abs(math.log(one[0] / one[1] * other[1] / other[0])) - 1 / min(*one, *other))
