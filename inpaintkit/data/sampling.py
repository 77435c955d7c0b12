"""Choose the records to train on, hard ones more often, and the crop of each, by its hole."""

import itertools
import math
from collections.abc import Sequence
from typing import Any

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

HISTORY = 4
SCALE = 4.0
Z_LIMIT = 2.0
# The standard deviation of fewer losses means nothing.
MIN_SEEN = 4
CROP_TRIES = 4
GRID_STEP = 64

Mask = NDArray[np.bool_]
Corner = tuple[int, int]
"""(top, left) of a crop, px."""


class HardExampleSampler:
    """A sampler that draws records with replacement, those with a large recent loss up to `SCALE` times as often.

    A record's loss is the mean of its last `HISTORY` losses. Its z-score among all records seen so far is clamped to ±2
    and mapped linearly to a weight of at most 1; records not yet seen have weight 1. Weights change only in
    `update_weights`, once per epoch.
    """

    def __init__(self, num_records: int) -> None:
        self.num_records = num_records
        self.weights = torch.ones(num_records, dtype=torch.float64)
        self._history = torch.zeros(num_records, HISTORY, dtype=torch.float64)
        self._count = torch.zeros(num_records, dtype=torch.int64)

    def record(self, records: Sequence[int], losses: Sequence[float]) -> None:
        """Store the losses of a step by record number (may repeat); losses that aren't finite are ignored."""
        for record, loss in zip(records, losses, strict=True):
            if math.isfinite(loss):
                self._history[record, self._count[record] % HISTORY] = loss
                self._count[record] += 1

    def mean_losses(self) -> Tensor:
        """Return the mean recent loss per record, (num_records,); inf for records not yet seen."""
        # Unused slots of the history hold 0.
        means = self._history.sum(dim=1) / self._count.clamp(1, HISTORY)
        return torch.where(self._count > 0, means, torch.inf)

    def update_weights(self) -> None:
        """Recompute the weights from the losses stored so far; nothing changes while fewer than 4 records were seen."""
        means = self.mean_losses()
        seen = self._count > 0
        if int(seen.sum()) < MIN_SEEN:
            return
        deviation, centre = torch.std_mean(means[seen])
        # Rounding leaves a tiny deviation even between equal losses.
        negligible = deviation <= centre.abs() * 1e-9
        z = torch.zeros_like(means) if negligible else ((means - centre) / deviation).clamp(-Z_LIMIT, Z_LIMIT)
        self.weights = torch.where(seen, ((1 + Z_LIMIT + z) / SCALE).clamp(max=1.0), 1.0)

    def draw(self, count: int, rng: torch.Generator) -> Tensor:
        """Return `count` record numbers, (count,) int64, drawn with replacement."""
        return torch.multinomial(self.weights, count, replacement=True, generator=rng)

    def state_dict(self) -> dict[str, Tensor]:
        return {"weights": self.weights.clone(), "history": self._history.clone(), "count": self._count.clone()}

    def load_state_dict(self, state: dict[str, Any], places: Sequence[int] | None = None) -> None:
        """Restore a `state_dict`.

        `places`: the present numbers of its records, if others were added since then; None: the records are the same.
        """
        where = slice(None) if places is None else torch.tensor(places, dtype=torch.int64)
        self.weights = torch.ones(self.num_records, dtype=torch.float64)
        self.weights[where] = state["weights"]
        self._history[where] = state["history"]
        self._count[where] = state["count"]


def crop_candidates(
    height: int, width: int, size: int, rng: np.random.Generator, tries: int = CROP_TRIES
) -> list[Corner]:
    """Draw the corners of `tries` random crops of `size` px from a picture of `height` x `width` px."""
    tops = rng.integers(0, height - size, size=tries, endpoint=True)
    lefts = rng.integers(0, width - size, size=tries, endpoint=True)
    return list(zip(tops.tolist(), lefts.tolist(), strict=True))


def best_crop(hole: Mask, corners: Sequence[Corner], size: int) -> Corner:
    """Return the first of `corners` whose crop has the largest standard deviation of the hole mask.

    This is the crop whose hole is closest to half of its area: with real records, the one with the largest hole.
    `hole` is (H, W) bool, True = missing; `size` in px.
    """
    areas = hole_areas(hole, corners, size)
    return corners[int(np.argmax(areas * (size**2 - areas)))]


def largest_hole(hole: Mask, corners: Sequence[Corner], size: int) -> Corner:
    """Return the first of `corners` whose crop has the largest hole. Arguments as in `best_crop`."""
    return corners[int(hole_areas(hole, corners, size).argmax())]


def grid_crop(hole: Mask, size: int) -> Corner:
    """Return the corner on a grid of `GRID_STEP` px whose crop has the largest hole: not random, for evaluation.

    Arguments as in `best_crop`.
    """
    height, width = hole.shape
    grid = itertools.product(range(0, height - size + 1, GRID_STEP), range(0, width - size + 1, GRID_STEP))
    return largest_hole(hole, list(grid), size)


def hole_areas(hole: Mask, corners: Sequence[Corner], size: int) -> NDArray[np.int64]:
    """Return the area of the hole in each crop, px. Arguments as in `best_crop`."""
    missing = hole.view(np.uint8)  # counting a few crops is faster than an integral image
    return np.array([cv2.countNonZero(missing[top : top + size, left : left + size]) for top, left in corners])
