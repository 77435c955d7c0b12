"""The training loop: samples -> generator checkpoint, resumable at any step.

Nothing here depends on the state of a random generator: the order of an epoch comes from ``(seed, epoch)``,
a sample from ``(seed, epoch, draw)`` and a step's noise from ``(seed, epoch, step)``. A resumed run therefore
needs the weights, the optimisers, the sampler's losses and two counters, and continues bit by bit.

Several processes (see `distributed`) each take their share of every step and of the evaluation; only the first writes.
"""

from __future__ import annotations

import contextlib
import csv
import dataclasses
import io
import math
import signal
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NoReturn

import torch
from torch import Tensor, nn

from inpaintkit.config import TrainConfig, resolve_device
from inpaintkit.data import HardExampleSampler, InpaintDataset
from inpaintkit.data.resident import Batch
from inpaintkit.errors import InputError
from inpaintkit.files import atomic_write_text, folder_lock
from inpaintkit.model import LightInpaintV1, load_model, save_model
from inpaintkit.seeds import derive_seed, torch_rng
from inpaintkit.training import amp
from inpaintkit.training.averaging import averaged_weights, moving_average
from inpaintkit.training.callbacks import Callback, StepInfo, default_callbacks
from inpaintkit.training.checkpoints import newest_checkpoint, save_checkpoint
from inpaintkit.training.compiling import Network, compiled
from inpaintkit.training.distributed import current_group
from inpaintkit.training.feeding import Feed, choose_records
from inpaintkit.training.launch import fit_in_processes
from inpaintkit.training.losses import create_loss
from inpaintkit.training.metrics import hole_psnr
from inpaintkit.training.progress import LossLog, Progress, Row, TrainReport
from inpaintkit.training.row_fill import row_fill
from inpaintkit.training.schedule import create_optimizer, create_scheduler, is_schedule_free, last_epoch, warmed_up
from inpaintkit.training.stopping import catch_stop_signals
from inpaintkit.training.strips import save_strips
from inpaintkit.training.tensorboard import TensorBoardLog

MAX_SKIPPED = 100
"""So many steps with a NaN or infinite loss, or with such gradients, in one epoch end the run."""

EXCHANGE_EVERY = 16
"""Steps between two looks at the losses where looking costs time: on a GPU, or with several processes."""

RESUME_MAY_CHANGE = frozenset(
    {
        "resume",
        "reset_state",
        "checkpoint_file",
        "data_dir",
        "model_dir",
        "device",
        "num_workers",
        "amp",
        "max_seconds",
        "checkpoint_seconds",
        "save_eval_step",
        "save_epoch",
        "keep_last",
        "compile",
        "resident",
        "processes",
        "tensorboard",
        "perceptual_path",
    }
)
"""Options that may differ between a run and its continuation: they don't change what is learnt (`amp` is kept as it was)."""


def mean_figures(judged: Iterable[Mapping[str, float]]) -> dict[str, float]:
    """Return the mean of each figure over all records.

    Figures of holes are NaN for records without a hole and don't count there; a NaN loss is bad news and stays.
    """
    columns: dict[str, list[float]] = {}
    for figures in judged:
        for name, value in figures.items():
            columns.setdefault(name, []).append(value)
    means = {}
    for name, values in columns.items():
        known = values if name == "total" else [value for value in values if math.isfinite(value)]
        means[name] = math.fsum(known) / max(len(known), 1)
    return means


def samples_per_step(state: Mapping[str, Any]) -> int:
    """Return how many samples the run of a checkpoint took per step, in all its processes together."""
    return int(state["train_kwargs"]["batch_size"]) * int(state.get("inpaintkit_processes", 1))


def crop_frame(mask: Tensor, frame: int) -> Tensor:
    """Return `mask` without a border of `frame` px, as wide as the generator's training output."""
    return mask[..., frame:-frame, frame:-frame]


class Trainer:
    """Trains `LightInpaintV1` by the recipe of a `TrainConfig`; `GanTrainer` adds the discriminator."""

    def __init__(self, config: TrainConfig, callbacks: Sequence[Callback] | None = None) -> None:
        """Check the configuration against the disk and load data and weights. Raises `InputError`."""
        config.check_inputs()
        self.config = config
        self.group = current_group()
        self.launches = config.processes > 1 and self.group.size == 1
        self.device = self.group.device(resolve_device(config.device))
        self.folder = Path(config.model_dir)
        self.callbacks = self._choose_callbacks(callbacks)
        self.progress, self.losses = Progress(), LossLog()
        self.judged: dict[int, dict[str, float]] = {}
        self._messages: list[str] = []
        with self.group.leader_first():
            self._load_data()
        self._create_networks()
        self.last_epoch = last_epoch(config)
        self.amp, amp_reason = amp.choose_amp(config.amp, self.device)
        self._messages.append(amp_reason)
        self._create_scalers()
        if config.resume and not config.reset_state:
            self._restore()
        elif self.state_file.exists() and not config.resume:
            self._messages.append(f"starting anew: {self.state_file} will be replaced (resume=true would continue it)")

    def _choose_callbacks(self, given: Sequence[Callback] | None) -> list[Callback]:
        if not self.group.leads:
            return []
        callbacks = list(default_callbacks(lines=self.launches) if given is None else given)
        if self.config.tensorboard and not self.launches:
            callbacks.append(TensorBoardLog(self.folder / "tensorboard"))
        return callbacks

    def _load_data(self) -> None:
        config, root = self.config, Path(self.config.data_dir)
        self.train_set = InpaintDataset(root / "train", True, config.seed, config.crop_size, config.mixed_border)
        self.eval_set = InpaintDataset(root / "eval", False, config.seed, config.crop_size, config.mixed_border)
        self.eval_records = choose_records(self.eval_set.names, config.eval_records)
        self.sampler = HardExampleSampler(len(self.train_set))
        self.feed = Feed(config, self.train_set, self.device)
        self.eval_feed = Feed(config, self.eval_set, self.device)
        self._messages += self.feed.messages

    def _create_networks(self) -> None:
        config = self.config
        self.model = self._initial_model().to(self.device)
        self.network = self._compiled() if config.compile else self.model
        self.average = moving_average(self.model, config.ema_decay)
        loss = create_loss(config.loss, config.perceptual, config.hole_l1_weight, config.perceptual_path)
        self.criterion = loss.to(self.device)
        self.optimizers = [create_optimizer(config, self.model)]
        self.schedulers = [create_scheduler(config, optimizer) for optimizer in self.optimizers]

    def _create_scalers(self, states: Sequence[dict[str, Any]] = ()) -> None:
        self.scalers = [amp.gradient_scaler(self.amp, self.device) for _ in self.optimizers]
        for scaler, state in zip(self.scalers, states, strict=False):
            if state:  # empty in checkpoints of older versions
                scaler.load_state_dict(state)

    def _initial_model(self) -> LightInpaintV1:
        config = self.config
        if config.checkpoint_file:
            return load_model(config.checkpoint_file)[0]
        if config.resume:
            source = self.state_file if self.state_file.exists() else self.model_file
            if not source.exists():
                raise InputError(
                    f"resume: {self.folder} holds no checkpoint; start without resume or name another model_dir"
                )
            return load_model(source)[0]
        return LightInpaintV1(torch_rng(config.seed, "weights"), grey_start=config.grey_start)

    def _compiled(self) -> Network:
        network, message = compiled(self.model, self.config, self.device)
        self._messages.append(message)
        return network

    @property
    def model_file(self) -> Path:
        """The best model, in iw3's format."""
        return self.folder / f"{LightInpaintV1.name}.pth"

    @property
    def state_file(self) -> Path:
        """The full training state."""
        return self.folder / f"{LightInpaintV1.name}.checkpoint.pth"

    @property
    def csv_file(self) -> Path:
        """One row per epoch and split, a column per loss term."""
        return self.folder / f"loss_{LightInpaintV1.name}.csv"

    @property
    def processes(self) -> int:
        """How many processes train together."""
        return self.config.processes if self.launches else self.group.size

    @property
    def samples_per_step(self) -> int:
        """Samples in a step of all processes together."""
        return self.config.batch_size * self.processes

    @property
    def steps_per_epoch(self) -> int:
        """Mini-batches of each process in an epoch."""
        return math.ceil(self.config.num_samples / self.samples_per_step)

    @property
    def total_steps(self) -> int:
        """Mini-batches in the whole run."""
        return self.steps_per_epoch * self.last_epoch

    @property
    def steps_done(self) -> int:
        """Mini-batches behind us, those before a resume included."""
        return self.progress.steps_done

    @property
    def fraction_done(self) -> float:
        """Share of the run that is done, 0..1."""
        return self.steps_done / max(self.total_steps, 1)

    def fit(self) -> TrainReport:
        """Train until the last epoch, `max_seconds` or a stop signal (then `KeyboardInterrupt`, after saving).

        With several `processes` this one starts them, follows what they say, and reads what they leave.
        """
        self._started = self._saved_at = time.monotonic()
        lock = folder_lock(self.folder, "model_dir") if self.group.leads and not self.launches else None
        with lock or contextlib.nullcontext(), catch_stop_signals() as self._stop:
            try:
                self.tell("on_start")
                for message in self._messages:
                    self.tell("on_message", message)
                finished = fit_in_processes(self, self._stop) if self.launches else self._run()
            finally:
                self.tell("on_end")
        progress = self.progress
        return TrainReport(
            self.model_file,
            progress.best_epoch,
            progress.best_score,
            min(progress.epoch - 1, self.last_epoch),
            progress.steps_done,
            time.monotonic() - self._started,
            finished,
            tuple(progress.history),
        )

    def _run(self) -> bool:
        if not self.progress.history:
            self._evaluate(epoch=0)
        while self.progress.epoch <= self.last_epoch:
            if not self._train_epoch():
                self._save_state()
                self._evaluate(self.progress.epoch)
                self.tell(
                    "on_message",
                    f"stopped at max_seconds={self.config.max_seconds:g}; resume=true, headless the same command, continues",
                )
                return False
            self._finish_epoch()
        return True

    def _train_epoch(self) -> bool:
        """Train what is left of the current epoch; return False when the time was up before its end."""
        progress, config = self.progress, self.config
        self._set_mode(training=True)
        items = self._epoch_items(progress.epoch)[progress.step * self.samples_per_step :]
        for batch in self.feed.batches(self.group.share(items, config.batch_size)):
            self._train_batch(batch)
            progress.step += 1
            progress.steps_done += 1
            last = progress.step == self.steps_per_epoch
            moved = progress.step % config.backward_step == 0 or last
            if moved:
                self._move_weights()
            if (self.group.size == 1 and self.device == "cpu") or progress.step % EXCHANGE_EVERY == 0:
                self._take_losses()
            self.tell("on_step", StepInfo(progress.epoch, progress.step, self.steps_per_epoch, progress.means()))
            at_end = last and progress.epoch == self.last_epoch
            if moved and self._pause() and not at_end:
                return False
        return True

    def _epoch_items(self, epoch: int) -> list[tuple[int, int, int]]:
        """Return (record, epoch, draw) for each sample of `epoch`, drawn with replacement.

        With several processes so many that each gets equally many.
        """
        rng = torch_rng(self.config.seed, "order", epoch)
        count = math.ceil(self.config.num_samples / self.group.size) * self.group.size
        if self.config.disable_hard_example:
            records = torch.randint(len(self.train_set), (count,), generator=rng)
        else:
            records = self.sampler.draw(count, rng)
        return [(int(record), epoch, draw) for draw, record in enumerate(records)]

    def _pause(self) -> bool:
        """Between two steps: save when it is time, obey a stop signal, tell whether the time is up.

        The first process's clock counts for all, a signal counts whoever got it.
        """
        now = time.monotonic()
        time_up = self.config.max_seconds is not None and now - self._started >= self.config.max_seconds
        save_due = now - self._saved_at >= self.config.checkpoint_seconds
        said = self.group.gather((self._stop.signal, time_up, save_due))
        self._stop.signal = next((signal for signal, _, _ in said if signal is not None), None)
        _, time_up, save_due = said[0]
        if self._stop.signal is not None or (save_due and not time_up):
            self._save_state()
        self._obey_stop()
        return time_up

    def _obey_stop(self) -> None:
        if self._stop.signal is not None:
            name = signal.Signals(self._stop.signal).name
            raise KeyboardInterrupt(
                f"stopped by {name} at epoch {self.progress.epoch}, step {self.progress.step}, saved in {self.state_file}; "
                "`inpaintkit run` goes on there with the same command, everything else with resume=true"
            )

    def _train_batch(self, batch: Batch) -> None:
        """Forward and backward of one mini-batch; its losses go to the log."""
        progress = self.progress
        rng = torch_rng(self.config.seed, "step", progress.epoch, progress.step)
        x, hole, y, index = batch
        terms, per_sample = self._losses_and_gradients(x, hole, y, rng)
        self.losses.add(index, per_sample, terms)

    def _take_losses(self) -> None:
        """Let what was logged count: in the running means and for the sampler."""
        progress = self.progress
        for step in self.losses.take(self.group):
            skipped = progress.skipped
            progress.add(step)
            if progress.skipped == skipped:
                self.sampler.record(step.records, torch.tensor(step.losses, dtype=torch.float64))
        if progress.skipped >= MAX_SKIPPED:
            self._give_up(f"the loss was NaN or infinite in {MAX_SKIPPED} steps of epoch {progress.epoch}")
        if self._moves_left_out() >= MAX_SKIPPED:
            self._give_up(
                f"gradients were NaN or infinite in {MAX_SKIPPED} moves of the weights in epoch {progress.epoch}"
            )

    def _give_up(self, reason: str) -> NoReturn:
        raise FloatingPointError(
            f"{reason}; lower learning_rate (now {self.config.learning_rate:g}) or set amp=off, then resume from {self.state_file}"
        )

    def _moves_left_out(self) -> int:
        """Return how often the weights have stood still in this epoch because a gradient was NaN or infinite."""
        return max(amp.moves_left_out(self.amp, scaler) for scaler in self.scalers)

    def _tell_moves_left_out(self) -> None:
        """Say how many there were, and count from 0 again."""
        count = self._moves_left_out()
        if count:
            reason = f"gradients were NaN or infinite in {count} moves of the weights in epoch {self.progress.epoch}"
            self.tell("on_message", f"{reason}; these were left out")
            self._create_scalers()

    def _generate(self, x: Tensor, hole: Tensor) -> tuple[Tensor, Tensor]:
        """Return the generator's output without its 16 px frame, and its soft mask."""
        masked, mask = self.model.preprocess(x, hole)
        with amp.autocast(self.amp, self.device):
            output = self.network(masked, mask)
        return output.float(), mask

    def _losses_and_gradients(
        self, x: Tensor, hole: Tensor, y: Tensor, rng: torch.Generator
    ) -> tuple[dict[str, Tensor], Tensor]:
        """Add this batch's gradients; return the named loss terms and the loss of each sample (B,)."""
        output, _ = self._generate(x, hole)
        total, terms, per_sample = self._loss(output, y, hole, rng)
        self.scalers[0].scale(total / self.config.backward_step).backward()
        return terms, per_sample

    def _loss(
        self, output: Tensor, y: Tensor, hole: Tensor, rng: torch.Generator | None = None
    ) -> tuple[Tensor, dict[str, Tensor], Tensor]:
        """Return the loss to minimise, its named terms, and the loss of each sample (B,), the last two detached.

        With `rng`, output and target are moved together first (the pair augmentation of training).
        """
        with amp.autocast(self.amp, self.device):
            inner = crop_frame(hole, self.model.i2i_offset)
            total, terms = self.criterion(output, y, hole=inner, generator=rng)
        per_sample = terms.pop("per_sample")
        return total, {"total": total.detach(), **terms}, per_sample

    def _move_weights(self) -> None:
        """One step of every optimiser with the gradients summed so far, averaged over all processes."""
        for optimizer, scaler in zip(self.optimizers, self.scalers, strict=True):
            parameters = [p for group in optimizer.param_groups for p in group["params"]]
            self.group.average_gradients(parameters)
            if all(parameter.grad is None for parameter in parameters):
                continue  # every step since the last move was skipped
            if self.config.clip_grad_norm > 0:
                scaler.unscale_(optimizer)
                nn.utils.clip_grad_norm_(parameters, self.config.clip_grad_norm)
            with warmed_up(optimizer, self.config, self._moves_done + 1):
                scaler.step(optimizer)
            scaler.update()
            optimizer.zero_grad(set_to_none=True)
        if self.average is not None:
            self.average.update_parameters(self.model)

    @property
    def _moves_done(self) -> int:
        """Optimiser steps before the one that the present mini-batch belongs to."""
        per_epoch = math.ceil(self.steps_per_epoch / self.config.backward_step)
        return (self.progress.epoch - 1) * per_epoch + (self.progress.step - 1) // self.config.backward_step

    def _finish_epoch(self) -> None:
        progress, config = self.progress, self.config
        epoch = progress.epoch
        self._take_losses()
        self._tell_moves_left_out()
        rates = self.optimizers[0].param_groups[0]
        self._add_row(
            epoch, "train", progress.means(), learning_rate=rates["lr"], weight_decay=float(rates["weight_decay"])
        )
        self.sampler.update_weights()
        for scheduler in self.schedulers:
            if scheduler is not None:
                scheduler.step()
        if epoch % config.eval_step == 0 or epoch == self.last_epoch:
            self._evaluate(epoch)
        if config.save_epoch:
            with self._evaluation_weights():
                self._save_model(self.folder / "epoch" / str(epoch) / self.model_file.name, epoch)
        progress.start_epoch(epoch + 1)
        self._save_state()
        self._stop.signal = next((s for s in self.group.gather(self._stop.signal) if s is not None), None)
        self._obey_stop()

    def _evaluate(self, epoch: int) -> None:
        """Judge the present weights on the evaluation records; keep them if they are the best so far."""
        with self._evaluation_weights():
            self._set_mode(training=False)
            self.judged = self._judge_records(epoch)
            row = self._add_row(epoch, "eval", mean_figures(self.judged.values()))
            score = self._score(row)
            if score < self.progress.best_score:
                self.progress.best_score, self.progress.best_epoch = score, epoch
                self._save_model(self.model_file, epoch)
        self._set_mode(training=True)

    @torch.no_grad()
    def _judge_records(self, epoch: int) -> dict[int, dict[str, float]]:
        """Return the figures of each evaluation record by its number; each process judges its share."""
        mine: dict[int, dict[str, float]] = {}
        records = self.eval_records[self.group.rank :: self.group.size]
        for number, (x, hole, y, index) in enumerate(self.eval_feed.batches(records)):
            output, _ = self._generate(x, hole)
            figures = self._judge(x, output, y, hole)
            values = torch.stack([value.double().cpu() for value in figures.values()], dim=1).tolist()
            mine |= {
                record: dict(zip(figures, of_record, strict=True))
                for record, of_record in zip(index.tolist(), values, strict=True)
            }
            if number % self.config.save_eval_step == 0 and self.group.leads:
                save_strips(x, hole, output, y, self.folder / "eval" / f"epoch{epoch:04}_batch{number:04}.png")
        judged = {record: figures for part in self.group.gather(mine) for record, figures in part.items()}
        return dict(sorted(judged.items()))

    def _judge(self, x: Tensor, output: Tensor, y: Tensor, hole: Tensor) -> dict[str, Tensor]:
        """Return each evaluation figure per record, (B,); the hole PSNR of row fill is what has to be beaten."""
        _, terms, per_sample = self._loss(output, y, hole)
        inner = crop_frame(hole, self.model.i2i_offset)
        filled = crop_frame(row_fill(x, hole), self.model.i2i_offset)
        figures = {name: term.expand(len(output)) for name, term in terms.items()}
        return figures | {
            "total": per_sample,
            "hole_psnr": hole_psnr(output.clamp(0, 1), y, inner),
            "hole_psnr_row_fill": hole_psnr(filled, y, inner),
        }

    def _score(self, row: Row) -> float:
        """Return what the best model has least of: here the evaluation loss (NaN never beats anything)."""
        return float(row["total"])

    def hardest(self, count: int = 8) -> list[tuple[int, float]]:
        """Return (number, loss) of the training records with the largest recent losses, the largest first."""
        losses = self.sampler.mean_losses()
        seen = [(int(i), float(losses[i])) for i in torch.argsort(losses, descending=True) if torch.isfinite(losses[i])]
        return seen[:count]

    def _set_mode(self, training: bool) -> None:
        self.model.train(training)
        if training and is_schedule_free(self.config):
            for optimizer in self.optimizers:
                optimizer.train()  # type: ignore[attr-defined]

    @contextlib.contextmanager
    def _evaluation_weights(self) -> Iterator[None]:
        """For the time of the context the model holds the weights to use, see `averaged_weights`."""
        with averaged_weights(self.optimizers[0], self.model, self.average):
            yield

    def _add_row(self, epoch: int, split: str, means: Mapping[str, float], **more: float) -> Row:
        row: Row = {"epoch": epoch, "split": split, **means, **more}
        self.progress.history.append(row)
        self._write_csv()
        self.tell("on_row", row)
        return row

    def _save_model(self, path: Path, epoch: int) -> None:
        if self.group.leads:
            save_model(self.model, path, **self._meta(epoch))

    def _write_csv(self) -> None:
        if not self.group.leads:
            return
        names = list(dict.fromkeys(name for row in self.progress.history for name in row))
        text = io.StringIO()
        writer = csv.DictWriter(text, names, lineterminator="\n")
        writer.writeheader()
        writer.writerows(self.progress.history)
        atomic_write_text(self.csv_file, text.getvalue())

    def _meta(self, epoch: int) -> dict[str, Any]:
        """Return what a checkpoint says about how it came to be."""
        return {"epoch": epoch, "config": dataclasses.asdict(self.config), "records": len(self.train_set)}

    def _data_key(self) -> int:
        return derive_seed(*(str(name) for name in self.train_set.names), len(self.eval_set))

    def _save_state(self) -> None:
        self._saved_at = time.monotonic()
        self._take_losses()
        if not self.group.leads:
            return
        training_weights = {name: value.clone() for name, value in self.model.state_dict().items()}
        optimizer_states = [
            optimizer.state_dict() for optimizer in self.optimizers
        ]  # before the averaging changes their mode
        with self._evaluation_weights():
            payload = {
                "state_dict": self.model.state_dict(),
                "training_state_dict": training_weights,
                "optimizer_state_dict": optimizer_states,
                "scheduler_state_dict": [s.state_dict() if s is not None else {} for s in self.schedulers],
                "grad_scaler_state_dict": [scaler.state_dict() for scaler in self.scalers],
                "best_loss": self.progress.best_score,
                "last_epoch": self.progress.epoch - 1,
                "train_kwargs": dataclasses.asdict(self.config),
                "inpaintkit_progress": dataclasses.asdict(self.progress),
                "inpaintkit_sampler": self.sampler.state_dict(),
                "inpaintkit_data_key": self._data_key(),
                "inpaintkit_data_content": self._data_content(),
                "inpaintkit_amp": self.amp,
                "inpaintkit_processes": self.group.size,
                "inpaintkit_average": {} if self.average is None else self.average.state_dict(),
                **self._more_state(),
            }
            save_checkpoint(self.model, self.state_file, payload, self.config.keep_last)

    def _data_content(self) -> int:
        return derive_seed(self.train_set.fingerprint(), self.eval_set.fingerprint())

    def _restore(self) -> None:
        """Load the full state of an earlier run; refuse one that this configuration can't continue exactly."""
        if not self.state_file.exists():
            raise InputError(f"resume: {self.state_file} does not exist; start without resume, or use checkpoint_file")
        state, source = newest_checkpoint(self.state_file)
        if source != self.state_file:
            self._messages.append(f"{self.state_file} is damaged; going on from the one before it, {source}")
        if "inpaintkit_progress" not in state:
            raise InputError(
                f"resume: {self.state_file} was not written by inpaintkit; add reset_state=true to take its weights"
            )
        self._refuse_other_config(state)
        self._refuse_other_data(state)
        self.model.load_state_dict(state["training_state_dict"])
        if self.average is not None:
            self.average.load_state_dict(state["inpaintkit_average"])
        for optimizer, saved in zip(self.optimizers, state["optimizer_state_dict"], strict=True):
            optimizer.load_state_dict(saved)
        for scheduler, saved in zip(self.schedulers, state["scheduler_state_dict"], strict=True):
            if scheduler is not None:
                scheduler.load_state_dict(saved)
        self._read_progress(state)
        self.amp = state["inpaintkit_amp"]
        self._create_scalers(state["grad_scaler_state_dict"])
        self._load_more_state(state)
        self._messages.append(f"resumed at epoch {self.progress.epoch}, step {self.progress.step}")

    def _read_progress(self, state: Mapping[str, Any]) -> None:
        """Take counters, history and the sampler's losses from a checkpoint of any number of processes."""
        self.progress = Progress(**state["inpaintkit_progress"])
        self.sampler.load_state_dict(state["inpaintkit_sampler"])
        before = samples_per_step(state)
        if before != self.samples_per_step:
            self.progress.step = self.progress.step * before // self.samples_per_step
            self.progress.steps_done = (self.progress.epoch - 1) * self.steps_per_epoch + self.progress.step
            self._messages.append(
                f"another number of processes: {self.samples_per_step} instead of {before} samples per step from here on"
            )

    def take_over(self, state: Mapping[str, Any], model: LightInpaintV1) -> None:
        """Stand where other processes ended: their counters, history and losses from `state`, their best `model`."""
        self._read_progress(state)
        self.model.load_state_dict(model.state_dict())

    def _refuse_other_data(self, state: Mapping[str, Any]) -> None:
        """Raise `InputError` when records came, went or were exchanged since the checkpoint."""
        same = state["inpaintkit_data_key"] == self._data_key()
        content = state.get("inpaintkit_data_content")  # unknown in checkpoints of older versions
        if not same or (content is not None and content != self._data_content()):
            raise InputError(
                f"resume: the records in {self.config.data_dir} have changed; restore them or use reset_state=true"
            )

    def _refuse_other_config(self, state: Mapping[str, Any]) -> None:
        old = state["train_kwargs"]
        # more processes with smaller batches, or the other way round, go on exactly
        may_change = {"batch_size"} if samples_per_step(state) == self.samples_per_step else set()
        for name, value in dataclasses.asdict(self.config).items():
            if name not in RESUME_MAY_CHANGE | may_change and old.get(name, value) != value:
                raise InputError(
                    f"resume: {name} was {old[name]!r} and is now {value!r}; use the old value, "
                    "or reset_state=true to start a new run from these weights"
                )

    def _more_state(self) -> dict[str, Any]:
        """Return what a subclass adds to the checkpoint."""
        return {}

    def _load_more_state(self, state: Mapping[str, Any]) -> None:
        """Take back what `_more_state` saved."""

    def tell(self, hook: str, *details: object) -> None:
        """Call `hook` of every callback."""
        for callback in self.callbacks:
            getattr(callback, hook)(self, *details)
