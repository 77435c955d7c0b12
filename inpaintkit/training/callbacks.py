"""Callbacks of a running job, and plain progress lines for people and log files.

The training loop calls these hooks and knows nothing of notebooks; a notebook or a test passes its own callbacks.
"""

import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from inpaintkit.errors import LONGEST_MESSAGE
from inpaintkit.text import duration, shown
from inpaintkit.training.stopping import StopRequest

PROGRESS_VARIABLE = "INPAINTKIT_PROGRESS"
"""Environment variable, set for headless runs: ``lines`` asks for plain progress lines."""

LINE_EVERY = 0.05  # share of a job
FIRST_WAIT, LONGEST_WAIT = 10.0, 600.0  # s
SOON = 2.0
"""Time (s) before which no remaining time is given: the first results arrive all at once."""


class RunView(Protocol):
    """What a callback can see of a run."""

    stop: StopRequest
    """Set ``stop.asked`` to end the run after its next update, once it is saved."""

    folder: Path

    csv_file: Path
    """One row per epoch and split, a column per figure."""

    total_steps: int

    @property
    def steps_done(self) -> int:
        """Number of steps done, including those before a resume."""


@dataclass(frozen=True)
class StepInfo:
    """A finished step: its number in the epoch (from 1), how many the epoch has, running mean of each loss term."""

    epoch: int
    step: int
    steps: int
    terms: Mapping[str, float]


class Callback:
    """Base class of callbacks, whose hooks do nothing. The `row` of `on_row` is also written to the loss CSV."""

    def on_start(self, run: RunView) -> None: ...

    def on_step(self, run: RunView, info: StepInfo) -> None: ...

    def on_row(self, run: RunView, row: Mapping[str, float | int | str]) -> None: ...

    def on_message(self, run: RunView, message: str) -> None: ...

    def on_end(self, run: RunView) -> None: ...


def format_row(row: Mapping[str, float | int | str]) -> str:
    """Return a loss row as one readable line."""
    values = [f"{name} {value:.4g}" for name, value in row.items() if isinstance(value, float)]
    return f"epoch {row['epoch']} {row['split']}: " + ", ".join(values)


def shown_loss(info: StepInfo) -> str:
    """Return the running loss as text; ``?`` while it hasn't been read from the device."""
    return f"{info.terms['total']:.4g}" if "total" in info.terms else "?"


class Pace:
    """Pace of a job's progress lines: one is due after every 5 % of the job, or when the last one is too old.

    That is after 10 s at first, then after 20, 40 ... and at most 600 s.
    """

    def __init__(self, done: float = 0.0) -> None:
        self._next = done + LINE_EVERY
        self._wait = FIRST_WAIT
        self._due = time.monotonic() + self._wait

    def due(self, done: float) -> bool:
        """Return whether a line is due now that a share `done` (0..1) of the job is finished."""
        now = time.monotonic()
        if done < self._next and now < self._due:
            return False
        if now >= self._due:
            self._wait = min(2 * self._wait, LONGEST_WAIT)
        self._next, self._due = done + LINE_EVERY, now + self._wait
        return True


class TimeLeft:
    """Estimate of a job's remaining time, from its speed since its total became known or last changed."""

    def __init__(self) -> None:
        self.made = self._first = self._total = 0
        self._since = 0.0

    def left(self, done: int, total: int) -> str | None:
        """Return in words how long the rest takes after `done` of `total`, None while that can't be estimated.

        A `total` of 0 means that it isn't known yet.
        """
        now = time.monotonic()
        if total != self._total:
            self._since, self._first, self._total = now, done, total
        self.made = done - self._first
        if self.made <= 0 or done >= total or now - self._since < SOON:
            return None
        return f"about {duration((now - self._since) / self.made * (total - done))} left"


class ProgressLines(Callback):
    """Plain lines for each row and, now and then, for the progress and the remaining time.

    They are for logs, in which a progress bar would freeze.
    """

    def on_start(self, run: RunView) -> None:
        self._started = time.monotonic()
        self._clock = TimeLeft()
        self._clock.left(run.steps_done, run.total_steps)
        self._pace = Pace(run.steps_done / run.total_steps)

    def on_step(self, run: RunView, info: StepInfo) -> None:
        done = run.steps_done / run.total_steps
        if self._pace.due(done):
            elapsed = duration(time.monotonic() - self._started)
            left = self._clock.left(run.steps_done, run.total_steps)
            line = f"{done:4.0%} epoch {info.epoch} step {info.step}/{info.steps}, loss {shown_loss(info)}, {elapsed}"
            print(f"{line}, {left}" if left else line, flush=True)

    def on_message(self, run: RunView, message: str) -> None:
        print(shown(message, LONGEST_MESSAGE), flush=True)

    def on_row(self, run: RunView, row: Mapping[str, float | int | str]) -> None:
        print(format_row(row), flush=True)
