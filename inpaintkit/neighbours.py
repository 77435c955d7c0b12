"""Operations on the neighbourhood of pixels: nearest known pixels in a row, sliding maxima, closing of holes."""

import torch
from torch import Tensor
from torch.nn import functional as F

CLOSING_ROUNDS = 2
"""Number of 3x3 dilations in `closed`, and of the erosions after them."""


def closed(hole: Tensor) -> Tensor:
    """Return `hole` (..., H, W), bool or float 0..1, 1 = missing, with cracks of up to 4 px closed.

    Applies two 3x3 dilations, then two 3x3 erosions, and unites the result with `hole`. The outside of the picture has
    no influence.
    """
    grown = local_max(hole, CLOSING_ROUNDS)
    if hole.dtype == torch.bool:
        return local_max(grown.logical_not_(), CLOSING_ROUNDS).logical_not_().logical_or_(hole)
    return torch.maximum(hole, -local_max(-grown, CLOSING_ROUNDS))


def scaled_reach(pixels: int, width: int, base_width: int | None) -> int:
    """Return `pixels`, a distance in a picture `base_width` px wide, scaled to a picture `width` px wide.

    The result is at least 1, except that 0 stays 0. With a `base_width` of None nothing is scaled.
    """
    if pixels == 0 or base_width is None:
        return pixels
    return max(round(width / base_width * pixels), 1)


def nearest_known(hole: Tensor) -> tuple[Tensor, Tensor]:
    """Return the columns of the nearest known pixels to the left and to the right in the row, int64 (..., H, W) each.

    A known pixel is its own nearest one; -1 (left) and W (right) mean that there is none. `hole`: bool (..., H, W),
    True = missing.
    """
    width = hole.shape[-1]
    columns = torch.arange(width, device=hole.device).expand_as(hole)
    from_right = columns.masked_fill(hole, width).flip(-1).cummin(-1).values.flip(-1)
    return columns.masked_fill(hole, -1).cummax(-1).values, from_right


def local_max(values: Tensor, reach: int) -> Tensor:
    """Return the maximum of `values` (..., H, W) up to `reach` pixels around each pixel along both axes."""
    return running_max(running_max(values, reach, reach, -1), reach, reach, -2)


def running_max(values: Tensor, forward: int, backward: int, dim: int) -> Tensor:
    """Return the maximum of `values` (..., H, W) from `forward` pixels before to `backward` pixels after each pixel.

    `values` are bool or float; for bool the result is whether any value is True. `dim`, -1 or -2, is the axis. The
    outside of the picture has no influence. Several times faster on CPUs than max pooling.
    """
    if forward == backward == 0:
        return values.clone()
    join, least = (torch.logical_or, 0.0) if values.dtype == torch.bool else (torch.maximum, -torch.inf)
    # Joining windows of 1, 2, 4 ... pixels in pairs takes a number of steps that grows with the logarithm of the distance.
    beside = (forward, backward) if dim == -1 else (0, 0, forward, backward)
    window = F.pad(values, beside, value=least)
    length = forward + backward + 1
    covered = 1
    while covered < length:
        step = min(covered, length - covered)
        remaining = window.shape[dim] - step
        window = join(window.narrow(dim, 0, remaining), window.narrow(dim, step, remaining))
        covered += step
    return window
