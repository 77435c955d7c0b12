"""Grow and close holes, and grow near objects in a depth map.

The rules were read off iw3's (nagadomi/nunif) results.
"""

import torch
from torch import Tensor
from torch.nn import functional as F

from inpaintkit.errors import InputError
from inpaintkit.neighbours import closed, local_max, running_max, scaled_reach

_BLUR = ((21, 31, 21), (31, 48, 31), (21, 31, 21))
_BLUR_SUM = 256
_OUTLIER_DEVIATIONS = 3.0
_EPSILON = 1e-6


def close_hole(hole: Tensor) -> Tensor:
    """Close cracks in `hole` (..., H, W), bool or > 0 = missing, see `neighbours.closed`; return bool (..., H, W)."""
    return closed(_as_bool(hole))


def dilate_inner(hole: Tensor, iterations: int, base_width: int | None = None) -> Tensor:
    """Grow `hole` (..., H, W), bool or > 0 = missing, to the LEFT by `iterations` pixels; return bool (..., H, W).

    In right-eye orientation that is towards the near object. With `base_width`, `iterations` is meant for a picture
    that many pixels wide, and is scaled to the hole's width (at least 1 px unless it is 0). Raises `InputError` if
    `iterations` is negative.
    """
    return running_max(_as_bool(hole), 0, _scaled(iterations, hole.shape[-1], base_width), -1)


def dilate_outer(hole: Tensor, iterations: int, base_width: int | None = None) -> Tensor:
    """Grow `hole` to the RIGHT, towards the background; otherwise the same as `dilate_inner`."""
    return running_max(_as_bool(hole), _scaled(iterations, hole.shape[-1], base_width), 0, -1)


def dilate_edge(depth: Tensor, iterations: int) -> Tensor:
    """Grow near objects in `depth` (B, 1, H, W), 1 = near, by about `iterations` pixels; return float32.

    Each round blends depth with the 3x3 maximum of the blurred depth, weighted by `edge_weight`. Raises `InputError`
    if `iterations` is negative.
    """
    if iterations < 0:
        raise InputError(f"edge_dilation: {iterations} is negative; give 0 or more rounds")
    depth = depth.to(torch.float32)
    for _ in range(iterations):
        weight = edge_weight(depth)
        depth = depth * (1 - weight) + weight * local_max(_blurred(depth), 1)
    return depth


def edge_weight(depth: Tensor) -> Tensor:
    """Return how strong an edge is at each pixel of `depth` (B, 1, H, W): float32 0..1, each picture on its own.

    This is the range of depth in 3x3 pixels, clamped to three standard deviations around its mean in the picture, and
    then scaled so that the picture's smallest value becomes 0 and its largest 1; all 0 if depth is flat.
    """
    depth = depth.to(torch.float32)
    step = local_max(depth, 1) + local_max(-depth, 1)
    mean = _mean(step)
    deviation = _mean((step - mean).square()).sqrt()
    score = ((step - mean) / (deviation + _EPSILON)).clamp(-_OUTLIER_DEVIATIONS, _OUTLIER_DEVIATIONS)
    low, high = score.amin((1, 2, 3), keepdim=True), score.amax((1, 2, 3), keepdim=True)
    return (score - low) / (high - low + _EPSILON)


def _blurred(depth: Tensor) -> Tensor:
    """Return depth (B, 1, H, W) blurred over 3x3 pixels, summed in a fixed order, which conv2d doesn't guarantee."""
    height, width = depth.shape[-2:]
    padded = F.pad(depth, (1, 1, 1, 1), mode="replicate")
    total = torch.zeros_like(depth)
    for y, weights in enumerate(_BLUR):
        for x, weight in enumerate(weights):
            total.add_(padded[..., y : y + height, x : x + width], alpha=weight / _BLUR_SUM)
    return total


def _mean(depth: Tensor) -> Tensor:
    """Return each picture's mean (B, 1, 1, 1), row by row, so that rounding doesn't depend on threads or batch."""
    return depth.mean(dim=-1, keepdim=True).mean(dim=-2, keepdim=True)


def _as_bool(hole: Tensor) -> Tensor:
    return hole if hole.dtype == torch.bool else hole > 0


def _scaled(iterations: int, width: int, base_width: int | None) -> int:
    if iterations < 0:
        raise InputError(f"dilation: {iterations} is negative; give 0 or more pixels")
    return scaled_reach(iterations, width, base_width)
