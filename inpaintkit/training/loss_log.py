"""Losses that wait on the device until somebody wants to read them: reading each at once would stall a GPU."""

from __future__ import annotations

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
    """The losses of a mini-batch of one process, read: its records, the loss of each, and the named terms."""

    records: list[int]
    losses: list[float]
    terms: dict[str, float]


class LossLog:
    """Collects `BatchLosses` and hands them out read."""

    def __init__(self) -> None:
        self._waiting: list[tuple[Tensor, BatchLosses]] = []

    def add(self, records: Tensor, losses: BatchLosses) -> None:
        """Note a mini-batch with its record numbers (B,)."""
        self._waiting.append((records, losses))

    def take(self, group: Group) -> list[StepLosses]:
        """Return what came in since the last call, of all processes, ordered by step, then by process."""
        if not self._waiting and group.size == 1:
            return []
        mine = [_read(records, losses) for records, losses in self._waiting]
        self._waiting.clear()
        return [losses for step in zip(*group.gather(mine), strict=True) for losses in step]


def _read(records: Tensor, losses: BatchLosses) -> StepLosses:
    """Read everything of a mini-batch in one transfer."""
    values = torch.cat([losses.per_sample.double(), *(term.double().reshape(1) for term in losses.terms.values())])
    read = values.tolist()
    count = len(losses.per_sample)
    return StepLosses(records.tolist(), read[:count], dict(zip(losses.terms, read[count:], strict=True)))
