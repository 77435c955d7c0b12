"""Mix colours on the background side of holes, as forward warps leave them, into the input of training samples.

At an object's edge, a camera's pixel mixes the colours of the object and of what lies behind it. The depth map counts
it as background, so it stays behind when the object moves, and borders the hole with a colour that the background
doesn't have. Records are made of pictures that were never warped, so their holes have clean borders.
"""

from __future__ import annotations

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

BORDER_REACH = 4  # px
STRENGTHS, WIDTHS, ROUGHNESS = (0.2, 0.9), (1.0, 4.0), 0.5
"""Share of the near object in the border's first pixel; px over which it falls to 0; by which part it may be smaller in
single rows.

Measured on scenes and the Aloe pair: median shares of 0.34 and 0.33 in the first pixel, 95 % below 0.62 and 0.92."""

NEAR_STEP = 2  # px left of the hole, where the near colour is taken: the pixel next to the hole is often mixed itself


def draw_mixed_border(rng: np.random.Generator, chance: float, rows: int) -> NDArray[np.float32]:
    """Draw the near object's share in each of the first `BORDER_REACH` px right of a hole, (rows, BORDER_REACH), 0..1.

    With probability 1 - `chance`, all are 0.
    """
    if not chance or rng.random() >= chance:
        return np.zeros((rows, BORDER_REACH), np.float32)
    strength, width = rng.uniform(*STRENGTHS), rng.uniform(*WIDTHS)
    fall = np.clip(1 - np.arange(BORDER_REACH) / width, 0, None)
    of_row = 1 - ROUGHNESS * rng.uniform(size=(rows, 1))
    return np.asarray(strength * of_row * fall, np.float32)


def mix_borders(pictures: Tensor, holes: Tensor, shares: Tensor) -> None:
    """Mix the near object's colour into the known pixels right of `holes` (B, H, W), True = missing, in place.

    `pictures`: (B, 3, H, W); `shares`: (B, H, BORDER_REACH), from `draw_mixed_border` for each.

    >>> pictures = torch.tensor([[[[9.0, 9, 5, 5, 1, 1, 1]]]])
    >>> holes = torch.tensor([[[0, 0, 1, 1, 0, 0, 0]]]) > 0
    >>> mix_borders(pictures, holes, torch.tensor([[[0.5, 0.25, 0, 0]]]))
    >>> pictures.flatten().tolist()
    [9.0, 9.0, 5.0, 5.0, 5.0, 3.0, 1.0]
    """
    columns = torch.arange(holes.shape[-1], dtype=torch.int16, device=holes.device).expand_as(holes)
    starts = holes.clone()
    starts[..., 1:] &= ~holes[..., :-1]
    start = columns.masked_fill(~starts, 0).cummax(dim=-1).values
    last = columns.masked_fill(~holes, -BORDER_REACH - 1).cummax(dim=-1).values
    distance = (columns - last).clamp_(max=BORDER_REACH + 1).long()
    share = F.pad(shares, (1, 1)).gather(-1, distance)[:, None]  # none within the hole, nor beyond the reach
    beside = (start - NEAR_STEP).clamp_(min=0).long()
    near = pictures.gather(-1, beside[:, None].expand_as(pictures))
    pictures += near.sub_(pictures).mul_(share)
