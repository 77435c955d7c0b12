"""True stereo pairs as a truth: the left picture warped to the right eye, and the right picture for what is missing.

A pair is a folder with a left picture, a right picture and the left picture's disparity, named as in `NAMES`. Disparity
is in px of the left picture and positive: what is at column x of the left picture is at x - disparity in the right one.
Disparity files are PFM and NPY (not finite = not measured) or PNG, grey of 8 or 16 bit (0 = not measured). Their
numbers are divided by the scale.
"""

import math
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import Tensor
from torch.nn import functional as F

from inpaintkit.data import UnreadablePicture, read_picture
from inpaintkit.errors import InputError
from inpaintkit.files import require_folder
from inpaintkit.inspection.pictures import picture_batch
from inpaintkit.inspection.truths import Case, Truth
from inpaintkit.neighbours import nearest_known
from inpaintkit.synthesis import close_hole, dilate_edge, forward_warp
from inpaintkit.text import shown

NAMES = (("left", "right", "disparity"), ("im0", "im1", "disp0"), ("view1", "view5", "disp1"), ("im2", "im6", "disp2"))
"""Stems of left picture, right picture and disparity: plain; Middlebury 2014 and 2021; 2005 and 2006; 2003."""

PICTURES = (".png", ".jpg", ".jpeg", ".ppm")
DISPARITIES = (".pfm", ".npy", ".png")
SCALE_16_BIT = 256.0
"""Stored number per px in 16-bit PNG files, as in KITTI."""

WIDEST = 1280
"""Wider pairs, in px, are shrunk by the smallest whole factor that suffices: some fills take minutes otherwise."""

CLIPPED_ERROR = 0.25
"""Colour differences are clipped to this, so that occlusions and highlights don't decide the sign."""

DECISIVE = 0.9
"""A disparity is refused if the error of its opposite, or of no disparity, is at most this share of its own."""

LEAST_DISPARITY = 1.0
"""Mean disparity in px below which the sign can't be checked."""

MOST_PIXELS = 120_000_000
"""Larger disparity maps are refused before their pixels are read, which bounds the memory."""

_ALL_MEASURED = 0.999


def stereo_truth(folder: str | Path, scale: float | None = None, edge_dilation: int = 0) -> Truth:
    """Return the stereo pairs in `folder` and in the folders inside it as a truth; files are read when needed.

    `scale`: stored number per px of disparity; None: 1, in 16-bit PNG files 256. `edge_dilation`: rounds by which near
    edges of the disparity grow before the warp. Folders inside it without a whole pair are left out, with a message.
    Each pair is read once at the start, so that a bad one is reported before anything is judged: raises `InputError` as
    `read_case` does, and if there is no pair.
    """
    root = require_folder(folder, "stereo_dir")
    places = [root, *sorted(place for place in root.iterdir() if place.is_dir() and not place.name.startswith("."))]
    looked = {place: find_pair(place) for place in places}
    found = {place: files for place, (files, lacks) in looked.items() if not lacks}
    if not found:
        raise InputError(
            f"stereo_dir: {root} holds no folder with left.png, right.png and disparity.pfm, .npy or .png "
            "(or im0.png, im1.png, disp0.pfm); put each pair into a folder of its own"
        )
    for place in places[1:]:
        if place not in found:
            print(f"stereo pairs: {shown(place.name)} is left out: {looked[place][1]}", flush=True)
    names = [shown(place.absolute().name) for place in found]
    pairs = list(found.values())
    for name, files in zip(names, pairs, strict=True):
        read_case(files, name, scale)

    def load(index: int) -> Case:
        return read_case(pairs[index], names[index], scale, edge_dilation)

    return Truth("stereo pairs", names, load)


def find_pair(place: Path) -> tuple[list[Path], str]:
    """Return the files (left, right, disparity) of the stereo pair in `place`, and in words what is missing, or ""."""
    stems = min(NAMES, key=lambda stems: _files(place, stems).count(None))
    files = _files(place, stems)
    missing = [stem for stem, file in zip(stems, files, strict=True) if file is None]
    lacks = "it has none of a pair's files" if len(missing) == len(stems) else f"it has no {' and no '.join(missing)}"
    return [file for file in files if file is not None], lacks if missing else ""


def _files(place: Path, stems: tuple[str, str, str]) -> list[Path | None]:
    """Return the files in `place` that are named by `stems`, None for each that doesn't exist."""
    return [
        next((file for ending in endings if (file := place / (stem + ending)).is_file()), None)
        for stem, endings in zip(stems, (PICTURES, PICTURES, DISPARITIES), strict=True)
    ]


def read_case(files: Sequence[Path], name: str, scale: float | None = None, edge_dilation: int = 0) -> Case:
    """Return the stereo pair `files`, see `find_pair`, as a case.

    Raises `InputError` for unreadable files and for sizes that differ, and as `stereo_case` does.
    """
    left, right = map(_read_picture, files[:2])
    disparity = read_disparity(files[2], scale)
    if not left.shape[-2:] == right.shape[-2:] == disparity.shape[-2:]:
        sizes = ", ".join(f"{x.shape[-1]}x{x.shape[-2]}" for x in (left, right, disparity))
        raise InputError(
            f"stereo_dir: {name}: left, right and disparity differ in size ({sizes}); give them in one size"
        )
    factor = math.ceil(left.shape[-1] / WIDEST)
    if factor > 1:
        left, right = (F.avg_pool2d(x, factor) for x in (left, right))
        disparity = disparity[..., factor // 2 :: factor, factor // 2 :: factor] / factor
        disparity = disparity[..., : left.shape[-2], : left.shape[-1]]
    return stereo_case(left, right, disparity, name, edge_dilation)


def stereo_case(left: Tensor, right: Tensor, disparity: Tensor, name: str, edge_dilation: int = 0) -> Case:
    """Return a stereo pair as a case: the left picture warped to the right eye, the right one as truth in its holes.

    `left` and `right`: (1, 3, H, W), 0..1; `disparity`: (1, 1, H, W) px, not finite where it isn't measured. Hole
    pixels count if the nearest known pixels on both sides in the row are measured: that leaves out the strip that only
    the right eye sees, and holes beside guesses. Raises `InputError` if the disparity has the wrong sign or doesn't fit
    at all.
    """
    measured = disparity.isfinite()
    check_disparity(left, right, disparity, name)
    known = fill_unmeasured(disparity)
    near, far = max(float(known.max()), 0.0), min(float(known.min()), 0.0)
    width = left.shape[-1]
    reach = max(near - far, 1e-6)
    if reach > width / 2:
        raise InputError(f"stereo_dir: {name}: its disparities span {reach:.0f} of {width} px; check disparity_scale")
    # The warp repeats the outermost pixels beyond the border; nothing is measured there, so they don't count.
    sure = measured.clone()
    sure[..., [0, -1]] = False
    values = torch.cat([left, sure.to(left)], dim=1)
    depth = dilate_edge((known - far) / reach, edge_dilation)
    warped, hole = forward_warp(values, depth, 200 * reach / width, -far / reach, "right")
    hole = close_hole(hole)
    judged = hole & between(hole, warped[:, 3:] > _ALL_MEASURED)
    picture = warped[:, :3].clamp(0, 1)
    return Case(name, name, picture, hole, torch.where(hole, right, picture), judged, left, right)


def check_disparity(left: Tensor, right: Tensor, disparity: Tensor, name: str) -> None:
    """Raise `InputError` if no disparity is measured, or if its opposite, or none, explains the right picture better.

    "Better" means by `DECISIVE`. With a mean below `LEAST_DISPARITY` nothing is compared.
    """
    measured = disparity.isfinite()
    if not bool(measured.any()):
        raise InputError(f"stereo_dir: {name}: no disparity is measured; check the file and disparity_scale")
    shift = torch.where(measured, disparity, 0.0)
    if float(shift.abs().sum() / measured.sum()) < LEAST_DISPARITY:
        return
    errors = {sign: _colour_error(left, right, sign * shift, measured) for sign in (1, -1, 0)}
    best = min(errors, key=lambda sign: errors[sign])
    if best == 1 or errors[best] > DECISIVE * errors[1]:
        return
    if best == -1:
        raise InputError(
            f"stereo_dir: {name}: the disparity has the wrong sign: colours differ by {errors[1]:.3f} with it and by "
            f"{errors[-1]:.3f} with its opposite; x in the left picture must be x - disparity in the right one, so negate "
            "it or exchange the pictures"
        )
    raise InputError(
        f"stereo_dir: {name}: the pictures fit better unmoved (colours differ by {errors[0]:.3f}) than moved by the "
        f"disparity ({errors[1]:.3f}); it must be in px of the left picture: check disparity_scale"
    )


def fill_unmeasured(disparity: Tensor) -> Tensor:
    """Return `disparity` (1, 1, H, W) px with values that aren't finite replaced from their row.

    Each takes the farther of the nearest measured values on both sides; in rows without any, the picture's farthest.
    """
    missing = ~disparity.isfinite()
    guess = torch.minimum(*_beside(missing, disparity, torch.inf))
    return torch.where(missing, torch.where(guess.isfinite(), guess, disparity[~missing].min()), disparity)


def between(hole: Tensor, measured: Tensor) -> Tensor:
    """Return the pixels of `hole` (1, 1, H, W) between two known pixels of their row that are both `measured`."""
    left, right = _beside(hole, measured, False)
    return left & right & hole


def _beside(hole: Tensor, values: Tensor, outside: float) -> Iterator[Tensor]:
    """Yield `values` (1, 1, H, W) at the nearest known pixel to the left, then to the right; `outside` if none."""
    padded = F.pad(values, (1, 1), value=outside)
    return (padded.gather(-1, column + 1) for column in nearest_known(hole))


def read_disparity(path: str | Path, scale: float | None = None) -> Tensor:
    """Return the disparity in a PFM, NPY or PNG file as float (1, 1, H, W), NaN where it isn't measured.

    `scale`: stored number per px; None: 1, in 16-bit PNG files 256. Raises `InputError` for any other file.
    """
    path = Path(path)
    try:
        if path.suffix == ".npy":
            # memory-mapped, so that a header with a wrong shape allocates nothing
            values = np.asarray(np.lib.format.open_memmap(path, mode="r"))
            usual_scale = 1.0
        else:
            values, usual_scale = _read_grey(path)
        if values.ndim != 2 or values.dtype.kind not in "fiu":
            raise ValueError(f"it holds {values.dtype} {values.shape} instead of one number per pixel")
        _check_size(values.shape[1], values.shape[0])
    except Exception as error:  # readers of foreign files raise dozens of kinds
        raise InputError(
            f"stereo_dir: {shown(path)} is no disparity map ({shown(error)}); give PFM, NPY or grey PNG"
        ) from None
    with np.errstate(over="ignore"):  # what float32 can't hold is infinite, hence not measured
        numbers = torch.from_numpy(values.astype(np.float32))[None, None] / (scale or usual_scale)
    return numbers.masked_fill(~numbers.isfinite(), torch.nan)


def _check_size(width: int, height: int) -> None:
    if not 0 < width * height <= MOST_PIXELS:
        raise ValueError(
            f"by its header it has {width}x{height} px, but only 1 to {MOST_PIXELS:,} px in all can be read"
        )


def _read_grey(path: Path) -> tuple[np.ndarray, float]:
    """Return the values of a PFM or PNG file, NaN where a PNG holds 0, and the usual scale of such a file."""
    with Image.open(path, formats=["PPM" if path.suffix == ".pfm" else "PNG"]) as image:
        _check_size(*image.size)
        if image.mode in ("1", "P"):
            raise ValueError("its numbers stand for colours of a palette, or for black and white")
        stored = np.array(image)
    if image.mode == "F":
        return stored, 1.0
    scale = 1.0 if stored.dtype == np.uint8 else SCALE_16_BIT
    return np.where(stored == 0, np.nan, stored.astype(np.float32)), scale


def _read_picture(path: Path) -> Tensor:
    try:
        return picture_batch(read_picture(path))
    except UnreadablePicture as error:
        raise InputError(f"stereo_dir: {path} can't be read ({error}); give a picture") from None


def _colour_error(left: Tensor, right: Tensor, shift: Tensor, measured: Tensor) -> float:
    """Return the mean colour difference between measured pixels of `left` and the pixels of `right` they correspond to.

    `shift`: (1, 1, H, W) px, by which a point lies further left in `right`. Infinite if no pixel can be compared.
    """
    width = left.shape[-1]
    target = torch.arange(width).expand_as(shift) - shift.round().long()
    counted = measured & (target >= 0) & (target < width)
    seen = right.gather(-1, target.clamp(0, width - 1).expand_as(right))
    difference = (seen - left).abs().mean(dim=1, keepdim=True).clamp(max=CLIPPED_ERROR)
    return float(difference[counted].mean()) if bool(counted.any()) else math.inf
