"""Moving output and target together before the loss, so that the loss doesn't see the network's pixel grid."""

import math
from dataclasses import dataclass
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor

MAX_SHIFT = 8
MAX_DEGREES = 15.0


@dataclass(frozen=True)
class PairAugmentation:
    """What is done to a pair: ``none``, a ``shift`` (px, right and down positive) or a ``rotation`` (degrees)."""

    kind: Literal["none", "shift", "rotation"] = "none"
    shift_x: int = 0
    shift_y: int = 0
    degrees: float = 0.0


def draw_augmentation(generator: torch.Generator) -> PairAugmentation:
    """Draw one of three with equal chances: a shift of up to 8 px per axis, a rotation of up to 15 degrees, nothing."""

    def integer(low: int, high: int) -> int:
        return int(torch.randint(low, high + 1, (1,), generator=generator, device=generator.device))

    kind = integer(0, 2)
    if kind == 0:
        return PairAugmentation("shift", shift_x=integer(-MAX_SHIFT, MAX_SHIFT), shift_y=integer(-MAX_SHIFT, MAX_SHIFT))
    if kind == 1:
        uniform = float(torch.rand(1, generator=generator, device=generator.device))
        return PairAugmentation("rotation", degrees=(2 * uniform - 1) * MAX_DEGREES)
    return PairAugmentation()


def apply_augmentation(picture: Tensor, augmentation: PairAugmentation) -> Tensor:
    """Return `picture` (B, C, H, W) moved, what comes in from outside being reflected; a bool tensor stays bool."""
    if augmentation.kind == "none":
        return picture
    values = picture.float() if picture.dtype == torch.bool else picture
    if augmentation.kind == "shift":
        moved = translate(values, augmentation.shift_x, augmentation.shift_y)
    else:
        moved = rotate(values, augmentation.degrees)
    return moved > 0.5 if picture.dtype == torch.bool else moved


def augment_pair(
    output: Tensor, target: Tensor, generator: torch.Generator, mask: Tensor | None = None
) -> tuple[Tensor, Tensor, Tensor | None]:
    """Return output, target (B, 3, H, W) and mask (B, 1, H, W; bool or float) moved alike, see `draw_augmentation`."""
    augmentation = draw_augmentation(generator)
    moved_mask = None if mask is None else apply_augmentation(mask, augmentation)
    return apply_augmentation(output, augmentation), apply_augmentation(target, augmentation), moved_mask


def translate(picture: Tensor, shift_x: int, shift_y: int) -> Tensor:
    """Shift (B, C, H, W) by whole px, right and down positive, reflecting at the borders."""
    pad = max(abs(shift_x), abs(shift_y))
    height, width = picture.shape[-2:]
    padded = F.pad(picture, (pad,) * 4, mode="reflect")
    return padded[..., pad - shift_y : pad - shift_y + height, pad - shift_x : pad - shift_x + width]


def rotate(picture: Tensor, degrees: float, expand: bool = False) -> Tensor:
    """Rotate (B, C, H, W) about its centre, bilinear.

    By default the size stays and what comes in from outside is reflected; with `expand` the picture grows to hold all
    of itself and zeros surround it. As in the reference, the sampling grid spans -1..1 per axis: everything is
    scaled by less than 1 % and a picture that isn't square is slightly sheared.
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
