"""Who is told of a running job, and plain lines about it for people and log files.

The loop calls these and knows nothing of notebooks; a notebook or a test passes its own.
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
"""Environment variable: ``lines`` asks for plain lines; set for headless runs."""

LINE_EVERY = 0.05  # of a job
FIRST_WAIT, LONGEST_WAIT = 10.0, 600.0  # s
SOON = 2.0
"""Time (s) before which nothing is said about the rest: the first results come together."""


class RunView(Protocol):
    """What callbacks may know of a run."""

    stop: StopRequest
    """Set it to end the run politely."""

    folder: Path

    csv_file: Path
    """One row per epoch and split, a column per figure."""

    total_steps: int

    @property
    def steps_done(self) -> int:
        """Steps behind us, those before a resume included."""


@dataclass(frozen=True)
class StepInfo:
    """One mini-batch: its number within the epoch (from 1), the number of all, the running mean of each term."""

    epoch: int
    step: int
    steps: int
    terms: Mapping[str, float]


class Callback:
    """Base of all callbacks: every hook does nothing. `row` is what also stands in the loss CSV."""

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
    """Return the running loss as text; it may still be on its way from the device."""
    return f"{info.terms['total']:.4g}" if "total" in info.terms else "?"


class Pace:
    """Says when a plain line about a job is due: at every 5 %, and before that 10, 20, 40 ... and at most 600 s after the last."""

    def __init__(self, done: float = 0.0) -> None:
        self._next, self._wait = done + LINE_EVERY, FIRST_WAIT
        self._due = time.monotonic() + self._wait

    def due(self, done: float) -> bool:
        """Return whether a line is due when `done`, a share of 1, of the job is behind us."""
        now = time.monotonic()
        if done < self._next and now < self._due:
            return False
        if now >= self._due:
            self._wait = min(2 * self._wait, LONGEST_WAIT)
        self._next, self._due = done + LINE_EVERY, now + self._wait
        return True


class TimeLeft:
    """How long the rest of a job takes, judged by what was done since it first told its total."""

    def __init__(self) -> None:
        self.made = self._first = self._total = 0
        self._since = 0.0

    def left(self, done: int, total: int) -> str | None:
        """Return in words how long it will take from `done` of `total` on, None as long as that can't be said; 0: not known yet."""
        now = time.monotonic()
        if total != self._total:
            self._since, self._first, self._total = now, done, total
        self.made = done - self._first
        if self.made <= 0 or done >= total or now - self._since < SOON:
            return None
        return f"about {duration((now - self._since) / self.made * (total - done))} left"


class ProgressLines(Callback):
    """One plain line now and then, with the time that is left, and per row: for logs in which a bar would freeze."""

    def on_start(self, run: RunView) -> None:
        self._started, self._clock = time.monotonic(), TimeLeft()
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
