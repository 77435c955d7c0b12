"""Losses that stay on the device until they are read together: reading each one at once would stall a GPU."""

import itertools
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from inpaintkit.training.distributed import Group


@dataclass(frozen=True)
class BatchLosses:
    """The losses of a mini-batch on the device: scalar `terms` by name, and the loss of each sample (B,)."""

    terms: dict[str, Tensor]
    per_sample: Tensor


@dataclass(frozen=True)
class StepLosses:
    """The losses of one process's mini-batch as numbers: its records, the loss of each, and the named terms."""

    records: list[int]
    losses: list[float]
    terms: dict[str, float]


class LossLog:
    """Log of `BatchLosses`, read from the device only when they are taken out."""

    def __init__(self) -> None:
        self._waiting: list[tuple[Tensor, BatchLosses]] = []

    def add(self, records: Tensor, losses: BatchLosses) -> None:
        """Add a mini-batch's losses with its record numbers (B,), which lie on the CPU."""
        self._waiting.append((records, losses))

    def take(self, group: Group) -> list[StepLosses]:
        """Return the losses added in all processes since the last call, ordered by step, then by process."""
        mine = _read(self._waiting)
        self._waiting.clear()
        return [losses for step in zip(*group.gather(mine), strict=True) for losses in step]


def _read(waiting: Sequence[tuple[Tensor, BatchLosses]]) -> list[StepLosses]:
    """Read the losses of several mini-batches from the device in one transfer."""
    if not waiting:
        return []
    flat = [value.float().reshape(-1) for _, losses in waiting for value in (losses.per_sample, *losses.terms.values())]
    read = iter(torch.cat(flat).tolist())
    found = []
    for records, losses in waiting:
        per_sample = list(itertools.islice(read, len(losses.per_sample)))
        found.append(StepLosses(records.tolist(), per_sample, {name: next(read) for name in losses.terms}))
    return found
