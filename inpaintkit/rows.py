"""What is said of a hole row by row."""

from __future__ import annotations

import torch
from torch import Tensor


def nearest_known(hole: Tensor) -> tuple[Tensor, Tensor]:
    """Return the columns of the nearest known pixels to the left and to the right in the row, int64 (..., H, W) each.

    A known pixel is its own; -1 and W where there is none. `hole`: bool (..., H, W), True = missing.
    """
    width = hole.shape[-1]
    columns = torch.arange(width, device=hole.device).expand_as(hole)
    from_right = columns.masked_fill(hole, width).flip(-1).cummin(-1).values.flip(-1)
    return columns.masked_fill(hole, -1).cummax(-1).values, from_right
