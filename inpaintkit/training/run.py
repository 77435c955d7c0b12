"""A run: its folder and files, its progress, its loss CSV, and its callbacks.

It doesn't know the training loop, and of networks only how to save one.
"""

import contextlib
import dataclasses
import signal
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import NoReturn

from inpaintkit.config import TrainConfig, resolve_device
from inpaintkit.data import HardExampleSampler
from inpaintkit.errors import RunFailed
from inpaintkit.files import atomic_write_csv
from inpaintkit.model import LightInpaintV1, save_model
from inpaintkit.text import count_of
from inpaintkit.training.callbacks import Callback, StepInfo
from inpaintkit.training.distributed import Group
from inpaintkit.training.loss_log import LossLog
from inpaintkit.training.progress import Plan, Progress, Row
from inpaintkit.training.stopping import StopRequest, Timer

MAX_SKIPPED = 100
"""Number of skipped steps (NaN or infinite loss), or skipped updates (such gradients), in an epoch that ends a run."""

EXCHANGE_EVERY = 16
"""Steps between two readings of the losses where reading is slow: on a GPU, or with several processes."""


class RunFiles:
    """The files of a run in its `folder`.

    `model`: the best model, in iw3's format; `state`: the full training state; `csv`: one row per epoch and split, a
    column per figure; `strips`: folder of evaluation pictures; `start`: the generator that fine-tuning started from.
    """

    def __init__(self, folder: Path) -> None:
        name = LightInpaintV1.name
        self.folder = folder
        self.strips = folder / "eval"
        self.model, self.state = folder / f"{name}.pth", folder / f"{name}.checkpoint.pth"
        self.csv = folder / f"loss_{name}.csv"
        self.start = folder / "start" / self.model.name

    def of_epoch(self, epoch: int) -> Path:
        """Return the file of the weights after `epoch`, for runs that keep those of each epoch."""
        return self.folder / "epoch" / str(epoch) / self.model.name


class Run:
    """A run with its files, progress, clocks and callbacks; the callbacks see it as a `RunView`."""

    def __init__(self, config: TrainConfig, group: Group, callbacks: Sequence[Callback]) -> None:
        self.config, self.group, self.callbacks = config, group, callbacks
        self.sampler: HardExampleSampler | None = None  # draws the records, if this process trains
        self.files = RunFiles(Path(config.model_dir))
        self.folder, self.csv_file = self.files.folder, self.files.csv
        self.reads_at_once = group.size == 1 and resolve_device(config.device) == "cpu"
        self.plan = Plan.of(config)
        self.total_steps = self.plan.total_steps
        self.progress = Progress()
        self.losses = LossLog()
        self.at_stop: tuple[Row, ...] = ()  # evaluated within an epoch: reported, but not part of the resumed run
        self.timer = Timer(config.max_seconds, config.checkpoint_seconds)
        self.stop = StopRequest()

    @property
    def steps_done(self) -> int:
        return self.progress.steps_done

    def call_hooks(self, hook: str, *details: object) -> None:
        """Call `hook` of every callback."""
        for callback in self.callbacks:
            getattr(callback, hook)(self, *details)

    def say(self, message: str) -> None:
        self.call_hooks("on_message", message)

    @contextlib.contextmanager
    def under_way(self, messages: Sequence[str]) -> Iterator[None]:
        """Start the clocks; report the start of the run, `messages`, and after the context its end."""
        self.timer.start()
        try:
            self.call_hooks("on_start")
            for message in messages:
                self.say(message)
            yield
        finally:
            self.call_hooks("on_end")

    def step_done(self) -> None:
        """Count a step and report it; read the losses, less often where reading is slow."""
        progress, plan = self.progress, self.plan
        progress.step += 1
        progress.steps_done += 1
        if self.reads_at_once or progress.step % EXCHANGE_EVERY == 0:
            self.take_losses()
        self.call_hooks("on_step", StepInfo(progress.epoch, progress.step, plan.steps_per_epoch, progress.means()))

    def take_losses(self) -> None:
        """Read the logged losses into the running means and the sampler.

        Raises `RunFailed` if too many steps were skipped.
        """
        for step in self.losses.take(self.group):
            if self.progress.add(step.terms, len(step.records)) and self.sampler is not None:
                self.sampler.record(step.records, step.losses)
        self.check_skipped()

    def check_skipped(self, epoch_over: bool = False) -> None:
        """Give up if too many steps were skipped for a NaN or infinite loss, or too many updates for such gradients."""
        progress, most = self.progress, MAX_SKIPPED * self.group.size  # each process counts its part of a step
        updates = progress.updates_skipped_now
        here = f"of epoch {progress.epoch}"
        loss, gradients = "the loss was NaN or infinite in", "gradients were NaN or infinite in"
        for reason, applies in (
            (f"{loss} {MAX_SKIPPED} steps {here}", progress.skipped >= most),
            (f"{gradients} {updates} optimiser steps {here}", updates >= MAX_SKIPPED),
            (f"{loss} every step {here}", epoch_over and not progress.counted),
            (f"{gradients} every optimiser step {here}", epoch_over and updates >= self.plan.updates_per_epoch),
        ):
            if applies:
                self.give_up(reason)

    def close_epoch(self, rates: Mapping[str, float], skipped: int) -> None:
        """Add the epoch's row with the `rates`; `skipped` counts the optimiser steps skipped so far in the run.

        Raises `RunFailed` if too many steps or updates of the epoch were skipped, or all.
        """
        progress = self.progress
        progress.skipped_updates = skipped
        self.take_losses()
        self.check_skipped(epoch_over=True)
        if now := progress.updates_skipped_now:
            steps = f"{count_of(now, 'optimiser step')} of epoch {progress.epoch}"
            self.say(f"gradients were NaN or infinite in {steps}; skipped")
        self.add_row({"epoch": progress.epoch, "split": "train", **progress.means(), **rates})

    def give_up(self, reason: str) -> NoReturn:
        """Raise `RunFailed` with `reason` and advice on what to do."""
        best = f"; the best model so far is in {self.files.model}" if self.files.model.exists() else ""
        raise RunFailed(
            f"{reason}: the training has diverged; lower learning_rate (now {self.config.learning_rate:g}) or set amp=off, "
            f"and start in another model_dir or with overwrite=True{best}"
        )

    def add_row(self, row: Row, over: bool = True) -> None:
        """Add a row to history and CSV, and report it.

        The row of an epoch that isn't `over` stays out of the history, and the next row replaces it in the CSV.
        """
        if over:
            self.progress.history = [*self.progress.history, row]
        self.at_stop = () if over else (row,)
        if self.group.leads:
            atomic_write_csv(self.files.csv, _with_header([*self.progress.history, *self.at_stop]))
        self.call_hooks("on_row", row)

    def save_model(self, model: LightInpaintV1, path: Path, epoch: int) -> None:
        """Write `model` in iw3's format, with the epoch, options and number of records it was made with."""
        if self.group.leads:
            records = None if self.sampler is None else self.sampler.num_records
            save_model(model, path, epoch=epoch, config=dataclasses.asdict(self.config), records=records)

    def agree_on_stop(self) -> tuple[bool, bool]:
        """Return whether to stop (the time is up, or a user asked) and whether to save, alike in all processes.

        Clock and button of the first process decide for all; a signal counts whichever process received it.
        """
        every = self.group.gather((self.stop.signal, self.stop.asked, self.timer.time_up, self.timer.save_due))
        self.stop.signal = next((number for number, *_ in every if number is not None), None)
        _, asked, time_up, save_due = every[0]
        if asked:
            self.stop.asked = True
        return asked or time_up, save_due

    def obey_signal(self) -> None:
        """After a stop signal, raise `KeyboardInterrupt` that says where the run was saved."""
        if self.stop.signal is not None:
            progress = self.progress
            raise KeyboardInterrupt(
                f"stopped by {signal.Signals(self.stop.signal).name} at epoch {progress.epoch}, step {progress.step}, "
                f"saved in {self.files.state}; run the same again to continue"
            )


def _with_header(rows: Sequence[Row]) -> list[Iterable[object]]:
    """Return the lines of a CSV file of `rows`, the names of all columns first; columns that a row lacks stay empty."""
    names = dict.fromkeys(name for row in rows for name in row)
    return [names, *(map(row.get, names) for row in rows)]
