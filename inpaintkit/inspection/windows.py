"""The generator on chosen windows only: what lies far from every hole is never computed.

`LightInpaintV1` mixes places within windows of 64 px (16 cells of 4 px, then 8 of 8 px), and between windows by windows
shifted by half a side and by 3x3 convolutions. So a set of windows can be computed as a list, whatever its shape, when each
layer finds its neighbours through an index. A neighbour that is not in the set counts as the picture's border does: zero
for shifted windows, repeated cells for convolutions. With all windows in the set the result is that of
`LightInpaintV1.predict`; with those around holes only it is nearly so, see `inpainter.REACH`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import cast

import torch
from torch import Tensor
from torch.nn import functional as F

from inpaintkit.model import LightInpaintV1
from inpaintkit.model.generator import PATCH
from inpaintkit.model.layers import GMLPBlock

WINDOW = 64
"""Side of a window in px."""

CHUNK = 16
"""Windows that go through a layer at once: few enough for a processor's cache, and what bounds the memory."""


class WindowSet:
    """Chosen windows of a picture's window grid, in row order, and how their cells find each other.

    Args:
        chosen: bool (rows, columns), True = compute this window.
    """

    def __init__(self, chosen: Tensor) -> None:
        self.places = chosen.nonzero()
        self.count = len(self.places)
        slots = torch.full(chosen.shape, -1, device=chosen.device)
        slots[chosen] = torch.arange(self.count, device=chosen.device)
        self._slots = F.pad(slots, (1, 1, 1, 1), value=-1)
        self._cache: dict[tuple[str, int], tuple[Tensor, ...]] = {}

    def slots(self, other: WindowSet) -> Tensor:
        """Return where the windows of `other`, all in this set too, stand in this one."""
        return self._slots[other.places[:, 0] + 1, other.places[:, 1] + 1]

    def padded(self, side: int) -> Tensor:
        """Return for each window of `side` x `side` cells and one cell around it the numbers of the cells.

        (count, side + 2, side + 2); cells are numbered window by window, row by row. A cell of a missing window
        is replaced by the nearest one inside.
        """
        return self._once("padded", side, self._padded)[0]

    def shifted(self, side: int) -> tuple[Tensor, Tensor]:
        """Return the windows half a side further up and left, and the way back.

        (shifted windows, side, side): numbers of the cells, one past the last where the window is missing; and
        (count, side, side): where each cell is found among the cells of the shifted windows.
        """
        there, back = self._once("shifted", side, self._shifted)
        return there, back

    def _once(self, kind: str, side: int, make: Callable[[int], tuple[Tensor, ...]]) -> tuple[Tensor, ...]:
        if (kind, side) not in self._cache:
            self._cache[kind, side] = make(side)
        return self._cache[kind, side]

    def _padded(self, side: int) -> tuple[Tensor, ...]:
        offsets = torch.arange(-1, side + 1, device=self.places.device)
        inside = offsets.clamp(0, side - 1)
        rows, columns = (self._slots.shape[0] - 2) * side, (self._slots.shape[1] - 2) * side
        y, x = (self.places[:, axis, None] * side + offsets for axis in (0, 1))
        y_own, x_own = (self.places[:, axis, None] * side + inside for axis in (0, 1))
        cells = self._cells(y.clamp(0, rows - 1)[:, :, None], x.clamp(0, columns - 1)[:, None, :], side)
        return (torch.where(cells < 0, self._cells(y_own[:, :, None], x_own[:, None, :], side), cells),)

    def _shifted(self, side: int) -> tuple[Tensor, ...]:
        corners = torch.unique(torch.cat([self.places + torch.tensor(step).to(self.places) for step in CORNERS]), dim=0)
        offsets = torch.arange(side, device=corners.device) - side // 2
        y, x = (corners[:, axis, None] * side + offsets for axis in (0, 1))
        there = self._cells(y[:, :, None], x[:, None, :], side)
        back = torch.empty(self.count * side * side, dtype=torch.long, device=corners.device)
        known = there >= 0
        back[there[known]] = known.flatten().nonzero()[:, 0]
        return there.masked_fill(~known, self.count * side * side), back.view(self.count, side, side)

    def _cells(self, y: Tensor, x: Tensor, side: int) -> Tensor:
        """Return the numbers of the cells at rows `y` and columns `x` of the whole grid, -1 where there is none."""
        slot = self._slots[y.div(side, rounding_mode="floor") + 1, x.div(side, rounding_mode="floor") + 1]
        return torch.where(slot < 0, -1, slot * side * side + y.remainder(side) * side + x.remainder(side))


CORNERS = ((0, 0), (0, 1), (1, 0), (1, 1))


def predict_windows(
    model: LightInpaintV1, pictures: Callable[[Tensor], tuple[Tensor, Tensor]], wide: WindowSet, near: WindowSet
) -> Tensor:
    """Return the prediction for the windows of `near`, float (count, 3, 64, 64), meant to be 0..1, not clamped.

    Args:
        model: the generator.
        pictures: places (n, 2) -> their pixels (n, 3, 64, 64), -1..1, and hidden cells bool (n, 1, 16, 16), as
            `LightInpaintV1.predict` takes them.
        wide: windows that the encoder computes.
        near: windows to predict, all in `wide`; the decoder computes only these.
    """
    side = WINDOW // PATCH

    def embed(part: slice) -> Tensor:
        pixels, hidden = pictures(wide.places[part])
        cells = model.patch(F.pixel_unshuffle(pixels, PATCH).contiguous(memory_format=torch.channels_last))
        return torch.where(hidden, model.mask_bias.to(cells.dtype), cells).permute(0, 2, 3, 1)

    def down(part: slice) -> Tensor:
        halved: Tensor = model.down(skip[part].permute(0, 3, 1, 2))
        return halved.permute(0, 2, 3, 1)

    def up(part: slice) -> Tensor:
        slots = from_wide[part]
        grown = F.pixel_shuffle(model.up(x[slots].permute(0, 3, 1, 2)), 2)
        return grown.permute(0, 2, 3, 1) + skip[slots]

    skip = run_block(model.enc1, chunked(embed, wide.count), wide)
    x = chunked(down, wide.count)
    for block in model.enc2:
        x = run_block(cast(GMLPBlock, block), x, wide)
    from_wide = wide.slots(near)
    x = run_block(model.dec1, chunked(up, near.count), near)
    flat, index = x.flatten(0, 2), near.padded(side)
    to_pixels = model.to_image[1]

    def image(part: slice) -> Tensor:
        return F.pixel_shuffle(to_pixels(flat[index[part]].permute(0, 3, 1, 2)), PATCH)

    return chunked(image, near.count)


def run_block(block: GMLPBlock, x: Tensor, windows: WindowSet) -> Tensor:
    """Return what `block` makes of the cells `x` (count, side, side, C) of `windows`."""
    side, channels = x.shape[1], x.shape[-1]
    gmlp = block.gmlp

    def mix(cells: Tensor) -> Tensor:
        tokens = cells.reshape(-1, side * side, channels).transpose(0, 1)
        mixed: Tensor = gmlp.gmlp(tokens, block.norm1, block.norm2)
        return mixed.transpose(0, 1).reshape(-1, side, side, channels)

    if gmlp.shifted:
        there, back = windows.shifted(side)
        source = torch.cat([x.flatten(0, 2), x.new_zeros(1, channels)])
        moved = chunked(lambda part: mix(source[there[part]]), len(there)).flatten(0, 2)
        x = x + moved[back]
    else:
        x = chunked(lambda part: x[part] + mix(x[part]), len(x))
    gated = chunked(
        lambda part: F.glu(block.glu_conv.w1(x[part].permute(0, 3, 1, 2)), dim=1).permute(0, 2, 3, 1), len(x)
    )
    flat, index = gated.flatten(0, 2), windows.padded(side)
    convolve = block.glu_conv.w2
    return chunked(lambda part: x[part] + convolve(flat[index[part]].permute(0, 3, 1, 2)).permute(0, 2, 3, 1), len(x))


def chunked(work: Callable[[slice], Tensor], count: int) -> Tensor:
    """Return ``work`` of 0..count, done in chunks of `CHUNK`."""
    return torch.cat([work(part) for part in chunks(count)])


def chunks(count: int) -> Iterator[slice]:
    """Cut 0..count into slices of `CHUNK`."""
    for first in range(0, count, CHUNK):
        yield slice(first, min(first + CHUNK, count))
