"""A run: its folder and files, how far it is, its loss CSV, and who is told of it. It knows no networks and no loop."""

import csv
import dataclasses
import io
import signal
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NoReturn

from inpaintkit.config import TrainConfig, resolve_device
from inpaintkit.data import HardExampleSampler
from inpaintkit.errors import RunFailed
from inpaintkit.files import atomic_write_text
from inpaintkit.model import LightInpaintV1, save_model
from inpaintkit.training.callbacks import Callback, StepInfo
from inpaintkit.training.distributed import Group
from inpaintkit.training.loss_log import LossLog
from inpaintkit.training.progress import Plan, Progress, Row
from inpaintkit.training.stopping import StopRequest, Timer

MAX_SKIPPED = 100
"""So many skipped steps of an epoch, or in a row, end a run: with a NaN or infinite loss, or with such gradients."""

EXCHANGE_EVERY = 16
"""Steps between two readings of the losses where reading costs time: on a GPU, or with several processes."""


@dataclass(frozen=True)
class RunFiles:
    """Where a run keeps what in its `folder`."""

    folder: Path

    @property
    def model(self) -> Path:
        """The best model, in iw3's format."""
        return self.folder / f"{LightInpaintV1.name}.pth"

    @property
    def state(self) -> Path:
        """The full training state."""
        return self.folder / f"{LightInpaintV1.name}.checkpoint.pth"

    @property
    def csv(self) -> Path:
        """One row per epoch and split, a column per figure."""
        return self.folder / f"loss_{LightInpaintV1.name}.csv"

    @property
    def strips(self) -> Path:
        """Folder of evaluation pictures."""
        return self.folder / "eval"

    @property
    def start(self) -> Path:
        """The generator that fine-tuning started from."""
        return self.folder / "start" / self.model.name

    def of_epoch(self, epoch: int) -> Path:
        """The weights after `epoch`, where each epoch's are kept."""
        return self.folder / "epoch" / str(epoch) / self.model.name


class Run:
    """A run in `files`; callbacks see it as a `RunView`."""

    def __init__(self, config: TrainConfig, group: Group, callbacks: Sequence[Callback]) -> None:
        """Take the options, who trains (`group`) and who is told (`callbacks`)."""
        self.config, self.group, self.callbacks = config, group, callbacks
        self.sampler: HardExampleSampler | None = None  # what draws the records here, if anything
        self.files = RunFiles(Path(config.model_dir))
        self.reads_at_once = group.size == 1 and resolve_device(config.device) == "cpu"
        self.plan = Plan.of(config, group.size)
        self.progress, self.losses = Progress(), LossLog()
        self.judged: Mapping[int, Mapping[str, float]] = {}
        self.timer, self.stop = Timer(config.max_seconds, config.checkpoint_seconds), StopRequest()

    @property
    def folder(self) -> Path:
        return self.files.folder

    @property
    def csv_file(self) -> Path:
        return self.files.csv

    @property
    def total_steps(self) -> int:
        return self.plan.total_steps

    @property
    def steps_done(self) -> int:
        return self.progress.steps_done

    def tell(self, hook: str, *details: object) -> None:
        """Call `hook` of every callback."""
        for callback in self.callbacks:
            getattr(callback, hook)(self, *details)

    def say(self, message: str) -> None:
        """Tell a sentence."""
        self.tell("on_message", message)

    def step_done(self) -> None:
        """Count a step and tell it; read its losses where that costs nothing."""
        progress, plan = self.progress, self.plan
        progress.step += 1
        progress.steps_done += 1
        if self.reads_at_once or progress.step % EXCHANGE_EVERY == 0:
            self.take_losses()
        self.tell("on_step", StepInfo(progress.epoch, progress.step, plan.steps_per_epoch, progress.means()))

    def take_losses(self) -> None:
        """Let what was logged count: in the running means and for the sampler. Raises `RunFailed` when too much was skipped."""
        progress = self.progress
        for step in self.losses.take(self.group):
            if progress.add(step.terms, len(step.records)) and self.sampler is not None:
                self.sampler.record(step.records, step.losses)
        processes = self.group.size  # each tells its part of a step
        if progress.skipped >= MAX_SKIPPED * processes:
            self.give_up(f"the loss was NaN or infinite in {MAX_SKIPPED} steps of epoch {progress.epoch}")
        if progress.skipped_in_row >= MAX_SKIPPED * processes:
            self.give_up(f"the loss was NaN or infinite in {MAX_SKIPPED} steps in a row")

    def count_skipped_updates(self, skipped: int) -> int:
        """Take in how many optimiser steps were skipped so far in the run; return how many of this epoch."""
        progress = self.progress
        progress.skipped_updates = skipped
        now = skipped - progress.skipped_before
        if now >= MAX_SKIPPED:
            self.give_up(f"gradients were NaN or infinite in {now} optimiser steps of epoch {progress.epoch}")
        return now

    def close_epoch(self, rates: Mapping[str, float], skipped: int) -> None:
        """Write the epoch's row; `skipped`: optimiser steps skipped so far in the run. Raises `RunFailed` if nothing was learnt."""
        progress = self.progress
        self.take_losses()
        now = self.count_skipped_updates(skipped)
        if not progress.counted:
            self.give_up(f"the loss was NaN or infinite in every step of epoch {progress.epoch}")
        if now >= self.plan.updates_per_epoch:
            self.give_up(f"gradients were NaN or infinite in every optimiser step of epoch {progress.epoch}")
        if now:
            steps = f"{now} optimiser step{'s' if now > 1 else ''} of epoch {progress.epoch}"
            self.say(f"gradients were NaN or infinite in {steps}; skipped")
        self.add_row({"epoch": progress.epoch, "split": "train", **progress.means(), **rates})

    def give_up(self, reason: str) -> NoReturn:
        """End the run with `reason` and what to do."""
        best = f"; the best model so far is in {self.files.model}" if self.files.model.exists() else ""
        raise RunFailed(
            f"{reason}: the training has diverged; lower learning_rate (now {self.config.learning_rate:g}) or set amp=off, "
            f"and start in another model_dir or with overwrite=True{best}"
        )

    def add_row(self, row: Row) -> None:
        """Add a row to history and CSV, and tell it. One of the same epoch, judged in its midst, goes."""
        place = row["epoch"], row["split"]
        others = [one for one in self.progress.history if (one["epoch"], one["split"]) != place]
        self.progress.history = [*others, row]
        self.write_csv()
        self.tell("on_row", row)

    def save_model(self, model: LightInpaintV1, path: Path, epoch: int) -> None:
        """Write `model` in iw3's format, with how it came to be."""
        if self.group.leads:
            records = None if self.sampler is None else self.sampler.num_records
            save_model(model, path, epoch=epoch, config=dataclasses.asdict(self.config), records=records)

    def write_csv(self) -> None:
        """Write the loss CSV from the history."""
        if not self.group.leads:
            return
        names = list(dict.fromkeys(name for row in self.progress.history for name in row))
        text = io.StringIO()
        writer = csv.DictWriter(text, names, lineterminator="\n")
        writer.writeheader()
        writer.writerows(self.progress.history)
        atomic_write_text(self.files.csv, text.getvalue())

    def agree_on_stop(self, *said: Any) -> Any:
        """Exchange stop requests between the processes; return what the first one `said` besides."""
        every = self.group.gather((self.stop.signal, *said))
        self.stop.signal = next((one[0] for one in every if one[0] is not None), None)
        return every[0][1:]

    def obey_stop(self) -> None:
        """Raise `KeyboardInterrupt`, with where the run was saved, if a stop was asked for."""
        if self.stop.signal is not None:
            progress = self.progress
            raise KeyboardInterrupt(
                f"stopped by {signal.Signals(self.stop.signal).name} at epoch {progress.epoch}, step {progress.step}, "
                f"saved in {self.files.state}; the same again goes on there"
            )
