"""How often a run in a terminal says how far it is."""

from __future__ import annotations

import itertools

import pytest

from inpaintkit.training import callbacks
from inpaintkit.training.callbacks import Pace


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """Return a list whose only number is the time."""
    now = [0.0]
    monkeypatch.setattr(callbacks.time, "monotonic", lambda: now[0])
    return now


def lines(clock: list[float], seconds: float, steps: int) -> list[float]:
    """Return when lines come in a job of so many seconds and steps."""
    pace, said = Pace(), []
    for step in range(1, steps + 1):
        clock[0] = seconds * step / steps
        if pace.due(step / steps):
            said.append(clock[0])
    return said


def test_a_job_of_many_hours_speaks_within_seconds_and_then_every_ten_minutes(clock: list[float]) -> None:
    said = lines(clock, 34 * 3600, 34 * 3600)
    assert said[0] <= 10
    assert len([second for second in said if second <= 300]) >= 4
    assert max(later - earlier for earlier, later in itertools.pairwise(said)) <= 601


def test_a_short_job_says_a_line_per_twentieth(clock: list[float]) -> None:
    assert 18 <= len(lines(clock, 60, 1000)) <= 21
