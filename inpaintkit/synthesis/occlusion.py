"""Find holes by testing each pixel for a nearer one that covers it in the left view, and make soft depth edges steps.

`warp_back_hole` finds the same region, but rounds twice to whole pixels, which loses about a pixel at every edge. To
both methods, depth that falls gradually is a steep surface, which has no hole or a patchy one. Every estimator's depth
falls gradually at objects' borders; hence the steps.
"""

import functools
import math

import torch
from torch import Tensor
from torch.nn import functional as F

from inpaintkit.neighbours import local_max, running_max
from inpaintkit.synthesis.warp import (
    RowBlock,
    left_positions,
    leftmost_source,
    nearest_pixel,
    rows_per_block,
    run_blocks,
)

HALF_PIXEL = 0.5

SHARP_WIDTH = 2.5
"""Edge width in px of the picture up to which edges count as steps. A step is 2 px wide in a map half as large as the
picture, and 3 px in one a third as large."""

STRONG_EDGE = 0.2
"""Least range of depth at an edge whose width is measured, as a share of the map's range."""

WHOLE_EDGE = 1.3
"""A window holds a whole edge if a window twice as wide has less than this many times its range of depth."""

SHARPEST_SHARE = 0.25
"""Quantile of the widths of a map's strong edges that counts as the map's edge width. It is a quarter, not half: where
some edges are sharp, the map can show steps, and its wide edges are slopes of the scene."""

MEASURED_ROWS = 256

CELLS_PER_REACH = 6
"""Least number of cells in the reach within which a ramp's ends are searched, if that has as many px. A reach of twice
as many px or more gets larger cells rather than more of them, so that wide ramps cost no more than narrow ones."""

LARGEST_GROWTH = 0.7
"""Upper limit of the factor by which the range of depth grows at an edge when the reach is doubled, as a share of the
factor on an even slope."""

LEAST_SLOPE = 0.01
"""Least change of depth per pixel on both sides of a pixel on a ramp, as a share of the ramp's range."""

LEAST_RANGE = 0.1  # of depth within reach; ramps of less stay


def hidden_hole(depth: Tensor, divergence: float, convergence: float) -> Tensor:
    """Return the pixels that the left eye cannot see, because a nearer pixel lands within half a pixel of them.

    `depth` (B, 1, H, W) is 0..1, 1 = near; `divergence` is in percent of W; pixels move as in `forward_warp`. Returns
    bool (B, 1, H, W), True = missing, before closing. A step of n px of disparity opens a hole of n px, rounded, that
    starts at the step. Raises `InputError` as `warp_back_hole` does.
    """
    hole = torch.empty(depth.shape, dtype=torch.bool, device=depth.device)

    def hide_block(block: RowBlock) -> None:
        b, rows, shift = block
        position, sources = left_positions(depth, block)
        no_source = len(sources) - 1
        cell = nearest_pixel(position)
        first = leftmost_source(cell, sources)
        picture = slice(shift.padding, no_source - shift.padding)
        seen_at, own_cell, columns = position[:, picture], cell[:, picture], sources[picture]
        missing = torch.zeros_like(seen_at, dtype=torch.bool)
        # What lands within half a pixel rounds to the nearest or the second nearest pixel of this position.
        beside = (own_cell + (seen_at - own_cell).sign_()).clamp_(0, no_source - 1)
        for where in (own_cell, beside):
            winner = first.gather(-1, where.int().long())  # via int32: see `leftmost_source`
            distance = position.gather(-1, winner.long()).sub_(seen_at).abs_()
            missing |= (winner < columns) & (distance <= HALF_PIXEL)
        hole[b, 0, rows] = missing

    run_blocks(hide_block, depth, divergence, convergence)
    return hole


def edge_width(depth: Tensor) -> Tensor:
    """Return the width in px of the sharper edges in rows of depth (B, 1, H, W): float32 (B,), 1 = steps or none.

    An edge is where depth changes fastest within a window and hardly changes beyond it. Its width is the range of depth
    in the window, divided by the change from one pixel to the next at the edge.
    """
    rows = depth[..., :: max(1, depth.shape[-2] // MEASURED_ROWS), :].to(torch.float32)
    if rows.shape[-1] < 2:
        return torch.ones(len(depth), device=depth.device)
    window = max(8, min(depth.shape[-2:]) // 45)
    step = rows.diff(dim=-1).abs()
    fastest = running_max(step, window, window, -1)
    near, far = running_max(rows, window, window, -1), running_max(-rows, window, window, -1)
    # The larger of both pixels beside a step, so that mirroring changes nothing.
    extent = running_max(near + far, 1, 0, -1)[..., 1:]
    wide_extent = running_max(running_max(near, window, window, -1) + running_max(far, window, window, -1), 1, 0, -1)
    least = STRONG_EDGE * (rows.amax((1, 2, 3), keepdim=True) - rows.amin((1, 2, 3), keepdim=True))
    edge = (extent > least) & (wide_extent[..., 1:] < WHOLE_EDGE * extent) & (step == fastest)
    widths = torch.where(edge, extent / step, torch.nan).flatten(1)
    # One by one, because torch takes quantiles of no more than 16 million numbers.
    return torch.stack([one.nanquantile(SHARPEST_SHARE) for one in widths]).nan_to_num(nan=1.0)


def split_ramps(depth: Tensor, map_edges: Tensor | None = None) -> Tensor:
    """Return depth (B, 1, H, W) with soft edges made steps: their pixels take the value of the end closer in depth.

    `map_edges` (B,) gives the edge widths of the estimator's maps in px, for when `depth` is no longer the map itself.
    Maps whose edges are at most `SHARP_WIDTH` wide stay as they are. In others a pixel is changed if depth rises or
    falls through it along its row or column and both ends of that ramp lie within one `edge_width`; longer slopes,
    ramps of less than 0.1, steps and level places stay. The result is float32; each picture is treated on its own.
    """
    depth, edges = depth.to(torch.float32), edge_width(depth) if map_edges is None else map_edges
    soft = (edges > SHARP_WIDTH).tolist()
    if not any(soft):
        return depth
    return torch.cat([_split_ramps(one) if is_soft else one for one, is_soft in zip(depth.split(1), soft, strict=True)])


def _split_ramps(depth: Tensor) -> Tensor:
    """Return what `split_ramps` makes of one depth map (1, 1, H, W) whose edges are soft."""
    reach = math.ceil(edge_width(depth).item())
    size = max(1, reach // CELLS_PER_REACH)
    reach = round(reach / size)
    near, far = (local_max(cells, reach) for cells in _cells(depth, size))
    extent = near + far
    wide_extent = local_max(near, reach) + local_max(far, reach)
    down, across = (_slope_growth(cells, reach, near.device) for cells in near.shape[-2:])
    limit = LARGEST_GROWTH * torch.minimum(down[:, None], across)
    edge = (wide_extent < limit * extent) & (extent > LEAST_RANGE)
    near.masked_fill_(~edge, torch.inf)
    far.neg_()
    steps = torch.empty_like(depth)
    # Blocks fit a processor's cache: some twenty passes over a whole picture would mostly wait for memory.
    many = max(1, rows_per_block(depth.shape[-1], depth.device) // size)
    for top in range(0, near.shape[-2], many):
        rows, cells = slice(top * size, (top + many) * size), slice(top, top + many)
        steps[..., rows, :] = _without_ramps(depth, rows, near[..., cells, :], far[..., cells, :], size)
    return steps


def _without_ramps(depth: Tensor, rows: slice, near: Tensor, far: Tensor, size: int) -> Tensor:
    """Return some `rows` of `depth` with ramps made steps from their cells' `far` to `near` (infinite: no edge)."""
    first = max(rows.start - 1, 0)
    beside, here = depth[..., first : rows.stop + 1, :], depth[..., rows, :]
    down = _slope(beside, -2).narrow(-2, rows.start - first, here.shape[-2])
    near, far = (_enlarged(cells, size, here) for cells in (near, far))
    on_ramp = torch.maximum(_slope(here, -1), down) > LEAST_SLOPE * (near - far)
    end = torch.where(here + here > near + far, near, far)
    return torch.where(on_ramp, end, here)


def _cells(depth: Tensor, size: int) -> tuple[Tensor, Tensor]:
    """Return the largest depth and the largest negated depth in cells of `size` x `size` pixels (fewer at the end)."""
    height, width = depth.shape[-2:]
    if height % size or width % size:
        depth = F.pad(depth, (0, -width % size, 0, -height % size), mode="replicate")
    near = far = depth
    for dim in (-2, -1):
        near = functools.reduce(torch.maximum, near.unflatten(dim, (-1, size)).unbind(dim))
        far = functools.reduce(torch.minimum, far.unflatten(dim, (-1, size)).unbind(dim))
    return near, -far


def _slope_growth(cells: int, reach: int, device: torch.device) -> Tensor:
    """Return the factor by which doubling `reach` widens each cell's window in a line of `cells`: float32 (cells,).

    Windows are cut off at the ends of the line; a line of one cell gets infinity.
    """
    if cells == 1:
        return torch.full((1,), torch.inf, device=device)
    place = torch.arange(cells, device=device)
    once, twice = ((place + far).clamp(max=cells - 1) - (place - far).clamp(min=0) for far in (reach, 2 * reach))
    return twice / once


def _slope(depth: Tensor, dim: int) -> Tensor:
    """Return how much depth changes per pixel along `dim`, on the flatter side of each pixel; < 0 at turning points."""
    if depth.shape[dim] < 3:
        return torch.zeros_like(depth)
    step = depth.diff(dim=dim)
    before, after = step.narrow(dim, 0, step.shape[dim] - 1), step.narrow(dim, 1, step.shape[dim] - 1)
    slope = torch.maximum(torch.minimum(before, after), torch.maximum(before, after).neg_())
    return F.pad(slope, (1, 1) if dim == -1 else (0, 0, 1, 1))


def _enlarged(cells: Tensor, size: int, depth: Tensor) -> Tensor:
    """Return each cell repeated over its `size` x `size` pixels, in the shape of `depth`."""
    if size == 1:
        return cells
    large = cells.repeat_interleave(size, dim=-1).repeat_interleave(size, dim=-2)
    return large[..., : depth.shape[-2], : depth.shape[-1]]
