"""The colour changes of `colours` for a batch of pictures on any device, with results equal in every bit.

On MPS, contrast is equal up to rounding. Pictures are integers 0..255. At each place in the order, a change is applied
at once to all pictures that have it there, with their amounts as a tensor, so the number of operations doesn't grow
with the batch.
"""

import functools
from collections.abc import Callable, Sequence
from typing import Any

import cv2
import numpy as np
import torch
from torch import Tensor

from inpaintkit.data.colours import ALL_LUMINANCE, HUES, LUMINANCE, SAME, Changes

FIXED_POINT = 1 << 10  # OpenCV mixes 8-bit channels with weights in units of 1/1024
GREY_WEIGHTS, GREY_POINT = (9798, 19235, 3735), 1 << 15  # and takes `LUMINANCE` in units of 1/32768


def to_device(values: Any, device: torch.device, dtype: torch.dtype | None = None) -> Tensor:
    """Return `values` as a tensor on `device`; on CUDA, they are copied asynchronously."""
    numbers = torch.tensor(values, dtype=dtype)
    if device.type != "cuda":
        return numbers.to(device)  # on MPS, an asynchronous copy may read memory that was reused since
    return numbers.pin_memory().to(device, non_blocking=True)  # unpinned, more than 64 KiB would block


def change_colours(pictures: Tensor, draws: Sequence[Changes]) -> Tensor:
    """Return `pictures` (B, 3, H, W) uint8, each with its own changes of `draws` applied in order."""
    pictures = pictures.clone()
    for place in range(max(map(len, draws), default=0)):
        for name, change in CHANGES.items():
            chosen = [i for i, draw in enumerate(draws) if len(draw) > place and draw[place][0] == name]
            if chosen:
                which = to_device(chosen, pictures.device)
                pictures[which] = change(pictures[which], [draws[i][place][1] for i in chosen])
    return pictures


def _grey(pictures: Tensor, _: Sequence[float]) -> Tensor:
    red, green, blue = (weight * pictures[:, c].int() for c, weight in enumerate(GREY_WEIGHTS))
    return ((red + green + blue + GREY_POINT // 2) // GREY_POINT).to(torch.uint8)[:, None].expand_as(pictures)


def _brightness(pictures: Tensor, factors: Sequence[float]) -> Tensor:
    return _levels(pictures.float() * _column(factors, pictures))


def _contrast(pictures: Tensor, factors: Sequence[float]) -> Tensor:
    exact = torch.float32 if pictures.device.type == "mps" else torch.float64  # MPS has no float64
    sums = pictures.sum((2, 3), dtype=torch.int64).to(exact) * (1 / pictures[0, 0].numel())
    luminance = to_device(LUMINANCE.tolist(), pictures.device, exact)
    mean = (sums * luminance).sum(1).float()[:, None, None, None]
    return _levels((pictures.float() - mean) * _column(factors, pictures) + mean)


def _saturation(pictures: Tensor, factors: Sequence[float]) -> Tensor:
    matrices = [SAME * np.float32(factor) + ALL_LUMINANCE * np.float32(1 - factor) for factor in factors]
    weights = to_device(np.rint(np.stack(matrices) * FIXED_POINT).astype(np.int32), pictures.device)
    channels = pictures.int()
    mixed = sum(weights[:, :, c, None, None] * channels[:, c, None] for c in range(3))
    return torch.div(mixed + FIXED_POINT // 2, FIXED_POINT, rounding_mode="floor").clamp(0, 255).to(torch.uint8)


def _hue(pictures: Tensor, turns: Sequence[float]) -> Tensor:
    to_hsv, to_rgb = _tables(pictures.device)
    hsv = _looked_up(pictures, to_hsv)
    steps = to_device([round(turn * HUES) % HUES for turn in turns], pictures.device)
    hsv[:, 0] = (hsv[:, 0].int() + steps[:, None, None]).remainder(HUES).to(torch.uint8)
    return _looked_up(hsv, to_rgb)


def _looked_up(pictures: Tensor, table: Tensor) -> Tensor:
    red, green, blue = pictures.int().unbind(1)
    return table[(red << 16) | (green << 8) | blue].permute(0, 3, 1, 2).contiguous()


@functools.lru_cache(maxsize=2)
def _tables(device: torch.device) -> tuple[Tensor, Tensor]:
    """Return lookup tables from every RGB colour to HSV and back, each (2^24, 3) uint8, 48 MiB.

    OpenCV makes them, so both ways of making a sample round alike.
    """
    levels = np.arange(256, dtype=np.uint8)
    colours = np.stack(np.meshgrid(levels, levels, levels, indexing="ij"), axis=-1).reshape(4096, 4096, 3)
    codes = (cv2.COLOR_RGB2HSV_FULL, cv2.COLOR_HSV2RGB_FULL)
    first, second = (torch.from_numpy(cv2.cvtColor(colours, code)).reshape(-1, 3).to(device) for code in codes)
    return first, second


def _column(values: Sequence[float], like: Tensor) -> Tensor:
    return to_device(values, like.device, torch.float32)[:, None, None, None]


def _levels(values: Tensor) -> Tensor:
    return values.round().clamp(0, 255).to(torch.uint8)


CHANGES: dict[str, Callable[[Tensor, Sequence[float]], Tensor]] = {
    "brightness": _brightness,
    "contrast": _contrast,
    "saturation": _saturation,
    "hue": _hue,
    "grey": _grey,
}
"""The colour changes by name, like `colours.CHANGES`, which has those of a single picture."""
