"""Convert pictures and holes between the kinds that callers pass, tensors and 8-bit arrays; check the names of eyes."""

import io
from collections.abc import Iterator, Sequence
from typing import TypeVar

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image

from inpaintkit.config import require_known
from inpaintkit.errors import InputError

AnyPicture = TypeVar("AnyPicture", torch.Tensor, np.ndarray)
"""Float tensor (B, 3, H, W) or (3, H, W), 0..1, RGB; or uint8 array (H, W, 3). Results are of the same kind."""

Pixels = NDArray[np.uint8]
"""A picture as in files and on screens, (H, W, 3), 0..255."""

Hole = torch.Tensor | np.ndarray
"""(B, 1, H, W), (1, H, W) or (H, W); bool with True = missing, or numbers where anything above 0 is missing."""

WIGGLE_MS = 140
"""Milliseconds for which a wiggle picture shows each eye."""

GIF_COLOURS = 256
CHANNELS = 3
UINT8_MAX = 255
BAND = 256  # rows


def is_left(eye: str) -> bool:
    """Return True for ``"left"``, False for ``"right"``; raise `InputError` for anything else."""
    require_known("eye", eye, ("left", "right"))
    return eye == "left"


def picture_batch(picture: AnyPicture) -> torch.Tensor:
    """Return `picture` as float (B, 3, H, W). Raises `InputError` for any other shape or type."""
    if not isinstance(picture, np.ndarray | torch.Tensor):
        raise InputError(
            f"picture: expected a tensor or a uint8 array (H, W, 3), got {type(picture).__name__}; convert it"
        )
    if isinstance(picture, np.ndarray):
        if picture.dtype != np.uint8 or picture.ndim != 3 or picture.shape[2] != CHANNELS:
            raise InputError(
                f"picture: an array must be uint8 (H, W, 3), got {picture.dtype} {picture.shape}; convert it to RGB"
            )
        return torch.tensor(np.ascontiguousarray(picture)).permute(2, 0, 1)[None].float() / UINT8_MAX
    if not picture.is_floating_point() or picture.ndim not in (3, 4) or picture.shape[-3] != CHANNELS:
        raise InputError(
            f"picture: a tensor must be float (B, 3, H, W) or (3, H, W), got {picture.dtype} {tuple(picture.shape)}"
        )
    return picture if picture.ndim == 4 else picture[None]


def as_given(batch: torch.Tensor, picture: AnyPicture) -> AnyPicture:
    """Return `batch`, float (B, 3, H, W), converted to the kind of `picture`."""
    if isinstance(picture, np.ndarray):
        return to_uint8(batch[0])
    return batch if picture.ndim == 4 else batch[0]


def hole_batch(hole: Hole, like: torch.Tensor) -> torch.Tensor:
    """Return `hole` as bool (B, 1, H, W), True = missing, on the device of the picture `like` (B, 3, H, W).

    Numbers count as missing wherever they are above 0. A single hole is used for the whole batch. Raises `InputError`
    where it doesn't fit the picture.
    """
    if not isinstance(hole, np.ndarray | torch.Tensor):
        raise InputError(f"hole: expected a tensor or an array, got {type(hole).__name__}; convert it")
    mask = torch.from_numpy(hole > 0) if isinstance(hole, np.ndarray) else hole > 0
    mask = mask.reshape((1,) * (4 - mask.ndim) + tuple(mask.shape))
    batch, _, height, width = like.shape
    if mask.ndim != 4 or mask.shape[0] not in (1, batch) or tuple(mask.shape[1:]) != (1, height, width):
        raise InputError(
            f"hole: its shape {tuple(hole.shape)} does not fit the picture "
            f"({height} rows, {width} columns); give a hole of the same size"
        )
    return mask.to(like.device).expand(batch, 1, height, width)


def to_uint8(picture: torch.Tensor) -> np.ndarray:
    """Return a float picture (3, H, W), 0..1, as a uint8 array (H, W, 3)."""
    levels = np.empty((*picture.shape[1:], len(picture)), np.uint8)
    for rows in bands(picture.shape[1]):
        part = picture[:, rows].detach().float().clamp(0, 1).mul_(UINT8_MAX).round_().to(torch.uint8)
        cv2.merge(list(part.cpu().numpy()), levels[rows])  # three times as fast as a permuted copy
    return levels


def swinging_gif(frames: Sequence[Pixels]) -> bytes:
    """Return a GIF that endlessly loops through `frames`, (H, W, 3) each."""
    strip = Image.fromarray(np.concatenate(frames, axis=1)).quantize(GIF_COLOURS)  # the same colours in all of them
    width = strip.width // len(frames)
    first, *others = (strip.crop((left, 0, left + width, strip.height)) for left in range(0, strip.width, width))
    data = io.BytesIO()
    options = {"save_all": True, "append_images": others, "duration": WIGGLE_MS, "loop": 0, "optimize": False}
    first.save(data, format="GIF", **options)
    return data.getvalue()


def bands(height: int) -> Iterator[slice]:
    """Cut the rows of a picture into bands, so that intermediate results of large pictures stay small."""
    return (slice(top, top + BAND) for top in range(0, height, BAND))
