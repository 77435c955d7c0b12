"""The generator on chosen windows only: what lies far from every hole is never computed.

`LightInpaintV1` mixes places within windows of 64 px (16 cells of 4 px, later 8 of 8 px), and between windows through windows
shifted by half a side and through 3x3 convolutions. So windows can be computed as a list, whatever shape they form, when
each layer finds its neighbours through an index; and the deeper a layer, the less around a hole it has to compute.

Where a layer computes nothing, cells get its residual path alone. A neighbour that isn't there counts as the picture's
border does: zero for shifted windows, the nearest cell for convolutions. With all windows in reach the result is that of
`LightInpaintV1.predict`; with those in the usual reach it differs inside holes by less than 1/255.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import cast

import torch
from torch import Tensor
from torch.nn import functional as F

from inpaintkit.model import LightInpaintV1
from inpaintkit.model.generator import PATCH
from inpaintkit.model.layers import GMLPBlock

WINDOW = 64
"""Side of a window in px."""

GRAIN = 8
"""Areas have one value for a square of so many px."""

CHUNK = 8
"""Windows of 16 x 16 cells that go through a layer at once, twice as many of 8 x 8 with their wider channels.

Few enough for a processor's cache (16 took 5 % longer on a Xeon, 4 took 7 %); also bounds the memory.
"""

Pixels = Callable[[Tensor], tuple[Tensor, Tensor]]
"""Places of windows (n, 2) -> their pixels (n, 3, 64, 64), -1..1, and hidden cells bool (n, 1, 16, 16)."""


@dataclass(frozen=True)
class Reach:
    """How far around the area of interest, in px, each step of the network is computed.

    By the network's structure a pixel depends on others up to 280 px away, but ever less. The defaults leave less than
    0.01/255 with the released checkpoint; 80, 48, 40, 32 and 16 px left up to 3.3/255 with it although 0.04/255 with a shortly
    trained one. ``benchmarks/bench_inpainter.py CHECKPOINT`` measures it for a checkpoint.
    """

    embedding: int = 96
    encoder: tuple[int, ...] = (96, 96, 96, 96, 96)
    decoder: int = 8


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

    def padded_cells(self, side: int) -> Tensor:
        """Return for each window the numbers of its cells and of one cell around: (n, side + 2, side + 2).

        A cell outside the picture or in a window that isn't there is replaced by the nearest one inside.
        """
        steps = torch.arange(-1, side + 1, device=self.places.device)
        y, x = (self.places[:, axis, None] * side + steps for axis in (0, 1))
        y_own, x_own = (self.places[:, axis, None] * side + steps.clamp(0, side - 1) for axis in (0, 1))
        cells = self.cells(y.clamp(0, self.rows * side - 1), x.clamp(0, self.columns * side - 1), side)
        return torch.where(cells < 0, self.cells(y_own, x_own, side), cells)

    def shifted_cells(self, places: Tensor, side: int) -> Tensor:
        """Return the numbers of the cells of windows half a side further up and left: (n, side, side), -1 = none."""
        steps = torch.arange(side, device=places.device) - side // 2
        return self.cells(places[:, :1] * side + steps, places[:, 1:] * side + steps, side)


def touched_windows(area: Tensor, reach: int, shifted: bool = False) -> Tensor:
    """Return which windows come within `reach` px of `area`: bool (rows, columns), one more of each if `shifted`.

    `area`: float (1, h, w), 1 where a square of `GRAIN` px holds something of interest; covers whole windows.
    `shifted`: windows half a side further up and left.
    """
    steps = min(math.ceil(reach / GRAIN), max(area.shape))
    grown = F.max_pool2d(area, (1, 2 * steps + 1), stride=1, padding=(0, steps))
    grown = F.max_pool2d(grown, (2 * steps + 1, 1), stride=1, padding=(steps, 0))
    if shifted:
        grown = F.pad(grown, (WINDOW // GRAIN // 2,) * 4)
    return F.max_pool2d(grown, WINDOW // GRAIN)[0] > 0


def predict_windows(
    model: LightInpaintV1, pixels: Pixels, area: Tensor, reach: Reach, origin: Tensor
) -> tuple[Tensor, Tensor]:
    """Return the windows around `area` and the network's prediction there.

    Args:
        model: the generator.
        pixels: gives the windows' pixels and hidden cells, as `LightInpaintV1.predict` takes them.
        area: see `touched_windows`.
        reach: how far around `area` to compute.
        origin: row and column (2,) in the picture of the first window of `area`; `pixels` gets places in the picture.

    Returns:
        places (n, 2): rows and columns of windows within `area`; and predictions (n, 3, 64, 64), meant to be 0..1, not clamped,
        valid for the pixels of `area`.
    """
    wide, near = (WindowSet(touched_windows(area, distance)) for distance in (reach.embedding, reach.decoder))

    def embed(part: slice) -> Tensor:
        picture, hidden = pixels(wide.places[part] + origin)
        cells = model.patch(F.pixel_unshuffle(picture, PATCH).contiguous(memory_format=torch.channels_last))
        return channels_last(torch.where(hidden, model.mask_bias.to(cells.dtype), cells))

    def halve(part: slice) -> Tensor:
        return channels_last(model.down(channels_first(skip[part])))

    def double(part: slice) -> Tensor:
        return channels_last(F.pixel_shuffle(model.up(channels_first(take(x, kept[part]))), 2)) + take(skip, kept[part])

    def image(part: slice) -> Tensor:
        return F.pixel_shuffle(to_pixels(channels_first(take(cells, around[part]))), PATCH)

    skip = run_block(model.enc1, chunked(embed, len(wide)), wide, area, reach.encoder[0])
    x = chunked(halve, len(wide))
    for block, distance in zip(model.enc2, reach.encoder[1:], strict=True):
        x = run_block(cast(GMLPBlock, block), x, wide, area, distance)
    kept = wide.slots(near.places)
    x = run_block(model.dec1, chunked(double, len(near)), near, area, reach.decoder)
    cells, around, to_pixels = x.flatten(0, 2), near.padded_cells(x.shape[1]), model.to_image[1]
    return near.places, chunked(image, len(near))


def run_block(block: GMLPBlock, x: Tensor, windows: WindowSet, area: Tensor, reach: int) -> Tensor:
    """Return what `block` makes of the cells x (n, side, side, C) of `windows`, computed within `reach` px of `area`."""
    x = add_mixed(block, x, windows, area, reach)
    chosen = WindowSet(touched_windows(area, reach))
    slots, around = windows.slots(chosen.places), chosen.padded_cells(x.shape[1])
    narrow, convolve = block.glu_conv.w1, block.glu_conv.w2

    def gate(part: slice) -> Tensor:
        return F.glu(F.linear(take(x, slots[part]), narrow.weight[:, :, 0, 0], narrow.bias), dim=-1)

    gated = chunked(gate, len(chosen), x.shape[1]).flatten(0, 2)
    for part in chunks(len(chosen), x.shape[1]):
        x.index_add_(0, slots[part], channels_last(convolve(channels_first(take(gated, around[part])))))
    return x


def add_mixed(block: GMLPBlock, x: Tensor, windows: WindowSet, area: Tensor, reach: int) -> Tensor:
    """Return x (n, side, side, C) plus the gMLP of `block`; beyond `reach`, x plus its residual path: x again."""
    side, channels = x.shape[1], x.shape[-1]
    places = touched_windows(area, reach, block.gmlp.shifted).nonzero()
    if block.gmlp.shifted:
        numbers = windows.shifted_cells(places, side).flatten(1)
    else:
        numbers = windows.slots(places)[:, None] * side**2 + torch.arange(side**2, device=x.device)
    # One more cell, of zeros, stands for all that aren't there. Places come first and windows second, as the gMLP wants
    # them: gathering costs the same in any order.
    cells = torch.cat([x.flatten(0, 2), x.new_zeros(1, channels)])
    numbers, total = numbers.where(numbers >= 0, len(cells) - 1).T, 2 * cells
    for part in chunks(len(places), side):
        tokens = take(cells, numbers[:, part])
        mixed = block.gmlp.gmlp(tokens, block.norm1, block.norm2).add_(tokens)
        total.index_copy_(0, numbers[:, part].flatten(), mixed.flatten(0, 1))
    return total[:-1].view(x.shape)


def take(values: Tensor, index: Tensor) -> Tensor:
    """Return ``values[index]`` for an index of any shape into the first axis; faster than writing that."""
    return values.index_select(0, index.flatten()).view(*index.shape, *values.shape[1:])


def channels_first(x: Tensor) -> Tensor:
    """(n, h, w, C) -> (n, C, h, w), without moving memory."""
    return x.permute(0, 3, 1, 2)


def channels_last(x: Tensor) -> Tensor:
    """(n, C, h, w) -> (n, h, w, C), without moving memory."""
    return x.permute(0, 2, 3, 1)


def chunked(work: Callable[[slice], Tensor], count: int, side: int = WINDOW // PATCH) -> Tensor:
    """Return what `work` gives for 0..count (at least 1), done in chunks."""
    return torch.cat([work(part) for part in chunks(count, side)])


def chunks(count: int, side: int) -> Iterator[slice]:
    """Cut 0..count into slices for windows of `side` x `side` cells."""
    size = CHUNK * (WINDOW // PATCH) // side
    for first in range(0, count, size):
        yield slice(first, first + size)
