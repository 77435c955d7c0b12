"""Mixed colours on the background side of holes, as forward warps leave them, for the input of training samples.

At an object's edge a camera's pixel holds some of the object and some of what lies behind it. Depth calls it
background, so it stays behind when the object moves, and borders the hole with a colour that the background doesn't
have. Records are made of pictures that were never warped: their holes have clean borders.
"""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

BORDER_REACH = 4  # px
STRENGTHS, WIDTHS, ROUGHNESS = (0.2, 0.9), (1.0, 4.0), 0.5
"""Share of the near object in the border's first pixel; px until it has fallen to 0; how much it may be less in single
rows. Measured on scenes and the Aloe pair: median shares of 0.34 and 0.33 in the first pixel, 95 % below 0.62 and 0.92."""

NEAR_STEP = 2  # px left of the hole: the pixel next to it is often mixed itself


def draw_border(rng: np.random.Generator, chance: float, rows: int) -> NDArray[np.float32]:
    """Draw the near object's share in each of the first `BORDER_REACH` px right of a hole, (rows, BORDER_REACH), 0..1.

    All 0, except with probability `chance`.
    """
    if not chance or rng.random() >= chance:
        return np.zeros((rows, BORDER_REACH), np.float32)
    strength, width = rng.uniform(*STRENGTHS), rng.uniform(*WIDTHS)
    fall = np.clip(1 - np.arange(BORDER_REACH) / width, 0, None)
    of_row = 1 - ROUGHNESS * rng.uniform(size=(rows, 1))
    return np.asarray(strength * of_row * fall, np.float32)


def mix_border(picture: NDArray[np.float32], hole: NDArray[np.bool_], shares: NDArray[np.float32]) -> None:
    """Mix the near object's colour into the known pixels right of `hole` (H, W), True = missing, in place.

    `picture`: (3, H, W); `shares`: as `draw_border` returns them.

    >>> picture = np.array([[[9.0, 9, 5, 5, 1, 1, 1]]], np.float32)
    >>> hole = np.array([[0, 0, 1, 1, 0, 0, 0]], bool)
    >>> mix_border(picture, hole, np.array([[0.5, 0.25, 0, 0]], np.float32))
    >>> picture[0, 0].tolist()
    [9.0, 9.0, 5.0, 5.0, 5.0, 3.0, 1.0]
    """
    columns = np.arange(hole.shape[1])
    starts = hole.copy()
    starts[:, 1:] &= ~hole[:, :-1]
    last = np.maximum.accumulate(np.where(hole, columns, -BORDER_REACH - 1), axis=1)
    start = np.maximum.accumulate(np.where(starts, columns, 0), axis=1)
    rows, at = np.nonzero(~hole & (columns - last <= BORDER_REACH))
    share = shares[rows, at - last[rows, at] - 1]
    near = picture[:, rows, np.maximum(start[rows, at] - NEAR_STEP, 0)]
    picture[:, rows, at] += share * (near - picture[:, rows, at])


def mix_borders(pictures: Tensor, holes: Tensor, shares: Tensor) -> Tensor:
    """Return `pictures` (B, 3, H, W) with borders of `holes` (B, H, W) mixed by `shares` (B, H, BORDER_REACH), as `mix_border`."""
    columns = torch.arange(holes.shape[-1], device=holes.device).expand_as(holes)
    starts = holes.clone()
    starts[..., 1:] &= ~holes[..., :-1]
    last = columns.masked_fill(~holes, -BORDER_REACH - 1).cummax(dim=-1).values
    start = columns.masked_fill(~starts, 0).cummax(dim=-1).values
    distance = columns - last
    share = shares.gather(-1, (distance - 1).clamp(0, BORDER_REACH - 1))
    share = share.masked_fill(holes | (distance > BORDER_REACH), 0)[:, None]
    near = (start - NEAR_STEP).clamp(min=0)[:, None].expand_as(pictures)
    return pictures + share * (pictures.gather(-1, near) - pictures)
