"""A stereo pair as files: from a picture on disk to what one can look at."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from PIL import Image

from inpaintkit.config import resolve_device
from inpaintkit.data import UnreadablePicture, read_picture
from inpaintkit.depth import create_depth_model, depth_of_file
from inpaintkit.errors import InputError
from inpaintkit.files import atomic_path, require_writable
from inpaintkit.inspection.fills import FILLS, on_grown_hole
from inpaintkit.inspection.inpainter import Inpainter
from inpaintkit.inspection.stereo import StereoPair, stereo_pair

JPEG_QUALITY = 92


def stereo_from_file(
    picture: str | Path,
    checkpoint: str | Path | None = None,
    model_type: str = "FastDepth",
    divergence: float = 2.5,
    convergence: float = 0.5,
    device: str = "auto",
    edge_dilation: int = 0,
    outer_dilation: int = 0,
) -> StereoPair:
    """Return the stereo pair of a picture file; without `checkpoint` holes are filled along the row.

    `edge_dilation`: rounds by which near edges of the depth map grow; `outer_dilation`: px by which holes grow to the
    background side. Both keep mixed colours of edges away from the holes.

    Raises `InputError` for a missing or unreadable picture, an unknown depth model, or a bad checkpoint.
    """
    try:
        pixels = read_picture(picture)
    except UnreadablePicture as error:
        raise InputError(f"picture: {picture} can't be read ({error}); give a photo") from None
    place = resolve_device(device)
    batch = torch.from_numpy(pixels).to(place).permute(2, 0, 1)[None] / 255
    depth = depth_of_file(create_depth_model(model_type, place), picture, batch).to(place)
    fill = Inpainter(checkpoint, place) if checkpoint is not None else FILLS["row"]
    fill = on_grown_hole(fill, outer_dilation)
    return stereo_pair(batch, depth, divergence, convergence, fill, edge_dilation)


def save_stereo(pair: StereoPair, folder: str | Path, name: str) -> list[Path]:
    """Save `pair` into `folder` as red-cyan anaglyph, side by side and over-under (full size), and wiggle GIF; return the files."""
    target = require_writable(folder, "output")
    pictures = {"anaglyph": pair.anaglyph(), "side_by_side": pair.side_by_side(), "over_under": pair.over_under()}
    files = [_save_jpeg(pixels, target / f"{name}_{kind}.jpg") for kind, pixels in pictures.items()]
    return [*files, pair.save_wiggle(target / f"{name}_wiggle.gif")]


def make_stereo_files(
    picture: str | Path,
    checkpoint: str | Path | None = None,
    model_type: str = "FastDepth",
    divergence: float = 2.5,
    convergence: float = 0.5,
    folder: str | Path | None = None,
    edge_dilation: int = 0,
    outer_dilation: int = 0,
) -> list[Path]:
    """Make a stereo pair of a picture file and save it, by default beside the picture; see `stereo_from_file`."""
    picture = Path(picture)
    target = require_writable(folder if folder is not None else picture.parent, "output")
    pair = stereo_from_file(
        picture,
        checkpoint,
        model_type,
        divergence,
        convergence,
        edge_dilation=edge_dilation,
        outer_dilation=outer_dilation,
    )
    return save_stereo(pair, target, picture.stem)


def _save_jpeg(pixels: np.ndarray, path: Path) -> Path:
    with atomic_path(path) as temporary:
        Image.fromarray(pixels).save(temporary, format="JPEG", quality=JPEG_QUALITY)
    return path
