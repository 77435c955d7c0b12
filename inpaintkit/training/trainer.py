"""The trainers: `Trainer` for the plain recipe, `GanTrainer` for fine-tuning."""

import contextlib
import dataclasses
from collections.abc import Sequence
from functools import cached_property, partial
from pathlib import Path

import torch
from torch import Tensor

from inpaintkit.config import GanConfig, TrainConfig, check_processes, enough_memory, resolve_device
from inpaintkit.data import InpaintDataset
from inpaintkit.errors import InputError
from inpaintkit.files import FolderLock, remove_leftovers
from inpaintkit.model import LightInpaintV1
from inpaintkit.text import count_of
from inpaintkit.training.callbacks import Callback, ProgressLines
from inpaintkit.training.checkpoints import restore_checkpoint, save_checkpoint
from inpaintkit.training.distributed import Group
from inpaintkit.training.evaluation import evaluate_records
from inpaintkit.training.gan_epochs import epoch_table, picked_because
from inpaintkit.training.launch import fit_in_processes
from inpaintkit.training.loop import fit
from inpaintkit.training.progress import TrainReport
from inpaintkit.training.resume import TRAINING_FILES, find_run, move_old_run
from inpaintkit.training.run import Run, RunFiles
from inpaintkit.training.schedule import longer_run
from inpaintkit.training.setup import Data, Setup, open_data, set_up
from inpaintkit.training.stopping import catch_stop_signals, obey_parent
from inpaintkit.training.tasks.gan import GanTask
from inpaintkit.training.tasks.plain import PlainTask
from inpaintkit.training.tasks.task import Task
from inpaintkit.training.tensorboard import TensorBoardLog


def memory_advice(config: TrainConfig) -> str:
    """Return advice on which options need less memory of the device."""
    begun = RunFiles(Path(config.model_dir)).state.exists()
    return (
        f"halve batch_size (now {config.batch_size}) and double backward_step (now {config.backward_step}), take a smaller crop_size "
        f"(now {config.crop_size}) or resident=off"
        + ("; with resume=True the run goes on from its last checkpoint" if begun else "")
    )


class Trainer:
    """Trainer of `LightInpaintV1` by the recipe of a `TrainConfig`: ``Trainer(config).fit()``.

    The training itself is in `loop.fit`; this class puts together what it needs. A run in ``config.model_dir`` is
    resumed, found finished, or refused, see `resume.find_run`.
    """

    def __init__(
        self, config: TrainConfig, callbacks: Sequence[Callback] | None = None, group: Group | None = None
    ) -> None:
        """Check the configuration against the disk; load data and weights if they are needed.

        Raises `InputError`, and `RunFailed` if a GPU's memory doesn't suffice.

        `callbacks`: None prints plain progress lines; `group`: the processes that train, None for this one alone.
        """
        config.check_inputs()
        self.config = config
        self.group = group or Group()
        self.files = RunFiles(Path(config.model_dir))
        self._lock: FolderLock | None = None
        self.launches = config.processes > 1 and self.group.size == 1
        self.run = Run(config, self.group, self._choose_callbacks(callbacks))
        self._find()
        if self.found.finished:
            return
        if self.launches:
            check_processes(resolve_device(config.device), config.processes)
        else:
            self.run.sampler = self.setup.data.sampler

    def _choose_callbacks(self, given: Sequence[Callback] | None) -> list[Callback]:
        if not self.group.leads:
            return []
        callbacks: list[Callback] = [ProgressLines()] if given is None else list(given)
        if self.config.tensorboard and not self.launches:
            callbacks.append(TensorBoardLog(self.files.folder / "tensorboard"))
        return callbacks

    def _find(self) -> None:
        """Look up what the folder holds, and take over the progress of its run."""
        self.found = find_run(self.config)
        self.run.progress = self.found.progress

    @cached_property
    def data(self) -> Data:
        """The records, with their losses from the run."""
        return open_data(self.config, self.found, self.group)

    @cached_property
    def setup(self) -> Setup:
        """Everything that trains and evaluates; before any training here, in the state that the run was saved in."""
        with enough_memory(self.config.device, partial(memory_advice, self.config)):
            setup = set_up(self.config, self.found, self.data, self.group, self.make_task)
        # frees the state, as large as the networks that took it over; an empty one still says that the run is resumed
        self.found = dataclasses.replace(self.found, state=self.found.state and {})
        return setup

    def make_task(self, plain: PlainTask) -> Task:
        """Return the task to train: `plain` itself; a subclass makes another task out of it."""
        return plain

    @property
    def model(self) -> LightInpaintV1:
        """The generator with its training weights."""
        return self.setup.task.model

    @property
    def train_set(self) -> InpaintDataset:
        return self.data.train_set

    def hardest(self, count: int = 8) -> list[tuple[int, float]]:
        """Return (number, loss) of the `count` training records with the largest recent losses, the largest first."""
        losses = self.data.sampler.mean_losses()
        order = torch.argsort(losses, descending=True).tolist()
        return [(record, float(losses[record])) for record in order if torch.isfinite(losses[record])][:count]

    def fit(self) -> TrainReport:
        """Train until the last epoch, `max_seconds`, `stop` or a stop signal (then `KeyboardInterrupt`, after saving).

        A finished run is reported and left as it is. With several `processes` this one starts them, follows their
        output and reads their results. Raises `RunFailed` if training diverges or a GPU's memory doesn't suffice.
        """
        with catch_stop_signals(self.run.stop):
            way = self._show if self.found.finished else self._launch if self.launches else self._train
            return way()

    def stop(self) -> None:
        """Ask the running `fit` to return after its next update, once the run is saved; callable from any thread."""
        self.run.stop.asked = True

    def _show(self) -> TrainReport:
        epochs = self.run.progress.epoch - 1
        more = longer_run(self.config, epochs)
        done = f"this run is done: {count_of(epochs, 'epoch')} in {self.files.folder}; nothing was changed"
        ways = f"To go on, set resume=True and max_epoch={more} or more; for a new run name another model_dir"
        with self.run.under_way([f"{done}. {ways}"]):
            return self._report(finished=True)

    def _launch(self) -> TrainReport:
        with self.run.under_way(()):  # the processes report the messages themselves
            fit_in_processes(self.config, self.run)
            self._find()
            for before in ("data", "setup"):  # cached, if at all, before the training
                self.__dict__.pop(before, None)
            # the last row heard of is in the history, unless it was evaluated within an epoch
            kept = [(row["epoch"], row["split"]) for row in self.run.progress.history]
            self.run.at_stop = tuple(row for row in self.run.at_stop if (row["epoch"], row["split"]) not in kept)
            return self._report(self.run.progress.epoch > self.run.plan.last_epoch, tell=False)

    def _train(self) -> TrainReport:
        run, setup, config = self.run, self.setup, self.config
        obey_parent(run.stop)
        lock = FolderLock(self.files.folder, "model_dir") if self.group.leads else contextlib.nullcontext()
        with lock as self._lock, run.under_way([*self._begin(), *setup.messages]):
            evaluate = partial(evaluate_records, setup, self.group, self.files.strips, config.save_eval_step)
            with enough_memory(config.device, partial(memory_advice, config)), contextlib.closing(setup.feed) as feed:
                return self._report(fit(run, setup.task, feed, setup.data.sampler, evaluate, self.save))

    def _begin(self) -> list[str]:
        """Prepare the folder for training; return messages to report.

        Raises `InputError` if another run has changed it since it was looked up.
        """
        self.group.gather(None)  # only once all have loaded what they need may an old run be moved away
        if not self.group.leads:
            return []
        again = find_run(self.config)
        then, now = ((found.state is None, found.progress.steps_done) for found in (self.found, again))
        if again.finished or now != then:
            raise InputError(
                f"model_dir: the run in {self.files.folder} has moved on since this trainer was made; start again with a new one"
            )
        for place in (".*", "eval/.*", "epoch/*/.*", "start/.*", "figures/.*"):
            remove_leftovers(self.files.folder.glob(place), alone=True)
        if again.source not in (None, self.files.state):
            restore_checkpoint(again.source, self.files.state)
        if not self.found.replaces:
            return []
        moved = move_old_run(self.files.folder, TRAINING_FILES)
        return [f"the run that was in {self.files.folder} is in {moved} now"]

    def save(self) -> None:
        run, setup = self.run, self.setup
        run.timer.saved()
        run.progress.skipped_updates = max(updater.skipped() for updater in setup.task.updaters)
        run.take_losses()
        if self.group.leads:
            self._write_state()
        # if one process ends before the state is written, torchrun ends the one that writes it
        self.group.gather(None)

    def _write_state(self) -> None:
        run, setup = self.run, self.setup
        if self._lock is not None:
            self._lock.keep()
        payload = {
            **setup.task.state(),
            **self.data.facts,
            "best_loss": run.progress.best_score,
            "last_epoch": run.progress.epoch - 1,
            "train_kwargs": dataclasses.asdict(self.config),
            "inpaintkit_progress": dataclasses.asdict(run.progress),
            "inpaintkit_sampler": self.data.sampler.state_dict(),
            "inpaintkit_processes": self.group.size,
        }
        save_checkpoint(self.model, self.files.state, payload, self.config.keep_last)

    def _report(self, finished: bool, tell: bool = True) -> TrainReport:
        """Return the report of the run; with `tell`, also report which model was kept."""
        progress = self.run.progress
        report = TrainReport(
            model_file=self.files.model,
            best_epoch=progress.best_epoch,
            best_score=progress.best_score,
            epochs=progress.epoch - 1,
            steps=progress.steps_done,
            seconds=self.run.timer.seconds,
            finished=finished,
            skipped_updates=progress.skipped_updates,
            history=(*progress.history, *self.run.at_stop),
        )
        if tell:
            self.run.say(report.closing_words())
        return report


class GanTrainer(Trainer):
    """Trainer that fine-tunes a trained generator against a discriminator: ``GanTrainer(config).fit()``."""

    config: GanConfig

    def make_task(self, plain: PlainTask) -> Task:
        return GanTask(self.config, plain)

    def _begin(self) -> list[str]:
        messages = super()._begin()
        if self.found.state is None:
            self.run.save_model(self.model, self.files.start, epoch=0)
        return messages

    def realness(self, picture: Tensor, target: Tensor) -> Tensor:
        """Return how real the discriminator rates each place of `picture`, see `GanTask.realness`."""
        assert isinstance(self.setup.task, GanTask)
        return self.setup.task.realness(picture, target)

    def picked_because(self) -> str:
        return picked_because(self.run.progress.history, self.run.progress.best_epoch)

    def epoch_table(self) -> str:
        return epoch_table(self.run.progress.history, self.run.progress.best_epoch)
