"""Measure holes: their widths, what surrounds them, and how well two agree; (B, 1, H, W) bool, True = missing."""

import torch
from torch import Tensor

from inpaintkit.neighbours import local_max, nearest_known

RING_WIDTH = 8


def hole_widths(hole: Tensor) -> Tensor:
    """Return for each hole pixel the width in px of the hole along its row there, (B, 1, H, W) int64; 0 outside.

    >>> hole_widths(torch.tensor([[[[1, 0, 1, 1, 1]]]], dtype=torch.bool)).flatten().tolist()
    [1, 0, 3, 3, 3]
    """
    previous, following = nearest_known(hole)
    return torch.where(hole, following - previous - 1, 0)


def hole_ring(hole: Tensor, width: int = RING_WIDTH) -> Tensor:
    """Return the known pixels at most `width` px (the larger of dx, dy) from the hole, (B, 1, H, W) bool."""
    return local_max(hole, width) & ~hole


def hole_iou(predicted: Tensor, exact: Tensor) -> Tensor:
    """Return intersection over union of two holes, (B,); 1 = equal, NaN where both are empty."""
    return (predicted & exact).sum(dim=(1, 2, 3)) / (predicted | exact).sum(dim=(1, 2, 3))


def stray_pixels(predicted: Tensor, exact: Tensor) -> Tensor:
    """Return how many pixels of `predicted` touch no pixel of `exact`, diagonals included, (B,) px."""
    return (predicted & ~exact & ~hole_ring(exact, 1)).sum(dim=(1, 2, 3))
