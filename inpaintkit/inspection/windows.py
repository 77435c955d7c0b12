"""The generator on chosen windows only: what lies far from every hole is never computed.

`LightInpaintV1` mixes places within windows of 64 px (16 cells of 4 px, later 8 of 8 px), and between windows through windows
shifted by half a side and through 3x3 convolutions. So windows can be computed as a list, whatever shape they form, when
each layer finds its neighbours through an index. Which windows a layer computes is planned from the picture back to the
first layer: those that the next one takes values from, as far as they lie within reach of a hole.

Where a layer computes nothing, cells get its residual path alone. A neighbour that isn't there counts as the picture's
border does: zero for shifted windows, the nearest cell for convolutions. With everything in reach the result is that of
`LightInpaintV1.predict`; with the usual reach it differs inside holes by less than 1/255.
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
from inpaintkit.model.layers import GMLPBlock

WINDOW = 64
"""Side of a window in px."""

GRAIN = 8
"""Areas have one value for a square of so many px."""

REACH = 64
"""How far around a hole, in px, the encoder computes.

A pixel depends on others up to 280 px away, but ever less. ``benchmarks/bench_inpainter.py CHECKPOINT`` measures what
is lost for a checkpoint; the longer one was trained, the more.
"""

DECODER_REACH = 8
"""Two 3x3 convolutions on cells of 4 px: without these values the result would be wrong, however little is asked of it."""

CHUNK = 8
"""Windows of 16 x 16 cells that go through a layer at once on a processor, twice as many of 8 x 8 with their wider channels.

Few enough for a processor's cache (16 took 5 % longer on a Xeon, 4 took 7 %).
"""

GPU_CHUNK = 256
"""The same on a GPU, which would only wait for its next small piece of work otherwise; bounds the memory."""

Pixels = Callable[[Tensor], tuple[Tensor, Tensor]]
"""Places of windows (n, 2) -> their pixels (n, 3, 64, 64), -1..1, and hidden cells bool (n, 1, 16, 16)."""


class WindowSet:
    """Chosen windows of a picture's window grid, in row order, and how their cells are numbered: window by window, row by row.

    Args:
        chosen: bool (rows, columns), True = in the set.
    """

    def __init__(self, chosen: Tensor) -> None:
        self.places = chosen.nonzero()
        self.rows, self.columns = chosen.shape
        slots = torch.full(chosen.shape, -1, device=chosen.device)
        slots[chosen] = torch.arange(len(self.places), device=chosen.device)
        self._slots = F.pad(slots, (1, 1, 1, 1), value=-1)

    def __len__(self) -> int:
        return len(self.places)

    def slots(self, places: Tensor) -> Tensor:
        """Return where the windows at `places` (n, 2) stand in this set, -1 for those that don't."""
        return self._slots[places[:, 0] + 1, places[:, 1] + 1]

    def cells(self, y: Tensor, x: Tensor, side: int) -> Tensor:
        """Return the numbers of the cells at rows `y` (n, h) and columns `x` (n, w) of the picture: (n, h, w), -1 = none.

        `side`: cells along a window. Rows and columns may lie up to one window outside the picture.
        """
        y, x = y[:, :, None], x[:, None, :]
        slot = self._slots[y.div(side, rounding_mode="floor") + 1, x.div(side, rounding_mode="floor") + 1]
        return torch.where(slot < 0, -1, slot * side * side + y.remainder(side) * side + x.remainder(side))

    def neighbours(self, y: Tensor, x: Tensor, side: int) -> Tensor:
        """Return the numbers of the 3 x 3 cells around the cells at `y`, `x` (n,) of the set: (n, 9), row by row.

        A neighbour outside the picture is replaced by the nearest cell inside, one that isn't in the set by the cell itself.
        """
        steps = torch.arange(-1, 2, device=y.device)
        rows = (y[:, None] + steps).clamp(0, self.rows * side - 1)
        columns = (x[:, None] + steps).clamp(0, self.columns * side - 1)
        cells = self.cells(rows, columns, side).flatten(1)
        return torch.where(cells < 0, cells[:, 4:5], cells)

    def window_cells(self, places: Tensor, side: int, shifted: bool) -> Tensor:
        """Return the numbers of the cells of windows at `places`, half a side further up and left if `shifted`: (n, side²), -1 = none."""
        steps = torch.arange(side, device=places.device) - (side // 2 if shifted else 0)
        return self.cells(places[:, :1] * side + steps, places[:, 1:] * side + steps, side).flatten(1)


@dataclass(frozen=True)
class Step:
    """What one block computes: its gMLP in the windows `mixed`, bool (rows, columns), its convolution in the cells of `area`."""

    mixed: Tensor
    area: Tensor


def grown(area: Tensor, reach: int) -> Tensor:
    """Return where `area` (1, h, w), one value per `GRAIN` px, is within `reach` px: float, 1 or 0."""
    steps = min(math.ceil(reach / GRAIN), max(area.shape))
    wider = F.max_pool2d(area, (1, 2 * steps + 1), stride=1, padding=(0, steps))
    return F.max_pool2d(wider, (2 * steps + 1, 1), stride=1, padding=(steps, 0))


def touched_windows(area: Tensor, shifted: bool = False) -> Tensor:
    """Return which windows hold some of `area`: bool (rows, columns), one more of each if `shifted`.

    `area`: float (1, h, w), 1 where a square of `GRAIN` px holds something of interest; covers whole windows.
    `shifted`: windows half a side further up and left.
    """
    if shifted:
        area = F.pad(area, (WINDOW // GRAIN // 2,) * 4)
    return F.max_pool2d(area, WINDOW // GRAIN)[0] > 0


def covered_area(windows: Tensor, shifted: bool = False) -> Tensor:
    """Return the area that `windows`, bool (rows, columns), cover: the reverse of `touched_windows`."""
    side = WINDOW // GRAIN
    area = windows.float().repeat_interleave(side, 0).repeat_interleave(side, 1)[None]
    border = side // 2
    return area[:, border:-border, border:-border] if shifted else area


def plan(area: Tensor, reach: int, shifts: list[bool]) -> tuple[Tensor, list[Step]]:
    """Choose what each block computes.

    Args:
        area: see `touched_windows`: where a prediction is wanted.
        reach: px around `area` beyond which the encoder's windows aren't worth computing.
        shifts: for each block of the encoder, first to last, whether its windows are shifted.

    Returns:
        the windows that the first block takes values from, bool (rows, columns), and one step per block, the decoder's last.
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
    """Return the windows around `area` and the network's prediction there.

    Args:
        model: the generator.
        pixels: gives the windows' pixels and hidden cells, as `LightInpaintV1.predict` takes them.
        area: see `touched_windows`.
        reach: how far around `area` the encoder computes, px.
        origin: row and column (2,) in the picture of the first window of `area`; `pixels` gets places in the picture.

    Returns:
        places (n, 2): rows and columns of windows within `area`; and predictions (n, 3, 64, 64), meant to be 0..1, not clamped,
        valid for the pixels of `area`.
    """
    encoder = [model.enc1, *(cast(GMLPBlock, block) for block in model.enc2)]
    needed, (*steps, last) = plan(area, reach, [block.gmlp.shifted for block in encoder])
    wide, near = WindowSet(needed), WindowSet(last.mixed)

    def embed(part: slice) -> Tensor:
        picture, hidden = pixels(wide.places[part] + origin)
        cells = linear(embedding, channels_last(F.pixel_unshuffle(picture, PATCH)))
        cells = F.leaky_relu(cells, nonlinearity.negative_slope)
        cells[hidden[:, 0]] = model.mask_bias.flatten().to(cells.dtype)
        return cells

    def halve(part: slice) -> Tensor:
        quads = skip[part].unflatten(2, (-1, 2)).unflatten(1, (-1, 2)).transpose(2, 3).flatten(3)
        return F.linear(quads, halving, model.down.bias)

    def double(part: slice) -> Tensor:
        quads = linear(model.up, take(x, kept[part]))
        return channels_last(F.pixel_shuffle(channels_first(quads), 2)) + take(skip, kept[part])

    halving = last_channels(model.down)
    embedding, nonlinearity = cast(nn.Conv2d, model.patch[0]), cast(nn.LeakyReLU, model.patch[1])
    skip = run_block(encoder[0], chunked(embed, len(wide), area.device), wide, steps[0])
    x = chunked(halve, len(wide), area.device)
    for block, step in zip(encoder[1:], steps[1:], strict=True):
        x = run_block(block, x, wide, step)
    kept = wide.slots(near.places)
    x = run_block(model.dec1, chunked(double, len(near), area.device), near, last)
    cells = x.flatten(0, 2)
    image = cells.new_zeros(len(cells), 3 * PATCH**2)
    for numbers, values in convolved(cast(nn.Conv2d, model.to_image[1]), cells, near, area, x.shape[1]):
        image.index_copy_(0, numbers, values)
    return near.places, F.pixel_shuffle(channels_first(image.view(*x.shape[:3], -1)), PATCH)


def run_block(block: GMLPBlock, x: Tensor, windows: WindowSet, step: Step) -> Tensor:
    """Return what `block` makes of the cells x (n, side, side, C) of `windows` where `step` says so; overwrites `x`."""
    add_mixed(block, x, windows, step.mixed)
    add_convolved(block, x, windows, step.area)
    return x


def add_mixed(block: GMLPBlock, x: Tensor, windows: WindowSet, mixed: Tensor) -> None:
    """Add the gMLP of `block` to x (n, side, side, C) in the windows `mixed`; elsewhere its residual path: x again."""
    side, cells = x.shape[1], x.flatten(0, 2)
    numbers = windows.window_cells(mixed.nonzero(), side, block.gmlp.shifted)
    there = numbers >= 0
    alone = torch.ones(len(cells), dtype=torch.bool, device=x.device)
    alone[numbers[there]] = False
    cells[alone] *= 2
    # Places come first and windows second, as the gMLP wants them: gathering costs the same in any order.
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


def add_convolved(block: GMLPBlock, x: Tensor, windows: WindowSet, area: Tensor) -> None:
    """Add the gated convolution of `block` to x (n, side, side, C) in the cells of `area`."""
    side, cells = x.shape[1], x.flatten(0, 2)
    narrow, convolution = block.glu_conv.w1, block.glu_conv.w2
    gated = chunked(lambda part: F.glu(linear(narrow, x[part]), dim=-1), len(x), x.device, side).flatten(0, 2)
    for numbers, values in convolved(convolution, gated, windows, area, side):
        cells.index_add_(0, numbers, values)


def convolved(
    layer: nn.Conv2d, cells: Tensor, windows: WindowSet, area: Tensor, side: int
) -> Iterator[tuple[Tensor, Tensor]]:
    """Yield, in chunks, the numbers (m,) of the cells of `area` and what a 3x3 convolution makes of `cells` (n, C) there: (m, C')."""
    weight, steps = last_channels(layer), side * GRAIN // WINDOW
    chosen = (area[0] > 0).repeat_interleave(steps, 0).repeat_interleave(steps, 1).nonzero()
    for part in chosen.split(at_once(cells.device) * (WINDOW // PATCH) ** 2):
        numbers = windows.neighbours(part[:, 0], part[:, 1], side)
        yield numbers[:, 4], F.linear(take(cells, numbers).flatten(1), weight, layer.bias)


def take(values: Tensor, index: Tensor) -> Tensor:
    """Return ``values[index]`` for an index of any shape into the first axis; faster than writing that."""
    return values.index_select(0, index.flatten()).view(*index.shape, *values.shape[1:])


def last_channels(layer: nn.Conv2d) -> Tensor:
    """Return the weight of a convolution as a matrix for inputs with their channels last: (C', k * k * C)."""
    return layer.weight.permute(0, 2, 3, 1).flatten(1)


def linear(layer: nn.Conv2d, x: Tensor) -> Tensor:
    """Return a convolution without overlap as what it is: a linear layer; (..., C * k * k) -> (..., C')."""
    return F.linear(x, layer.weight.flatten(1), layer.bias)


def channels_first(x: Tensor) -> Tensor:
    """(n, h, w, C) -> (n, C, h, w), without moving memory."""
    return x.permute(0, 3, 1, 2)


def channels_last(x: Tensor) -> Tensor:
    """(n, C, h, w) -> (n, h, w, C), without moving memory."""
    return x.permute(0, 2, 3, 1)


def chunked(work: Callable[[slice], Tensor], count: int, device: torch.device, side: int = WINDOW // PATCH) -> Tensor:
    """Return what `work` gives for 0..count (at least 1), done in `chunks`."""
    first, *others = chunks(count, side, device)
    values = work(first)
    result = values.new_empty(count, *values.shape[1:])
    result[first] = values
    for part in others:
        result[part] = work(part)
    return result


def chunks(count: int, side: int, device: torch.device) -> Iterator[slice]:
    """Cut 0..count into slices for windows of `side` x `side` cells."""
    size = at_once(device) * (WINDOW // PATCH) // side
    for first in range(0, count, size):
        yield slice(first, first + size)


def at_once(device: torch.device) -> int:
    """Return how many windows of 16 x 16 cells go through a layer at once on `device`."""
    return CHUNK if device.type == "cpu" else GPU_CHUNK
