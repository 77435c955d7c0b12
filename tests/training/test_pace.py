"""How often a run in a terminal reports its progress."""

from __future__ import annotations

import itertools
from types import SimpleNamespace
from typing import Any

import pytest

from inpaintkit.text import duration
from inpaintkit.training import callbacks
from inpaintkit.training.callbacks import Pace, ProgressLines, StepInfo


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """Return a list whose only element is the current time."""
    now = [0.0]
    monkeypatch.setattr(callbacks.time, "monotonic", lambda: now[0])
    return now


def lines(clock: list[float], seconds: float, steps: int) -> list[float]:
    """Return the times at which lines are printed in a job of that many seconds and steps."""
    pace, said = Pace(), []
    for step in range(1, steps + 1):
        clock[0] = seconds * step / steps
        if pace.due(step / steps):
            said.append(clock[0])
    return said


def test_a_long_job_reports_within_seconds_and_then_every_ten_minutes(clock: list[float]) -> None:
    said = lines(clock, 34 * 3600, 34 * 3600)
    assert said[0] <= 10
    assert len([second for second in said if second <= 300]) >= 4
    assert max(later - earlier for earlier, later in itertools.pairwise(said)) <= 601


def test_a_short_job_reports_every_twentieth(clock: list[float]) -> None:
    assert 18 <= len(lines(clock, 60, 1000)) <= 21


def test_the_time_left_of_a_resumed_run_counts_only_its_own_steps(
    clock: list[float], capsys: pytest.CaptureFixture[str]
) -> None:
    """Not by those before the stop, which took no time in this call."""
    run: Any = SimpleNamespace(steps_done=80, total_steps=100)
    lines = ProgressLines()
    lines.on_start(run)
    run.steps_done, clock[0] = 85, 300.0  # a minute a step
    lines.on_step(run, StepInfo(epoch=9, step=5, steps=10, terms={"total": 0.5}))
    assert f"85% epoch 9 step 5/10, loss 0.5, {duration(300)}, about {duration(900)} left" in capsys.readouterr().out
