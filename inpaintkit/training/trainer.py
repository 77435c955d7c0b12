"""The training loop: samples -> generator checkpoint, resumable at any step.

Nothing here depends on the state of a random generator: the order of an epoch comes from ``(seed, epoch)``,
a sample from ``(seed, epoch, draw)`` and a step's noise from ``(seed, epoch, step)``. A resumed run therefore
needs the weights, the optimisers, the sampler's losses and two counters, and continues bit by bit.
"""

from __future__ import annotations

import contextlib
import csv
import dataclasses
import io
import math
import signal
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader

from inpaintkit.config import TrainConfig, resolve_device
from inpaintkit.data import HardExampleSampler, InpaintDataset
from inpaintkit.errors import InputError
from inpaintkit.files import atomic_write_text, folder_lock
from inpaintkit.model import LightInpaintV1, load_model, load_state, save_model, save_state
from inpaintkit.seeds import derive_seed, torch_rng
from inpaintkit.training import amp
from inpaintkit.training.averaging import averaged_weights
from inpaintkit.training.callbacks import Callback, StepInfo, default_callbacks
from inpaintkit.training.losses import create_loss
from inpaintkit.training.metrics import hole_psnr
from inpaintkit.training.schedule import create_optimizer, create_scheduler, is_schedule_free, last_epoch
from inpaintkit.training.strips import save_strips

MAX_SKIPPED = 100
"""So many steps with a NaN or infinite loss in one epoch end the run."""

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
    }
)
"""Options that may differ between a run and its continuation: they don't change what is learnt (`amp` is kept as it was)."""

Row = dict[str, float | int | str]
Batch = tuple[Tensor, Tensor, Tensor, Tensor]


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
            "seconds": round(self.seconds, 1),
            "best_epoch": self.best_epoch,
            "eval_loss_before": first["total"],
            "eval_loss_after": last["total"],
            "hole_psnr_before": first["hole_psnr"],
            "hole_psnr_after": last["hole_psnr"],
            "model_file": str(self.model_file),
        }


class StopRequest:
    """Set by SIGTERM or SIGINT; the trainer finishes its step, saves and stops."""

    def __init__(self) -> None:
        self.signal: int | None = None


@contextlib.contextmanager
def catch_stop_signals() -> Iterator[StopRequest]:
    """Turn SIGTERM and SIGINT into a polite request for the time of the context (main thread only)."""
    request = StopRequest()
    if threading.current_thread() is not threading.main_thread():
        yield request
        return

    def ask(number: int, frame: object) -> None:
        request.signal = number

    previous = {number: signal.signal(number, ask) for number in (signal.SIGTERM, signal.SIGINT)}
    try:
        yield request
    finally:
        for number, handler in previous.items():
            signal.signal(number, handler)


class EpochOrder(torch.utils.data.Sampler[tuple[int, int, int]]):
    """The items of one epoch, exchanged between epochs, so that loader workers live for the whole run."""

    def __init__(self) -> None:
        self.items: list[tuple[int, int, int]] = []

    def __iter__(self) -> Iterator[tuple[int, int, int]]:
        return iter(self.items)

    def __len__(self) -> int:
        return len(self.items)


def crop_frame(mask: Tensor, frame: int) -> Tensor:
    """Return `mask` without a border of `frame` px, as wide as the generator's training output."""
    return mask[..., frame:-frame, frame:-frame]


class Trainer:
    """Trains `LightInpaintV1` by the recipe of a `TrainConfig`; `GanTrainer` adds the discriminator."""

    def __init__(self, config: TrainConfig, callbacks: Sequence[Callback] | None = None) -> None:
        """Check the configuration against the disk and load data and weights. Raises `InputError`."""
        config.check_inputs()
        self.config = config
        self.callbacks = list(default_callbacks() if callbacks is None else callbacks)
        self.device = resolve_device(config.device)
        self.folder = Path(config.model_dir)
        self.progress = Progress()
        self._load_data()
        self._create_networks()
        self.last_epoch = last_epoch(config)
        self.amp, amp_reason = amp.choose_amp(config.amp, self.device)
        self._messages = [amp_reason]
        self.scalers = [torch.amp.GradScaler(self.device, enabled=self.amp == "fp16") for _ in self.optimizers]
        if config.resume and not config.reset_state:
            self._restore()
        elif self.state_file.exists() and not config.resume:
            self._messages.append(f"starting anew: {self.state_file} will be replaced (resume=true would continue it)")

    def _load_data(self) -> None:
        config, root = self.config, Path(self.config.data_dir)
        self.train_set = InpaintDataset(root / "train", training=True, seed=config.seed, crop_size=config.crop_size)
        self.eval_set = InpaintDataset(root / "eval", training=False, seed=config.seed, crop_size=config.crop_size)
        self.sampler = HardExampleSampler(len(self.train_set))
        self.order = EpochOrder()
        workers: dict[str, Any] = {"num_workers": config.num_workers, "pin_memory": self.device.startswith("cuda")}
        if config.num_workers:
            # forked workers hang after OpenCV's threads; a fork server's outlive a killed trainer
            workers |= {"persistent_workers": True, "multiprocessing_context": "spawn"}
        self.train_loader = DataLoader(self.train_set, config.batch_size, sampler=self.order, **workers)
        self.eval_loader = DataLoader(self.eval_set, config.batch_size, **workers)

    def _create_networks(self) -> None:
        config = self.config
        self.model = self._initial_model().to(self.device)
        self.criterion = create_loss(config.loss, config.perceptual, config.hole_l1_weight).to(self.device)
        self.optimizers = [create_optimizer(config, self.model)]
        self.schedulers = [create_scheduler(config, optimizer) for optimizer in self.optimizers]

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
    def steps_per_epoch(self) -> int:
        """Mini-batches in an epoch."""
        return math.ceil(self.config.num_samples / self.config.batch_size)

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
        """Train until the last epoch, `max_seconds` or a stop signal (then `KeyboardInterrupt`, after saving)."""
        self._started = self._saved_at = time.monotonic()
        with folder_lock(self.folder, "model_dir"), catch_stop_signals() as self._stop:
            try:
                self._call("on_start")
                for message in self._messages:
                    self._call("on_message", message)
                finished = self._run()
            finally:
                self._call("on_end")
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
                self._call("on_message", f"stopped at max_seconds={self.config.max_seconds:g}; resume=true continues")
                return False
            self._finish_epoch()
        return True

    def _train_epoch(self) -> bool:
        """Train what is left of the current epoch; return False when the time was up before its end."""
        progress, config = self.progress, self.config
        self._set_mode(training=True)
        self.order.items = self._epoch_items(progress.epoch)[progress.step * config.batch_size :]
        for batch in self.train_loader if self.order.items else ():
            self._train_batch(batch)
            progress.step += 1
            progress.steps_done += 1
            last = progress.step == self.steps_per_epoch
            moved = progress.step % config.backward_step == 0 or last
            if moved:
                self._move_weights()
            self._call("on_step", StepInfo(progress.epoch, progress.step, self.steps_per_epoch, progress.means()))
            if moved and not last and self._pause():
                return False
        return True

    def _epoch_items(self, epoch: int) -> list[tuple[int, int, int]]:
        """Return (record, epoch, draw) for each sample of `epoch`, drawn with replacement."""
        count, rng = self.config.num_samples, torch_rng(self.config.seed, "order", epoch)
        if self.config.disable_hard_example:
            records = torch.randint(len(self.train_set), (count,), generator=rng)
        else:
            records = self.sampler.draw(count, rng)
        return [(int(record), epoch, draw) for draw, record in enumerate(records)]

    def _pause(self) -> bool:
        """Between two steps: save when it is time, obey a stop signal, tell whether the time is up."""
        now = time.monotonic()
        if self._stop.signal is not None:
            self._save_state()
            name = signal.Signals(self._stop.signal).name
            raise KeyboardInterrupt(f"stopped by {name} after saving {self.state_file}; resume=true continues")
        if self.config.max_seconds is not None and now - self._started >= self.config.max_seconds:
            return True
        if now - self._saved_at >= self.config.checkpoint_seconds:
            self._save_state()
        return False

    def _train_batch(self, batch: Batch) -> None:
        """Forward and backward of one mini-batch; its losses go to the running means and to the sampler."""
        progress = self.progress
        rng = torch_rng(self.config.seed, "step", progress.epoch, progress.step)
        x, hole, y, index = (part.to(self.device, non_blocking=True) for part in batch)
        terms, per_sample = self._losses_and_gradients(x, hole, y, rng)
        values = {name: float(term) for name, term in terms.items()}
        if not all(math.isfinite(value) for value in values.values()):
            return self._skip_batch()
        self.sampler.record(index.cpu(), per_sample.float().cpu())
        for name, value in values.items():
            progress.sums[name] = progress.sums.get(name, 0.0) + value * len(x)
        progress.counted += len(x)

    def _skip_batch(self) -> None:
        self.progress.skipped += 1
        if self.progress.skipped >= MAX_SKIPPED:
            raise FloatingPointError(
                f"the loss was NaN or infinite in {MAX_SKIPPED} steps of epoch {self.progress.epoch}; "
                f"lower learning_rate (now {self.config.learning_rate:g}) or set amp=off, then resume from {self.state_file}"
            )

    def _generate(self, x: Tensor, hole: Tensor) -> tuple[Tensor, Tensor]:
        """Return the generator's output without its 16 px frame, and its soft mask."""
        masked, mask = self.model.preprocess(x, hole)
        with amp.autocast(self.amp, self.device):
            output = self.model(masked, mask)
        return output.float(), mask

    def _losses_and_gradients(
        self, x: Tensor, hole: Tensor, y: Tensor, rng: torch.Generator
    ) -> tuple[dict[str, Tensor], Tensor]:
        """Add this batch's gradients; return the named loss terms and the loss of each sample (B,)."""
        output, _ = self._generate(x, hole)
        total, terms, per_sample = self._loss(output, y, hole, rng)
        if torch.isfinite(total):
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
        """One step of every optimiser with the gradients summed so far."""
        for optimizer, scaler in zip(self.optimizers, self.scalers, strict=True):
            if self.config.clip_grad_norm > 0:
                scaler.unscale_(optimizer)
                parameters = [p for group in optimizer.param_groups for p in group["params"]]
                nn.utils.clip_grad_norm_(parameters, self.config.clip_grad_norm)
            scaler.step(optimizer)
            scaler.update()
            optimizer.zero_grad(set_to_none=True)

    def _finish_epoch(self) -> None:
        progress, config = self.progress, self.config
        epoch = progress.epoch
        self._add_row(epoch, "train", progress.means(), learning_rate=self.optimizers[0].param_groups[0]["lr"])
        self.sampler.update_weights()
        for scheduler in self.schedulers:
            if scheduler is not None:
                scheduler.step()
        if epoch % config.eval_step == 0 or epoch == self.last_epoch:
            self._evaluate(epoch)
        if config.save_epoch:
            with self._evaluation_weights():
                save_model(self.model, self.folder / "epoch" / str(epoch) / self.model_file.name, **self._meta(epoch))
        progress.epoch, progress.step, progress.sums, progress.counted, progress.skipped = epoch + 1, 0, {}, 0, 0
        self._save_state()
        if self._stop.signal is not None:
            name = signal.Signals(self._stop.signal).name
            raise KeyboardInterrupt(f"stopped by {name} after saving {self.state_file}; resume=true continues")

    def _evaluate(self, epoch: int) -> None:
        """Judge the present weights on every evaluation record; keep them if they are the best so far."""
        with self._evaluation_weights():
            self._set_mode(training=False)
            row = self._add_row(epoch, "eval", self._evaluation_means(epoch))
            score = self._score(row)
            if score < self.progress.best_score:
                self.progress.best_score, self.progress.best_epoch = score, epoch
                save_model(self.model, self.model_file, **self._meta(epoch))
        self._set_mode(training=True)

    @torch.no_grad()
    def _evaluation_means(self, epoch: int) -> dict[str, float]:
        sums: dict[str, float] = {}
        counts: dict[str, int] = {}
        for number, (x, hole, y, _) in enumerate(self.eval_loader):
            x, hole, y = (part.to(self.device) for part in (x, hole, y))
            output, _ = self._generate(x, hole)
            for name, values in self._judge(output, y, hole).items():
                # hole figures are NaN for records without a hole; a NaN loss is bad news and must stay
                known = values if name == "total" else values[torch.isfinite(values)]
                sums[name] = sums.get(name, 0.0) + float(known.double().sum())
                counts[name] = counts.get(name, 0) + known.numel()
            if number % self.config.save_eval_step == 0:
                save_strips(x, hole, output, y, self.folder / "eval" / f"epoch{epoch:04}_batch{number:04}.png")
        return {name: sums[name] / max(counts[name], 1) for name in sums}

    def _judge(self, output: Tensor, y: Tensor, hole: Tensor) -> dict[str, Tensor]:
        """Return each evaluation figure per record, (B,)."""
        _, terms, per_sample = self._loss(output, y, hole)
        inner = crop_frame(hole, self.model.i2i_offset)
        figures = {name: term.expand(len(output)) for name, term in terms.items()}
        return figures | {"total": per_sample, "hole_psnr": hole_psnr(output.clamp(0, 1), y, inner)}

    def _score(self, row: Row) -> float:
        """Return what the best model has least of: here the evaluation loss (NaN never beats anything)."""
        return float(row["total"])

    def _set_mode(self, training: bool) -> None:
        self.model.train(training)
        if training and is_schedule_free(self.config):
            for optimizer in self.optimizers:
                optimizer.train()  # type: ignore[attr-defined]

    @contextlib.contextmanager
    def _evaluation_weights(self) -> Iterator[None]:
        """For the time of the context the model holds the weights to use (schedule-free: the averaged ones)."""
        with averaged_weights(self.optimizers[0], self.model):
            yield

    def _add_row(self, epoch: int, split: str, means: Mapping[str, float], **more: float) -> Row:
        row: Row = {"epoch": epoch, "split": split, **means, **more}
        self.progress.history.append(row)
        self._write_csv()
        self._call("on_row", row)
        return row

    def _write_csv(self) -> None:
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
                "inpaintkit_amp": self.amp,
                **self._more_state(),
            }
            save_state(self.model, self.state_file, payload)

    def _restore(self) -> None:
        """Load the full state of an earlier run; refuse one that this configuration can't continue exactly."""
        if not self.state_file.exists():
            raise InputError(f"resume: {self.state_file} does not exist; start without resume, or use checkpoint_file")
        state = load_state(self.state_file)
        if "inpaintkit_progress" not in state:
            raise InputError(
                f"resume: {self.state_file} was not written by inpaintkit; add reset_state=true to take its weights"
            )
        self._refuse_other_config(state["train_kwargs"])
        if state["inpaintkit_data_key"] != self._data_key():
            raise InputError(
                f"resume: the records in {self.config.data_dir} have changed; restore them or use reset_state=true"
            )
        self.model.load_state_dict(state["training_state_dict"])
        for optimizer, saved in zip(self.optimizers, state["optimizer_state_dict"], strict=True):
            optimizer.load_state_dict(saved)
        for scheduler, saved in zip(self.schedulers, state["scheduler_state_dict"], strict=True):
            if scheduler is not None:
                scheduler.load_state_dict(saved)
        self.progress = Progress(**state["inpaintkit_progress"])
        self.sampler.load_state_dict(state["inpaintkit_sampler"])
        self.amp = state["inpaintkit_amp"]
        for scaler, saved in zip(self.scalers, state["grad_scaler_state_dict"], strict=True):
            scaler.load_state_dict(saved)
        self._load_more_state(state)
        self._messages.append(f"resumed at epoch {self.progress.epoch}, step {self.progress.step}")

    def _refuse_other_config(self, old: Mapping[str, Any]) -> None:
        for name, value in dataclasses.asdict(self.config).items():
            if name not in RESUME_MAY_CHANGE and old.get(name, value) != value:
                raise InputError(
                    f"resume: {name} was {old[name]!r} and is now {value!r}; use the old value, "
                    "or reset_state=true to start a new run from these weights"
                )

    def _more_state(self) -> dict[str, Any]:
        """Return what a subclass adds to the checkpoint."""
        return {}

    def _load_more_state(self, state: Mapping[str, Any]) -> None:
        """Take back what `_more_state` saved."""

    def _call(self, hook: str, *details: object) -> None:
        for callback in self.callbacks:
            getattr(callback, hook)(self, *details)
