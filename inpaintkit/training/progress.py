"""Where a run stands, what it has lost so far, and what it reports in the end."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from pathlib import Path

import torch
from torch import Tensor

from inpaintkit.training.distributed import Group

Row = dict[str, float | int | str]


@dataclass
class Progress:
    """Where a run stands; together with weights and optimisers all that a resume needs."""

    epoch: int = 1
    step: int = 0
    sums: dict[str, float] = field(default_factory=dict)
    counted: int = 0
    skipped: int = 0
    steps_done: int = 0
    best_score: float = math.inf
    best_epoch: int = 0
    history: list[Row] = field(default_factory=list)

    def means(self) -> dict[str, float]:
        """Return the running mean of each loss term in this epoch."""
        return {name: value / max(self.counted, 1) for name, value in self.sums.items()}

    def add(self, losses: StepLosses) -> None:
        """Count a step; one whose loss isn't finite counts as skipped."""
        if not all(math.isfinite(value) for value in losses.terms.values()):
            self.skipped += 1
            return
        for name, value in losses.terms.items():
            self.sums[name] = self.sums.get(name, 0.0) + value * len(losses.records)
        self.counted += len(losses.records)

    def start_epoch(self, epoch: int) -> None:
        """Forget the running means and begin `epoch`."""
        self.epoch, self.step, self.sums, self.counted, self.skipped = epoch, 0, {}, 0, 0


@dataclass(frozen=True)
class StepLosses:
    """One mini-batch of one process: its records, the loss of each, and the named terms of the loss."""

    records: list[int]
    losses: list[float]
    terms: dict[str, float]


class LossLog:
    """Losses that wait on the device until somebody wants to read them: reading each at once would stall a GPU."""

    def __init__(self) -> None:
        self._waiting: list[tuple[Tensor, Tensor, dict[str, Tensor]]] = []

    def add(self, records: Tensor, losses: Tensor, terms: dict[str, Tensor]) -> None:
        """Note a mini-batch: record numbers (B,), their losses (B,) and scalar terms."""
        self._waiting.append((records, losses.detach(), {name: term.detach() for name, term in terms.items()}))

    def take(self, group: Group) -> list[StepLosses]:
        """Return what came in since the last call, of all processes, ordered by step, then by process."""
        mine = [
            StepLosses(
                records.tolist(),
                losses.double().tolist(),
                dict(zip(terms, torch.stack([t.double().cpu() for t in terms.values()]).tolist(), strict=True)),
            )
            for records, losses, terms in self._waiting
        ]
        self._waiting.clear()
        return [losses for step in zip(*group.gather(mine), strict=True) for losses in step]


@dataclass(frozen=True)
class TrainReport:
    """What a run did: ``finished`` is False when it stopped at `max_seconds` (continue with ``resume``)."""

    model_file: Path
    best_epoch: int
    best_score: float
    epochs: int
    steps: int
    seconds: float
    finished: bool
    history: tuple[Row, ...]

    def rows(self, split: str) -> list[Row]:
        """Return the history of ``train`` or ``eval``."""
        return [row for row in self.history if row["split"] == split]

    def summary(self) -> dict[str, float | int | str]:
        """Return the run's figures, flat, ready to record."""
        first, last = self.rows("eval")[0], self.rows("eval")[-1]
        return {
            "epochs": self.epochs,
            "steps": self.steps,
            "finished": int(self.finished),
            "seconds": round(self.seconds, 1),
            "best_epoch": self.best_epoch,
            "eval_loss_before": first["total"],
            "eval_loss_after": last["total"],
            "hole_psnr_before": first["hole_psnr"],
            "hole_psnr_after": last["hole_psnr"],
            "hole_psnr_row_fill": last.get("hole_psnr_row_fill", math.nan),
            "model_file": str(self.model_file),
        }
