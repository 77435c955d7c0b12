"""Means and extremes over square windows, in a time that hardly depends on the window's size."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor


def _box_mean_1d(x: Tensor, radius: int, dim: int) -> Tensor:
    size = x.shape[dim]
    total = F.pad(x.cumsum(dim), (1, 0) if dim == 3 else (0, 0, 1, 0))
    index = torch.arange(size, device=x.device)
    high, low = (index + radius + 1).clamp(max=size), (index - radius).clamp(min=0)
    count = (high - low).to(x.dtype)
    return (total.index_select(dim, high) - total.index_select(dim, low)) / (count if dim == 3 else count[:, None])


def box_mean(x: Tensor, radius: int) -> Tensor:
    """Return the mean of `x` (B, C, H, W) over windows of 2*radius+1 px, cut off at the border."""
    return _box_mean_1d(_box_mean_1d(x, radius, 2), radius, 3)


def _running_max_1d(x: Tensor, radius: int, dim: int) -> Tensor:
    window = 2 * radius + 1
    x = F.pad(x, (radius, radius, 0, 0) if dim == 3 else (0, 0, radius, radius), mode="replicate")
    covered = 1
    # each pass doubles the window, so a window of n px takes log2(n) passes
    while covered < window:
        step = min(covered, window - covered)
        length = x.shape[dim] - step
        x = torch.maximum(x.narrow(dim, 0, length), x.narrow(dim, step, length))
        covered += step
    return x


def local_max(x: Tensor, radius: int) -> Tensor:
    """Return the maximum of `x` (B, C, H, W) over windows of 2*radius+1 px, cut off at the border."""
    return _running_max_1d(_running_max_1d(x, radius, 2), radius, 3)


def local_min(x: Tensor, radius: int) -> Tensor:
    """Return the minimum of `x` (B, C, H, W) over windows of 2*radius+1 px, cut off at the border."""
    return -local_max(-x, radius)
