"""Turn soft depth edges into steps along the picture's edges, since only steps open holes.

Every pixel is assigned to the near or the far side of its surroundings. The decision is not based on the blurred depth
itself but on a colour-guided fit of it (He et al., "Guided Image Filtering", ECCV 2010), so the border between the two
sides runs along the picture's own edge. Where the colours don't explain the depth (flat regions, slopes, gravel)
no steps are made. Measured variants: ``docs/LOG.md``, Depth.
"""

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from inpaintkit.depth.preparation import limited_size
from inpaintkit.neighbours import local_max

SHARPEN_VERSION = "sharpen3"
WORKING_SIDE = 180  # px; short side at which sides are assigned, since FastDepth's edges are no finer than that
ROUNDS = 4
FIT_WINDOW = 1 / 20  # radius of the colour fit, in short sides
SIDE_WINDOW = 1 / 20  # radius within which near and far are searched, in short sides
FINAL_SIDE_WINDOW = 1 / 30
FIT_EPS = 1e-3  # colour variance below which an edge counts as noise
SMALLEST_STEP = (0.075, 0.125)  # depth steps fade in between these sizes
EXPLAINED = (0.2, 0.4)  # steps fade in between these shares of the depth's variance explained by colour
SIDE_VARIANCE_EPS = 1e-3
FINAL_VOTE_RADIUS = 2  # px; a majority vote removes specks that are thinner


def _box_mean_1d(x: Tensor, radius: int, dim: int) -> Tensor:
    size = x.shape[dim]
    total = x.cumsum(dim)
    nothing = torch.zeros_like(total.narrow(dim, 0, 1))
    all_of_it = total.narrow(dim, size - 1, 1)
    total = torch.cat([*[nothing] * (radius + 1), total, *[all_of_it] * radius], dim)
    index = torch.arange(size, device=x.device)
    count = ((index + radius + 1).clamp(max=size) - (index - radius).clamp(min=0)).to(x.dtype)
    window = total.narrow(dim, 2 * radius + 1, size) - total.narrow(dim, 0, size)
    return window / (count if dim == 3 else count[:, None])


def box_mean(x: Tensor, radius: int) -> Tensor:
    """Return the mean of `x` (B, C, H, W) over windows of 2*radius+1 px, cut off at the border."""
    return _box_mean_1d(_box_mean_1d(x, radius, 2), radius, 3)


def _ramp(x: Tensor, limits: tuple[float, float]) -> Tensor:
    """Return 0 below `limits`, 1 above, smooth between."""
    t = ((x - limits[0]) / (limits[1] - limits[0])).clamp(0, 1)
    return t * t * (3 - 2 * t)


def _resize(x: Tensor, size: tuple[int, int]) -> Tensor:
    # when enlarging, antialias only changes the last bits, and makes them independent of the number of threads
    return x if x.shape[2:] == size else F.interpolate(x, size, mode="bilinear", antialias=True)


@dataclass(frozen=True)
class _ColourFit:
    """Locally linear model of a map: sum(slope * colour) + offset, and the share of its variance that it explains."""

    slope: Tensor  # (B, 3, H, W)
    offset: Tensor  # (B, 1, H, W)
    explained: Tensor  # (B, 1, H, W)

    def at(self, colour: Tensor) -> Tensor:
        """Return the modelled map (B, 1, h, w) for `colour` (B, 3, h, w) of this or a larger size."""
        size = (colour.shape[2], colour.shape[3])
        return (_resize(self.slope, size) * colour).sum(1, keepdim=True) + _resize(self.offset, size)


def _solve_symmetric(variance: list[Tensor], c: Tensor) -> Tensor:
    """Solve 3x3 systems with upper triangles `variance` (rr, rg, rb, gg, gb, bb) for `c` (B, 3, H, W) by cofactors."""
    rr, rg, rb, gg, gb, bb = variance
    i_rr, i_rg, i_rb = gg * bb - gb * gb, gb * rb - rg * bb, rg * gb - gg * rb
    i_gg, i_gb, i_bb = rr * bb - rb * rb, rb * rg - rr * gb, rr * gg - rg * rg
    c_r, c_g, c_b = c.split(1, 1)
    rows = (i_rr * c_r + i_rg * c_g + i_rb * c_b, i_rg * c_r + i_gg * c_g + i_gb * c_b)
    determinant = rr * i_rr + rg * i_rg + rb * i_rb
    return torch.cat([*rows, i_rb * c_r + i_gb * c_g + i_bb * c_b], 1) / determinant


def _fit_colours(x: Tensor, colour: Tensor, radius: int) -> _ColourFit:
    """Fit `x` (B, 1, H, W) by `colour` (B, 3, H, W) in every window, then average the fits of a pixel's windows."""
    r, g, b = colour.split(1, 1)
    products = [r * r, r * g, r * b, g * g, g * b, b * b]
    means = box_mean(torch.cat([colour, x, x * x, colour * x, *products], 1), radius)
    mean_c, mean_x, mean_xx, mean_cx, mean_cc = means.split([3, 1, 1, 3, 6], 1)
    m_r, m_g, m_b = mean_c.split(1, 1)
    variance = [
        mean - outer + (FIT_EPS if diagonal else 0)
        for mean, outer, diagonal in zip(
            mean_cc.split(1, 1),
            [m_r * m_r, m_r * m_g, m_r * m_b, m_g * m_g, m_g * m_b, m_b * m_b],
            [True, False, False, True, False, True],
            strict=True,
        )
    ]
    covariance = mean_cx - mean_c * mean_x
    slope = _solve_symmetric(variance, covariance)
    explained = (slope * covariance).sum(1, keepdim=True) / (mean_xx - mean_x * mean_x + SIDE_VARIANCE_EPS)
    offset = mean_x - (slope * mean_c).sum(1, keepdim=True)
    return _ColourFit(*box_mean(torch.cat([slope, offset, explained], 1), radius).split([3, 1, 1], 1))


def _take_sides(depth: Tensor, small: Tensor, colour: Tensor, window: float, vote: int) -> Tensor:
    """Return depth moved to the near or the far level around each pixel, at the size of `colour`.

    `depth` (B, 1, h, w) and its colours `small` (B, 3, h, w) have the working size; `colour` (B, 3, H, W) has that or
    the full size.
    """
    short = min(depth.shape[2:])
    radius, fit_radius = max(1, round(short * window)), max(1, round(short * FIT_WINDOW))
    # the mean over half a window rounds off the square corners that minimum and maximum leave
    levels = torch.cat([-local_max(-depth, radius), local_max(depth, radius)], 1)
    far, near = box_mean(levels, max(1, radius // 2)).split(1, 1)
    step = near - far
    fit = _fit_colours(((depth - far) / step.clamp(min=1e-3)).clamp(0, 1), small, fit_radius)
    strength = _ramp(step, SMALLEST_STEP) * _ramp(fit.explained, EXPLAINED)
    is_near = (fit.at(colour) > 0.5).to(depth.dtype)
    is_near = (box_mean(is_near, vote) > 0.5).to(depth.dtype)
    parts = _resize(torch.cat([depth, far, step, strength], 1), (colour.shape[2], colour.shape[3]))
    depth, far, step, strength = parts.split(1, 1)
    moved: Tensor = depth + strength * (far + is_near * step - depth)
    return moved


def sharpen_depth(depth: Tensor, picture: Tensor) -> Tensor:
    """Return `depth` with its soft edges turned into steps along the edges of `picture`.

    `depth` (B, 1, h, w), 0..1, may be smaller than `picture` (B, 3, H, W), RGB in 0..1. The result is (B, 1, H, W),
    0..1.
    """
    size = limited_size(picture.shape[2], picture.shape[3], WORKING_SIDE)
    # colours around 0 keep the sums of the fit small and exact
    colour = picture.to(depth.dtype) - 0.5
    small = _resize(colour, size)
    depth = F.interpolate(depth, size, mode="bilinear", antialias=True)
    depth = _fit_colours(depth, small, max(1, round(min(size) * FIT_WINDOW))).at(small).clamp(0, 1)
    for _ in range(ROUNDS):
        depth = _take_sides(depth, small, small, SIDE_WINDOW, vote=1)
    return _take_sides(depth, small, colour, FINAL_SIDE_WINDOW, vote=FINAL_VOTE_RADIUS).clamp(0, 1)
