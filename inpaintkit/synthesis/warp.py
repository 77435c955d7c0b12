"""Warp a picture forward to one eye, and warp depth back to find the pixels that the other eye cannot see.

Rows are independent of each other, so pictures are processed in blocks of rows that fit a processor's cache.

The depth order needs neither sorting nor depth: of the sources that land in one target pixel of the left eye, the
nearest has the largest shift. As they land within one pixel of each other, the one with the largest shift started
furthest left. So the nearest source is the one with the smallest column. The right eye is computed on mirrored rows,
where the same holds. The rules are those of iw3 (nagadomi/nunif), read off its results.
"""

import itertools
import math
from collections.abc import Callable
from typing import Literal, NamedTuple, get_args

import torch
from torch import Tensor
from torch.nn import functional as F

from inpaintkit.config import require_known
from inpaintkit.errors import InputError
from inpaintkit.neighbours import running_max

Eye = Literal["left", "right"]
EYES = get_args(Eye)

FILL_REACH = 100
"""Farthest distance, in pixels, over which values are filled in and layers are compared (iw3's rule)."""

MAX_DIVERGENCE = 100.0

_SMALLEST_SHARE = 1e-5
_EXTRA_PADDING = 2
_BLOCK_PIXELS = 1 << 15
_BLOCK_PIXELS_ACCELERATOR = 1 << 19


def forward_warp(
    values: Tensor, depth: Tensor, divergence: float, convergence: float, eye: Eye, fill: bool = False
) -> tuple[Tensor, Tensor]:
    """Shift every pixel sideways by its disparity and return what one eye sees.

    `values` (B, C, H, W) may be any numbers (results of integer types are rounded). `depth` (B, 1, H, W) is 0..1, 1 =
    near. `divergence` is in percent of W, 0..100, as when both eyes are synthesised (double it when the other eye is
    the original). `convergence` is the depth that stays in place.

    A pixel moves by ``0.5 * divergence / 100 * W * (depth - convergence)``, to the right for the left eye.
    Returns the warped values (B, C, H, W), in the dtype of `values`, and the hole (B, 1, H, W), bool, True = missing:
    pixels that nothing lands on, or that show background through cracks of a nearer layer. Holes are 0, or with `fill`
    the nearest pixel of the background side up to 100 px away. Computed in float32, without gradients.

    Raises `InputError` for depth or convergence that is not finite, sizes that don't fit, divergence out of range or an
    unknown eye.
    """
    warped, hole, _ = warp_to_eye(values, depth, divergence, convergence, eye, fill)
    return warped, hole


def warp_to_eye(
    values: Tensor, depth: Tensor, divergence: float, convergence: float, eye: Eye, fill: bool = False
) -> tuple[Tensor, Tensor, Tensor]:
    """Return the results of `forward_warp`, and which pixels come from beyond the left or right border.

    That is bool (B, 1, H, W); beyond the border the outermost pixels are repeated.
    """
    require_known("eye", eye, EYES)
    if values.ndim != 4 or values.shape[0] != depth.shape[0] or values.shape[-2:] != depth.shape[-2:]:
        raise InputError(
            f"values {tuple(values.shape)} and depth {tuple(depth.shape)} differ in size; resize the depth"
        )
    warped = torch.empty_like(values)
    hole = torch.empty(depth.shape, dtype=torch.bool, device=depth.device)
    beyond = torch.empty_like(hole)

    def warp_block(block: RowBlock) -> None:
        b, rows, shift = block
        splat = _splat(padded_rows(depth[b, 0, rows], shift, eye), shift, eye)
        outside = (splat.column < shift.padding) | (splat.column > shift.padding + depth.shape[-1] - 1)
        beyond[b, 0, rows] = _mirror_right_eye(outside, eye)
        missing = _behind_nearer_layer(splat.column)
        source, blank = _background(missing) if fill else (None, missing)
        for c in range(values.shape[1]):
            seen = _collect(padded_rows(values[b, c, rows], shift, eye), splat)
            seen = seen if source is None else seen.gather(-1, source)
            seen = seen.masked_fill_(blank, 0.0)
            warped[b, c, rows] = _mirror_right_eye(seen if values.is_floating_point() else seen.round_(), eye)
        hole[b, 0, rows] = _mirror_right_eye(missing, eye)

    run_blocks(warp_block, depth, divergence, convergence)
    return warped, hole, beyond


def warp_back_hole(depth: Tensor, divergence: float, convergence: float, mirrored: bool = False) -> Tensor:
    """Return the pixels of a picture that the other eye cannot see: the hole, in the picture's own pixels.

    `depth` (B, 1, H, W) is 0..1, 1 = near; `divergence` is in percent of W. The depth is warped to the left eye and
    filled, and from there it is warped back by the same shifts; what is hole then, as in `forward_warp`, is the hole
    (B, 1, H, W), bool, True = missing, before closing. Each way moves a pixel as `forward_warp` does for the same
    `divergence`. Holes lie to the right of near objects. With `mirrored` the mirrored picture is computed: the hole is
    on the same side, but rounded differently (augmentation).

    Raises `InputError` for depth or convergence that is not finite, depth of another shape, divergence out of range.
    """
    hole = torch.empty(depth.shape, dtype=torch.bool, device=depth.device)
    there: Eye = "right" if mirrored else "left"
    back: Eye = "left" if mirrored else "right"

    def warp_back_block(block: RowBlock) -> None:
        b, rows, shift = block
        start = depth[b, 0, rows].flip(-1) if mirrored else depth[b, 0, rows]
        content = padded_rows(start, shift, there)
        splat = _splat(content, shift, there)
        source, blank = _background(_behind_nearer_layer(splat.column))
        seen = _mirror_right_eye(_collect(content, splat).gather(-1, source).masked_fill_(blank, 0.0), there)
        returned = _splat(padded_rows(seen, shift, back), shift, back)
        missing = _mirror_right_eye(_behind_nearer_layer(returned.column), back)
        hole[b, 0, rows] = missing.flip(-1) if mirrored else missing

    run_blocks(warp_back_block, depth, divergence, convergence)
    return hole


def seen_from_left(depth: Tensor, divergence: float, convergence: float) -> Tensor:
    """Return the picture's column, 0..W - 1, that the left eye sees at each pixel: int64 (B, 1, H, W).

    Parameters are those of `forward_warp`; holes are filled as there, but from any distance. Columns are rounded to
    whole pixels: half the work, for previews.
    """
    seen = torch.empty(depth.shape, dtype=torch.int64, device=depth.device)
    width = depth.shape[-1]

    def see_block(block: RowBlock) -> None:
        b, rows, shift = block
        position, sources = left_positions(depth, block)
        no_source = len(sources) - 1
        first = leftmost_source(nearest_pixel(position), sources)[:, shift.padding : no_source - shift.padding]
        column = first.float()
        source, _ = _background(_behind_nearer_layer(column.masked_fill_(first == no_source, torch.nan)))
        seen[b, 0, rows] = first.gather(-1, source).sub_(shift.padding).clamp_(0, width - 1)

    run_blocks(see_block, depth, divergence, convergence)
    return seen


class _Shift(NamedTuple):
    """How pixels move: shift in pixels = `gain` * (depth - `plane`); `padding` columns on both sides."""

    gain: float
    plane: float
    padding: int


class RowBlock(NamedTuple):
    """Some `rows` of one picture of a batch (index `picture`), and their `shift`."""

    picture: int
    rows: slice
    shift: _Shift


class _Splat(NamedTuple):
    """The sources that land on each pixel of rows (R, W), mirrored for the right eye; see `_splat`."""

    low: Tensor
    high: Tensor
    share: Tensor
    column: Tensor


def run_blocks(work: Callable[[RowBlock], None], depth: Tensor, divergence: float, convergence: float) -> None:
    """Call `work` for each block of rows, one after the other, without gradients.

    On a CPU, a block fits the cache and is too small for torch to split an operation on it among threads. Two Python
    threads over the blocks were slower than one (they wait for each other between the many short operations); to use
    more threads, process several pictures at once. Raises `InputError` for invalid arguments, before the first call.
    """
    _check_depth(depth)
    if not 0 <= divergence <= MAX_DIVERGENCE:
        raise InputError(f"divergence: {divergence} is out of range; give 0 to 100 (percent of the width)")
    if not math.isfinite(convergence):
        raise InputError(f"convergence: {convergence} is no depth; give 0 to 1")
    batch, _, height, width = depth.shape
    shift = _Shift(0.5 * divergence * 0.01 * width, convergence, int(width * divergence * 0.01 + _EXTRA_PADDING))
    step = rows_per_block(width + max(2 * shift.padding + 1, FILL_REACH), depth.device)
    with torch.no_grad():
        for b, top in itertools.product(range(batch), range(0, height, step)):
            work(RowBlock(b, slice(top, top + step), shift))


def rows_per_block(width: int, device: torch.device) -> int:
    """Return how many rows of `width` px are best processed at once, at least one; see `run_blocks`."""
    pixels = _BLOCK_PIXELS if device.type == "cpu" else _BLOCK_PIXELS_ACCELERATOR
    return max(1, pixels // width)


def padded_rows(rows: Tensor, shift: _Shift, eye: Eye) -> Tensor:
    """Repeat the border pixels of rows (..., W) on both sides; rows are mirrored for the right eye.

    Returns float32 (..., P + 1) with P = W + 2 * padding. The extra column P stands for "no source".
    """
    rows = _mirror_right_eye(rows.to(torch.float32), eye)
    left = rows[..., :1].expand(*rows.shape[:-1], shift.padding)
    right = rows[..., -1:].expand(*rows.shape[:-1], shift.padding + 1)
    return torch.cat([left, rows, right], dim=-1)


def _mirror_right_eye(rows: Tensor, eye: Eye) -> Tensor:
    """Mirror rows (..., W) for the right eye, so that everything is computed as for the left one."""
    return rows.flip(-1) if eye == "right" else rows


def _splat(depth: Tensor, shift: _Shift, eye: Eye) -> _Splat:
    """Splat rows (R, P + 1) from `padded_rows` and return which sources land on each target pixel (R, W).

    `low`, `high`: the source column that wins among those whose position is rounded down (up) to the pixel, int64, P
    if there is none; `share`: weight 0..1 of `high` in the mean of both; `column`: the mean of their columns. The last
    two are NaN where both are missing.
    """
    no_source = depth.shape[1] - 1
    sources = torch.arange(no_source + 1, dtype=torch.int32, device=depth.device)
    columns = sources.to(torch.float32)
    position = (depth - shift.plane).mul_(shift.gain)
    if eye == "right":
        # Rounding has to happen in the picture's own direction, in which column i of mirrored rows is P - 1 - i.
        columns = no_source - 1 - columns
        position.neg_()
    position.add_(columns).clamp_(0, no_source - 1)
    down, up = position.floor(), position.ceil()
    up_weight = position.sub_(down).clamp_(_SMALLEST_SHARE, 1 - _SMALLEST_SHARE)
    down_weight = 1 - up_weight
    up_weight[:, no_source] = down_weight[:, no_source] = 0.0
    if eye == "right":
        down, up = down.neg_().add_(no_source - 1), up.neg_().add_(no_source - 1)
    picture = slice(shift.padding, no_source - shift.padding)
    low, high = leftmost_source(down, sources)[:, picture], leftmost_source(up, sources)[:, picture]
    low_index, high_index = low.long(), high.long()
    low_weight, share = down_weight.gather(-1, low_index), up_weight.gather(-1, high_index)
    share.div_(low_weight.add_(share))
    return _Splat(low_index, high_index, share, torch.lerp(low.float(), high.float(), share))


def left_positions(depth: Tensor, block: RowBlock) -> tuple[Tensor, Tensor]:
    """Return where the left eye sees each column of the padded rows of `block` (R, P + 1), and the columns (P + 1,)."""
    content = padded_rows(depth[block.picture, 0, block.rows], block.shift, "left")
    sources = torch.arange(content.shape[1], dtype=torch.int32, device=depth.device)
    position = (content - block.shift.plane).mul_(block.shift.gain).add_(sources.float())
    return position.clamp_(0, len(sources) - 2), sources


def nearest_pixel(position: Tensor) -> Tensor:
    """Return `position` rounded, halves up; rounded to even numbers, halves would gather in every other pixel."""
    return (position + 0.5).floor_()


def leftmost_source(target: Tensor, sources: Tensor) -> Tensor:
    """Return for each of P pixels the smallest of `sources` that has it as `target` (P + 1 columns each); P if none."""
    rows = target.shape[0]
    no_source = target.shape[1] - 1
    winner = torch.full((rows, no_source), no_source, dtype=torch.int32, device=target.device)
    # Converting float to int64 via int32 is twice as fast on CPUs.
    target = target[:, :no_source].int().long()
    return winner.scatter_reduce_(-1, target, sources[:no_source].expand(rows, -1), "amin")


def _collect(content: Tensor, splat: _Splat) -> Tensor:
    """Return the mean, by `share`, of both winners' `content` (R, P + 1) at each target pixel (R, W); NaN if none."""
    return torch.lerp(content.gather(-1, splat.low), content.gather(-1, splat.high), splat.share)


def _behind_nearer_layer(column: Tensor) -> Tensor:
    """Return where the source `column` (R, W) exceeds one of those up to `FILL_REACH` pixels to its right: bool (R, W).

    NaN (no source) gives True and has no influence on other pixels.
    """
    negated = -column
    to_the_right = F.pad(negated[:, 1:], (0, 1), value=-torch.inf).nan_to_num_(nan=-torch.inf)
    return torch.ge(negated, running_max(to_the_right, 0, FILL_REACH - 1, -1)).logical_not_()


def _background(missing: Tensor) -> tuple[Tensor, Tensor]:
    """Return for each pixel of `missing` (R, W) the nearest column that is not missing, its own or to the left.

    Returns int64 (R, W), and bool (R, W) that is True where there is none within `FILL_REACH` pixels.
    """
    columns = torch.arange(missing.shape[-1], device=missing.device, dtype=torch.float32)
    present = columns.expand_as(missing).masked_fill(missing, -torch.inf)
    last, source = present.cummax(-1)
    return source, columns - last > FILL_REACH


def _check_depth(depth: Tensor) -> None:
    if depth.ndim != 4 or depth.shape[1] != 1 or not depth.is_floating_point() or depth.numel() == 0:
        raise InputError(f"depth: expected float (B, 1, H, W), got {depth.dtype} {tuple(depth.shape)}")
    if not torch.stack(torch.aminmax(depth)).isfinite().all():
        raise InputError("depth: it contains NaN or infinite values; check the depth model or the depth file")
