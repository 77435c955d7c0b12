"""The progress of a run, its division into steps, and the report at its end."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from pathlib import Path

import torch

from inpaintkit.config import TrainConfig
from inpaintkit.data import HardExampleSampler
from inpaintkit.seeds import Key, torch_rng
from inpaintkit.training.schedule import last_epoch

Row = dict[str, float | int | str]
"""A line of the loss CSV: epoch, split, and a figure per column."""


@dataclass(frozen=True)
class Plan:
    """Division of a run into steps; `samples_per_step` counts those of all processes together."""

    samples_per_step: int
    steps_per_epoch: int
    last_epoch: int
    backward_step: int

    @classmethod
    def of(cls, config: TrainConfig) -> Plan:
        together = config.batch_size * config.processes
        return cls(together, math.ceil(config.num_samples / together), last_epoch(config), config.backward_step)

    @property
    def total_steps(self) -> int:
        return self.steps_per_epoch * self.last_epoch

    @property
    def updates_per_epoch(self) -> int:
        return math.ceil(self.steps_per_epoch / self.backward_step)

    def updates(self, step: int) -> bool:
        """Return whether the weights are updated after `step` of an epoch (from 1)."""
        return step % self.backward_step == 0 or step == self.steps_per_epoch

    def summed(self, step: int) -> int:
        """Return how many steps' gradients are summed for the update that `step` of an epoch (from 1) belongs to.

        The last update of an epoch takes the steps that are left.
        """
        before = (step - 1) // self.backward_step * self.backward_step
        return min(self.backward_step, self.steps_per_epoch - before)


@dataclass(frozen=True)
class StepPlace:
    """Place of a step in a run, from which all its random numbers follow.

    `epoch` and `step` count from 1. `update` is the number of the optimiser step that takes this step's gradients, from
    1 over the whole run; it takes those of `summed` steps. `updates_done` is the number of updates that the reference
    would have done by then, which is the run's steps // `backward_step`.
    """

    seed: int
    epoch: int
    step: int
    update: int
    updates_done: int
    summed: int = 1

    def key(self, purpose: str) -> tuple[Key, ...]:
        """Return the key of a random generator for `purpose`."""
        return (self.seed, purpose, self.epoch, self.step - 1)


@dataclass
class Progress:
    """Progress of a run; with the states of task and sampler, all that a resumed run needs.

    `sums`, `counted` and `skipped` belong to the current epoch; steps whose loss was NaN or infinite are skipped.
    `skipped_updates` counts the updates of the whole run that were skipped for NaN or infinite gradients,
    `skipped_before` those of earlier epochs.
    """

    epoch: int = 1
    step: int = 0
    sums: dict[str, float] = field(default_factory=dict)
    counted: int = 0
    skipped: int = 0
    steps_done: int = 0
    best_score: float = math.inf
    best_epoch: int = 0
    history: list[Row] = field(default_factory=list)
    skipped_updates: int = 0
    skipped_before: int = 0

    def check(self) -> None:
        """Raise `ValueError` if a field has the wrong type, or a count is negative: they may come from a file."""
        kinds = {"sums": dict, "history": list, "best_score": int | float}
        for name, value in vars(self).items():
            negative = name != "best_score" and isinstance(value, int) and value < 0
            if not isinstance(value, kinds.get(name, int)) or negative:
                raise ValueError(f"its {name} is {value!r}")

    def means(self) -> dict[str, float]:
        """Return the running mean of each loss term in this epoch; empty before the first step is counted."""
        return {name: value / self.counted for name, value in self.sums.items()}

    def add(self, terms: dict[str, float], samples: int) -> bool:
        """Add the loss terms of a step with `samples` samples; return False if it is skipped, as one isn't finite."""
        if not all(math.isfinite(value) for value in terms.values()):
            self.skipped += 1
            return False
        for name, value in terms.items():
            self.sums[name] = self.sums.get(name, 0.0) + value * samples
        self.counted += samples
        return True

    def next_step(self, seed: int, plan: Plan) -> StepPlace:
        """Return the place of the next step."""
        step = self.step + 1
        steps_of_run = (self.epoch - 1) * plan.steps_per_epoch + step
        update = (self.epoch - 1) * plan.updates_per_epoch + self.step // plan.backward_step + 1
        return StepPlace(seed, self.epoch, step, update, steps_of_run // plan.backward_step, plan.summed(step))

    @property
    def updates_skipped_now(self) -> int:
        return self.skipped_updates - self.skipped_before

    def start_epoch(self, epoch: int) -> None:
        """Reset the running means and begin `epoch`."""
        self.epoch = epoch
        self.step = 0
        self.sums = {}
        self.counted = 0
        self.skipped = 0
        self.skipped_before = self.skipped_updates


def epoch_items(
    config: TrainConfig, epoch: int, processes: int, sampler: HardExampleSampler
) -> list[tuple[int, int, int]]:
    """Return (record, epoch, draw) of each sample of `epoch`, equally many for each of the `processes`.

    Records are drawn with replacement, hard ones more often unless `disable_hard_example` is set.
    """
    count = math.ceil(config.num_samples / processes) * processes
    rng = torch_rng(config.seed, "order", epoch)
    evenly = config.disable_hard_example
    records = torch.randint(sampler.num_records, (count,), generator=rng) if evenly else sampler.draw(count, rng)
    return [(int(record), epoch, number) for number, record in enumerate(records)]


@dataclass(frozen=True)
class TrainReport:
    """Result of a run.

    `finished` is False if the run was stopped before its last step; the same call continues it. `improved`: whether an
    epoch beat the start, so that `model_file` isn't the model that the run began with. `skipped_updates`: updates
    skipped for NaN or infinite gradients.
    """

    model_file: Path
    best_epoch: int
    best_score: float
    epochs: int
    steps: int
    seconds: float
    finished: bool
    skipped_updates: int
    history: tuple[Row, ...]

    @property
    def improved(self) -> bool:
        start = self.rows("eval")[0]
        return self.best_score < float(start.get("score", start["total"]))

    def rows(self, split: str) -> list[Row]:
        """Return the history of ``train`` or ``eval``."""
        return [row for row in self.history if row["split"] == split]

    def closing_words(self) -> str:
        """Return a sentence that says which model was kept."""
        if self.improved:
            return f"best model: epoch {self.best_epoch}, in {self.model_file}"
        if math.isinf(self.best_score):  # in fine-tuning, where the start is never picked
            return f"no epoch has been evaluated yet: {self.model_file} holds the weights at this stop"
        if self.best_epoch:
            return f"no epoch beat the start by its score: {self.model_file} holds epoch {self.best_epoch}, the best after it"
        yet = "" if self.finished else " yet"  # the weights at the stop, evaluated for the report only, may have
        return f"no epoch beat the start{yet}: {self.model_file} holds the model that this run started from"

    def summary(self) -> dict[str, float | int | str]:
        """Return the run's figures as a flat dict, ready to record; "after" refers to what `model_file` holds."""
        evaluated = self.rows("eval")
        first, best = evaluated[0], evaluated[-1]
        if not math.isinf(self.best_score):
            best = next(row for row in evaluated if row["epoch"] == self.best_epoch)
        return {
            "epochs": self.epochs,
            "steps": self.steps,
            "finished": self.finished,
            "seconds": round(self.seconds, 1),
            "best_epoch": self.best_epoch,
            "improved": self.improved,
            "eval_loss_before": first["total"],
            "eval_loss_after": best["total"],
            "hole_psnr_before": first["hole_psnr"],
            "hole_psnr_after": best["hole_psnr"],
            "hole_psnr_row_fill": best.get("hole_psnr_row_fill", math.nan),
            "model_file": str(self.model_file),
        }
