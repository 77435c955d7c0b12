"""Keep all records in a device's memory, and cut and augment samples there: no pictures are copied during training."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from inpaintkit.data.batch_colours import change_colours, to_device
from inpaintkit.data.dataset import InpaintDataset
from inpaintkit.data.hole_changes import MARGIN, border_columns, grow_holes, thin_holes
from inpaintkit.data.mixed_border import mix_borders
from inpaintkit.data.packed import CHANNELS
from inpaintkit.errors import InputError

Batch = tuple[Tensor, Tensor, Tensor, Tensor]
"""Pictures x (B, 3, S, S) 0..1, holes (B, 1, S, S) True = missing, targets y (x without their margin), and record
numbers (B,), which are on the CPU."""


def resident_bytes(records: InpaintDataset) -> int:
    """Return the device memory that the records need, in bytes."""
    return sum(CHANNELS * height * width for height, width in records.shapes)


class ResidentRecords:
    """All training records in the memory of `device`; `batch` returns the samples of `InpaintDataset`, bit for bit.

    On MPS, see `batch_colours`. Raises `InputError` when the records differ in size.
    """

    def __init__(self, records: InpaintDataset, device: torch.device | str) -> None:
        shapes = set(records.shapes)
        if len(shapes) > 1:
            raise InputError(
                f"resident: the records of {records.folder} differ in size; use resident=off or records of one size"
            )
        self.height, self.width = shapes.pop()
        self.records = records
        self.crop_size = records.crop_size
        self.pixels = torch.empty(len(records), CHANNELS, self.height, self.width, dtype=torch.uint8, device=device)
        for index in range(len(records)):
            self.pixels[index] = torch.tensor(records.pixels(index))

    def batch(self, items: Sequence[tuple[int, int, int]]) -> Batch:
        """Return the samples of `items` (record, epoch, draw) as a batch on the device."""
        draws = [self.records.draw((self.height, self.width), epoch, number) for _, epoch, number in items]
        right, left, width, pick, inset = self._to_device(
            [(draw.right, draw.left, draw.width, draw.pick, draw.inset) for draw in draws]
        ).T
        places = self._to_device([draw.crops for draw in draws])
        numbers = [record for record, _, _ in items]
        record = self._to_device(numbers)
        holes = grow_holes(self.pixels[record, 3] > 0, left=left, right=right)
        if self.records.chances.thin_hole:
            holes = thin_holes(holes, width)
        corner = best_corners(holes, places, self.crop_size)
        pictures, hole = self._cut(record, holes, corner, pick, inset)
        pictures = change_colours(pictures, [draw.colours for draw in draws])
        x = pictures * (1 / 255)
        y = x[:, :, MARGIN:-MARGIN, MARGIN:-MARGIN].contiguous()
        if self.records.chances.mixed_border:
            mix_borders(x, hole[:, 0], self._to_device(np.stack([draw.shares for draw in draws])))
        return x, hole, y, torch.tensor(numbers)

    def _to_device(self, values: Sequence[object] | NDArray[np.float32]) -> Tensor:
        return to_device(values, self.pixels.device)

    def _cut(self, record: Tensor, holes: Tensor, corner: Tensor, pick: Tensor, inset: Tensor) -> tuple[Tensor, Tensor]:
        steps = torch.arange(self.crop_size, device=holes.device)
        rows, columns = (corner[:, axis, None] + steps for axis in (0, 1))
        batch = torch.arange(len(record), device=holes.device)
        if self.records.chances.border_hole:
            crops = holes[batch[:, None, None], rows[:, :, None], columns[:, None, :]]
            columns = border_columns(crops, corner[:, 1], self.width, pick, inset)
        window = (rows[:, None, :, None], columns[:, None, None, :])
        channels = torch.arange(3, device=holes.device)[None, :, None, None]
        pictures = self.pixels[(record[:, None, None, None], channels, *window)]
        return pictures, holes[(batch[:, None, None, None], *window)]


def best_corners(holes: Tensor, places: Tensor, size: int) -> Tensor:
    """Return for each of `holes` (B, H, W) the (top, left) of `places` (B, tries, 2) that `best_crop` takes; (B, 2)."""
    integral = F.pad(holes.to(torch.int32).cumsum(dim=1).cumsum(dim=2), (1, 0, 1, 0))
    batch = torch.arange(len(holes), device=holes.device)[:, None]
    top, left = places[..., 0], places[..., 1]
    bottom, right = top + size, left + size
    area = integral[batch, bottom, right] - integral[batch, top, right]
    area = area - integral[batch, bottom, left] + integral[batch, top, left]
    best = (area.long() * (size**2 - area)).argmax(dim=1)
    return places[batch[:, 0], best]
