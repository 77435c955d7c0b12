"""Pair augmentation: output and target move together before the loss, which then can't see the network's pixel grid."""

import math
from collections.abc import Callable
from functools import partial

import torch
import torch.nn.functional as F
from torch import Tensor

MAX_SHIFT = 8
MAX_DEGREES = 15.0


def draw_augmentation(generator: torch.Generator) -> Callable[[Tensor], Tensor]:
    """Return a random transform of pictures (B, C, H, W), which fills the borders by reflection.

    It is one of three with equal chances: a shift of up to 8 px per axis, a rotation of up to 15 degrees, or none.
    """

    def integer(low: int, high: int) -> int:
        return int(torch.randint(low, high + 1, (1,), generator=generator, device=generator.device))

    kind = integer(0, 2)
    if kind == 0:
        return partial(translate, shift_x=integer(-MAX_SHIFT, MAX_SHIFT), shift_y=integer(-MAX_SHIFT, MAX_SHIFT))
    if kind == 1:
        uniform = float(torch.rand(1, generator=generator, device=generator.device))
        return partial(rotate, degrees=(2 * uniform - 1) * MAX_DEGREES)
    return lambda picture: picture


def augment_pair(
    output: Tensor, target: Tensor, generator: torch.Generator, mask: Tensor | None = None
) -> tuple[Tensor, Tensor, Tensor | None]:
    """Return output, target (B, 3, H, W) and mask (B, 1, H, W; bool or float), all moved by the same random transform.

    See `draw_augmentation`.
    """
    move = draw_augmentation(generator)
    if mask is not None:
        mask = move(mask.float()) > 0.5 if mask.dtype == torch.bool else move(mask)
    return move(output), move(target), mask


def translate(picture: Tensor, shift_x: int, shift_y: int) -> Tensor:
    """Shift (B, C, H, W) by whole px, right and down positive; the borders are filled by reflection."""
    pad = max(abs(shift_x), abs(shift_y))
    height, width = picture.shape[-2:]
    padded = F.pad(picture, (pad,) * 4, mode="reflect")
    return padded[..., pad - shift_y : pad - shift_y + height, pad - shift_x : pad - shift_x + width]


def rotate(picture: Tensor, degrees: float, expand: bool = False) -> Tensor:
    """Rotate (B, C, H, W) about its centre, with bilinear interpolation.

    By default the size stays the same and the borders are filled by reflection; with `expand` the picture grows until
    nothing is cut off, and zeros surround it. As in the reference, the sampling grid spans -1..1 per axis: everything
    is scaled by less than 1 % (from 72 px on) and a picture that isn't square is slightly sheared.
    """
    height, width = picture.shape[-2:]
    pad_y, pad_x = _rotation_pad(height), _rotation_pad(width)
    padded = F.pad(picture, (pad_x, pad_x, pad_y, pad_y), mode="constant" if expand else "reflect")
    y = torch.linspace(-1, 1, height + 2 * pad_y, device=picture.device)
    x = torch.linspace(-1, 1, width + 2 * pad_x, device=picture.device)
    if not expand:
        # Only the part that is kept gets sampled.
        y, x = y[pad_y : pad_y + height], x[pad_x : pad_x + width]
    y, x = y[:, None], x[None]
    cos, sin = math.cos(math.radians(degrees)), math.sin(math.radians(degrees))
    grid = torch.stack([x * cos - y * sin, x * sin + y * cos], dim=-1)
    grid = grid.expand(len(picture), -1, -1, -1).to(picture.dtype)
    return F.grid_sample(padded, grid, mode="bilinear", padding_mode="zeros", align_corners=False)


def _rotation_pad(size: int) -> int:
    return (int(math.sqrt(2) * size) - size) // 2 + 1
