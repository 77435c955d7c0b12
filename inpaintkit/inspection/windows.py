"""Run the generator on chosen windows only, so that nothing far from every hole is computed.

`LightInpaintV1` mixes cells within windows of 64 px (16 cells of 4 px, later 8 of 8 px). Values pass between windows
only through windows shifted by half a side and through 3x3 convolutions. So the windows can be processed as a list,
whatever shape they form, if each layer looks up neighbouring cells by number. `plan` chooses the windows of each layer,
from the last layer to the first: those that the next layer reads, as far as they lie within reach of a hole.

Where a layer computes nothing, cells take its residual path alone. Neighbours that aren't computed are replaced much as
at the picture's border: by zero in shifted windows, by the cell itself in convolutions. With unlimited reach the result
equals that of `LightInpaintV1.predict`; with the usual reach it differs inside holes by less than 1/255.
"""

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import cast

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from inpaintkit.model import LightInpaintV1
from inpaintkit.model.generator import PATCH
from inpaintkit.model.layers import GMLPBlock, conv_as_linear
from inpaintkit.neighbours import local_max

WINDOW = 64
"""Side of a window in px."""

GRAIN = 8
"""Areas hold one value per square of this side, in px."""

REACH = 80
"""How far around a hole, in px, the encoder computes.

A pixel depends on others up to 280 px away, but less and less with distance.
``benchmarks/bench_inpainter.py CHECKPOINT`` measures the error for a checkpoint; the longer it was trained, the larger
the error.
"""

DECODER_REACH = 8
"""How far around an area, in px, the decoder must compute for its two 3x3 convolutions on cells of 4 px.

Unlike the encoder's reach it can't be smaller: the result would be wrong.
"""

CHUNK = 8
"""Windows of 16 x 16 cells that go through a layer at once on a CPU.

Twice as many windows of 8 x 8 cells do, which have more channels. Chosen to fit into the CPU's cache (16 took 5 %
longer on a Xeon, 4 took 7 %).
"""

GPU_CHUNK = 256
"""The same on a GPU, which would idle between smaller chunks; the limit bounds the memory."""

Pixels = Callable[[Tensor], tuple[Tensor, Tensor]]
"""Places of windows (n, 2) -> their pixels (n, 3, 64, 64), -1..1, and hidden cells bool (n, 1, 16, 16)."""


class WindowSet:
    """Chosen windows of a picture's window grid, in row order.

    Args:
        chosen: bool (rows, columns), True = in the set.
    """

    def __init__(self, chosen: Tensor) -> None:
        self.places = chosen.nonzero()
        self._slots = torch.full(chosen.shape, -1, device=chosen.device)
        self._slots[chosen] = torch.arange(len(self.places), device=chosen.device)

    def __len__(self) -> int:
        return len(self.places)

    def slots(self, places: Tensor) -> Tensor:
        """Return the positions in this set of the windows at `places` (n, 2), -1 for those not in it."""
        return self._slots[places[:, 0], places[:, 1]]

    def cells(self, side: int) -> Tensor:
        """Return each cell's number in this set: int64 (rows * `side`, columns * `side`), -1 = not in it.

        `side`: cells along a window. Cells are numbered window by window, and row by row within a window.
        """
        within = torch.arange(side * side, device=self._slots.device).view(side, 1, side)
        slots = self._slots[:, None, :, None]
        return torch.where(slots < 0, -1, slots * side * side + within).flatten(2).flatten(0, 1)


@dataclass(frozen=True)
class Step:
    """Where one block computes: its gMLP in the windows `mixed`, bool (rows, columns), its convolution in `area`."""

    mixed: Tensor
    area: Tensor


def grown(area: Tensor, reach: int) -> Tensor:
    """Return `area` (1, h, w), one value per `GRAIN` px, grown by `reach` px on all sides: float, 1 or 0."""
    return local_max(area, min(math.ceil(reach / GRAIN), max(area.shape)))


def touched_windows(area: Tensor, shifted: bool = False) -> Tensor:
    """Return which windows overlap `area`: bool (rows, columns), one more of each if `shifted`.

    `area`: float (1, h, w), 1 where a square of `GRAIN` px holds something of interest; its size is a whole number of
    windows. `shifted`: the windows lie half a side further up and left.
    """
    if shifted:
        area = F.pad(area, (WINDOW // GRAIN // 2,) * 4)
    return F.max_pool2d(area, WINDOW // GRAIN)[0] > 0


def covered_area(windows: Tensor, shifted: bool = False) -> Tensor:
    """Return the area that `windows`, bool (rows, columns), cover: the reverse of `touched_windows`."""
    area = repeated(windows, WINDOW // GRAIN).float()[None]
    border = WINDOW // GRAIN // 2
    return area[:, border:-border, border:-border] if shifted else area


def repeated(values: Tensor, times: int) -> Tensor:
    """Return `values` (h, w) with each value repeated `times` times in both directions."""
    return values.repeat_interleave(times, 0).repeat_interleave(times, 1)


def plan(area: Tensor, reach: int, shifts: list[bool]) -> tuple[Tensor, list[Step]]:
    """Choose where each block computes.

    Args:
        area: see `touched_windows`: where a prediction is wanted.
        reach: px around `area` beyond which the encoder's windows aren't worth computing.
        shifts: for each block of the encoder, first to last, whether its windows are shifted.

    Returns:
        the windows that the first block reads, bool (rows, columns), and one step per block, the decoder's last.
    """
    decoded, near = grown(area, DECODER_REACH), grown(area, reach)
    steps = [Step(touched_windows(decoded), decoded)]
    needed = covered_area(steps[0].mixed)
    for shifted in reversed(shifts):
        convolved = needed * near
        surroundings = torch.maximum(needed, grown(convolved, GRAIN))
        mixed = touched_windows(surroundings * near, shifted)
        needed = torch.maximum(surroundings, covered_area(mixed, shifted))
        steps.append(Step(mixed, convolved))
    return touched_windows(needed), steps[::-1]


def predict_windows(
    model: LightInpaintV1, pixels: Pixels, area: Tensor, reach: int, origin: Tensor
) -> tuple[Tensor, Tensor]:
    """Return the windows around `area` and the network's prediction there, computed as `LightInpaintV1.predict` does.

    Args:
        model: the generator.
        pixels: returns the windows' pixels and hidden cells, as `LightInpaintV1.predict` takes them.
        area: see `touched_windows`.
        reach: how far around `area` the encoder computes, px.
        origin: row and column (2,) of the first window of `area` in the picture's grid of windows; `pixels` is called
            with places in that grid.

    Returns:
        places (n, 2): rows and columns of windows within `area`; and predictions (n, 3, 64, 64), meant to be 0..1, not
        clamped, valid for the pixels of `area`.
    """
    encoder = [model.enc1, *(cast(GMLPBlock, block) for block in model.enc2)]
    needed, (first, *steps, last) = plan(area, reach, [block.gmlp.shifted for block in encoder])
    wide, near = WindowSet(needed), WindowSet(last.mixed)
    embedding, nonlinearity = cast(nn.Conv2d, model.patch[0]), cast(nn.LeakyReLU, model.patch[1])
    halving = last_channels(model.down)
    output = cast(nn.Conv2d, model.to_image[1])

    def embed(part: slice) -> Tensor:
        picture, hidden = pixels(wide.places[part] + origin)
        cells = conv_as_linear(embedding, F.pixel_unshuffle(picture, PATCH).permute(0, 2, 3, 1))
        cells = F.leaky_relu(cells, nonlinearity.negative_slope)
        cells[hidden[:, 0]] = model.mask_bias.flatten().to(cells.dtype)
        return cells

    def halve(part: slice) -> Tensor:
        quads = skip[part].unflatten(2, (-1, 2)).unflatten(1, (-1, 2)).transpose(2, 3).flatten(3)
        return F.linear(quads, halving, model.down.bias)

    def double(part: slice) -> Tensor:
        quads = conv_as_linear(model.up, take(x, kept[part]))
        return F.pixel_shuffle(quads.permute(0, 3, 1, 2), 2).permute(0, 2, 3, 1) + take(skip, kept[part])

    skip = chunked(embed, len(wide), area.device)
    run_block(model.enc1, skip, wide.cells(skip.shape[1]), first)
    x = chunked(halve, len(wide), area.device)
    grid = wide.cells(x.shape[1])
    for block, step in zip(encoder[1:], steps, strict=True):
        run_block(block, x, grid, step)
    kept = wide.slots(near.places)
    x = chunked(double, len(near), area.device)
    grid = near.cells(x.shape[1])
    run_block(model.dec1, x, grid, last)
    image = x.new_zeros(*x.shape[:3], output.out_channels)
    for numbers, values in convolved(output, x, grid, area):
        image.flatten(0, 2).index_copy_(0, numbers, values)
    return near.places, F.pixel_shuffle(image.permute(0, 3, 1, 2), PATCH)


def run_block(block: GMLPBlock, x: Tensor, grid: Tensor, step: Step) -> None:
    """Apply `block` in place to x (n, side, side, C), the cells of `grid`, where `step` says so.

    Elsewhere only its residual path is applied. `grid`: see `WindowSet.cells`.
    """
    add_mixed(block, x, grid, step.mixed)
    gated = chunked(lambda part: block.glu_conv.gate(x[part]), len(x), x.device, x.shape[1])
    for numbers, values in convolved(block.glu_conv.w2, gated, grid, step.area):
        x.flatten(0, 2).index_add_(0, numbers, values)


def add_mixed(block: GMLPBlock, x: Tensor, grid: Tensor, mixed: Tensor) -> None:
    """Add the gMLP of `block` to x (n, side, side, C) in the windows `mixed`, elsewhere its residual path, x itself."""
    side = x.shape[1]
    cells = x.flatten(0, 2)
    if block.gmlp.shifted:
        grid = F.pad(grid, (side // 2,) * 4, value=-1)
    numbers = grid.unfold(0, side, side).unfold(1, side, side)[mixed].flatten(1)
    there = numbers >= 0
    alone = torch.ones(len(cells), dtype=torch.bool, device=x.device)
    alone[numbers[there]] = False
    cells[alone] *= 2
    # Places come first and windows second, as the gMLP expects them: gathering costs the same in any order.
    for part in chunks(len(numbers), side, x.device):
        index, inside = numbers[part].T, there[part].T
        tokens = take(cells, index.clamp(min=0))
        whole = bool(inside.all())
        if not whole:
            tokens[~inside] = 0
        result = block.gmlp.gmlp(tokens, block.norm1, block.norm2).add_(tokens)
        if whole:
            cells.index_copy_(0, index.flatten(), result.flatten(0, 1))
        else:
            cells.index_copy_(0, index[inside], result[inside])


def convolved(layer: nn.Conv2d, x: Tensor, grid: Tensor, area: Tensor) -> Iterator[tuple[Tensor, Tensor]]:
    """Yield, in chunks, the numbers (m,) of the cells of `area` and a 3x3 convolution of x there, (m, C').

    x is (n, side, side, C), the cells of `grid`.
    """
    side = x.shape[1]
    cells = x.flatten(0, 2)
    weight = last_channels(layer)
    chosen = repeated(area[0] > 0, side * GRAIN // WINDOW).nonzero()
    for part in chosen.split(at_once(x.device) * (WINDOW // PATCH) ** 2):
        numbers = neighbours(grid, part)
        yield numbers[:, 4], F.linear(take(cells, numbers).flatten(1), weight, layer.bias)


def neighbours(grid: Tensor, places: Tensor) -> Tensor:
    """Return the 3 x 3 cells around those at `places` (n, 2) of `grid`, see `WindowSet.cells`: (n, 9), row by row.

    A neighbour outside the picture is replaced by the nearest cell inside, one without a number by the cell itself.
    """
    steps = torch.arange(-1, 2, device=grid.device)
    rows, columns = ((places[:, axis, None] + steps).clamp(0, grid.shape[axis] - 1) for axis in (0, 1))
    numbers = grid[rows[:, :, None], columns[:, None, :]].flatten(1)
    return torch.where(numbers < 0, numbers[:, 4:5], numbers)


def take(values: Tensor, index: Tensor) -> Tensor:
    """Return ``values[index]`` for an index of any shape into the first axis, but faster."""
    return values.index_select(0, index.flatten()).view(*index.shape, *values.shape[1:])


def last_channels(layer: nn.Conv2d) -> Tensor:
    """Return the weight of a convolution as a matrix for inputs with their channels last: (C', k * k * C)."""
    return layer.weight.permute(0, 2, 3, 1).flatten(1)


def chunked(work: Callable[[slice], Tensor], count: int, device: torch.device, side: int = WINDOW // PATCH) -> Tensor:
    """Return the results of `work` for `count` windows (at least 1), computed in `chunks`."""
    first, *others = chunks(count, side, device)
    values = work(first)
    result = values.new_empty(count, *values.shape[1:])
    result[first] = values
    for part in others:
        result[part] = work(part)
    return result


def chunks(count: int, side: int, device: torch.device) -> Iterator[slice]:
    """Cut `count` windows of `side` x `side` cells into slices."""
    size = at_once(device) * (WINDOW // PATCH) // side
    for first in range(0, count, size):
        yield slice(first, first + size)


def at_once(device: torch.device) -> int:
    """Return how many windows of 16 x 16 cells go through a layer at once on `device`."""
    return CHUNK if device.type == "cpu" else GPU_CHUNK
