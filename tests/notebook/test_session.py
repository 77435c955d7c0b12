"""The cell after the parameters: it reads what was set, refuses unknown options and describes the run."""

from __future__ import annotations

import dataclasses
import itertools
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from toy_files import write_record

from inpaintkit.config import InspectConfig, TrainConfig
from inpaintkit.errors import InputError
from inpaintkit.notebook import session
from inpaintkit.training import estimate
from inpaintkit.training.estimate import estimate_seconds


@pytest.fixture
def data(tmp_path: Path) -> Path:
    for split in ("train", "eval"):
        write_record(tmp_path / "data" / split, "a", np.zeros((96, 96, 3), np.uint8), np.ones((96, 96)))
    return tmp_path / "data"


def ran(data: Path, *cells: str) -> dict[str, Any]:
    """Return the variables of a notebook after running these cells in order."""
    first = f'preset = "smoke"\ndata_dir = "{data}"\nmodel_dir = "{data.parent / "run"}"\nmax_epoch = None'
    namespace: dict[str, Any] = {"In": ["", first, *cells]}
    for cell in namespace["In"]:
        exec(cell, namespace)
    return namespace


def test_lines_of_the_cell_override_the_preset_and_are_shown(data: Path, capsys: pytest.CaptureFixture[str]) -> None:
    config = session.configure(TrainConfig, ran(data, "batch_size = 3"))
    assert (config.max_epoch, config.crop_size, config.batch_size) == (2, 128, 3)
    said = capsys.readouterr().out.splitlines()
    assert said[0] == "preset smoke, with"
    assert "  batch_size = 3 instead of 2" in said


def test_a_name_that_is_no_option_is_refused(data: Path) -> None:
    with pytest.raises(InputError, match=r"no parameter num_sample \(did you mean num_samples\?\)"):
        session.configure(TrainConfig, ran(data, "num_sample = 5"))


def test_variables_of_other_cells_are_ignored(data: Path) -> None:
    namespace = ran(data) | {"learning_rate": "what a later cell computed"}
    assert session.configure(TrainConfig, namespace).learning_rate == TrainConfig().learning_rate


def test_only_the_last_run_of_a_parameters_cell_counts(data: Path) -> None:
    namespace = ran(data, "num_sampls = 5")
    again = namespace["In"][1] + "\nnum_samples = 5"
    namespace["In"].append(again)
    exec(again, namespace)
    assert session.configure(TrainConfig, namespace).num_samples == 5


def test_values_may_be_computed_even_if_the_cell_held_plain_ones_before(data: Path) -> None:
    namespace = ran(data)
    again = namespace["In"][1] + "\nmax_seconds = 60 * 60\nif max_seconds:\n    crop_size = 4 * 40"
    namespace["In"].append(again)
    exec(again, namespace)
    config = session.configure(TrainConfig, namespace)
    assert (config.max_seconds, config.crop_size) == (3600, 160)
    misspelt = again.replace("crop_size", "crop_sise")
    namespace["In"].append(misspelt)
    exec(misspelt, namespace)
    with pytest.raises(InputError, match="did you mean crop_size"):
        session.configure(TrainConfig, namespace)


def test_the_time_a_training_takes_is_estimated_from_a_step() -> None:
    small = TrainConfig(crop_size=64, perceptual="alex", device="cpu", amp="off", num_samples=100, max_epoch=1)
    seconds = estimate_seconds(small)
    assert 1 < seconds < 1000


@pytest.mark.parametrize(("backward_step", "seconds_per_sample"), [(1, 0.5 + 3 / 2), (4, 0.5 + 3 / 8)])
def test_the_estimate_counts_every_optimiser_update_of_the_training(
    backward_step: int, seconds_per_sample: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = itertools.cycle([0.0, 1.0, 4.0])  # the step takes 1 s for its two samples, the update 3 s
    monkeypatch.setattr(estimate, "time", SimpleNamespace(perf_counter=lambda: next(clock)))
    small = {"crop_size": 64, "perceptual": "alex", "device": "cpu", "amp": "off", "num_samples": 100, "max_epoch": 1}
    config = TrainConfig(**small, batch_size=2, backward_step=backward_step)
    assert estimate_seconds(config) == pytest.approx(100 * seconds_per_sample)


@pytest.mark.parametrize("hours", [0.9, 1.1])
def test_a_watched_run_states_its_duration_and_beyond_an_hour_a_shorter_preset(
    hours: float, data: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(session, "headless", lambda: False)
    monkeypatch.setattr(session, "estimate_seconds", lambda config: 3600 * hours)
    session.configure(TrainConfig, ran(data))
    said = capsys.readouterr().out
    assert "2 epochs of 4 samples: about " in said
    assert ("Choose preset" in said) == (hours > 1)


def test_a_report_whose_folder_another_notebook_took_is_refused(tmp_path: Path) -> None:
    config = InspectConfig(run_dir=str(tmp_path))
    for job in (config, dataclasses.replace(config, seed=1)):
        session.write_params(tmp_path, job)
        session.record(job, {"photos: records": 1})
    with pytest.raises(InputError, match="another notebook has begun a report with other parameters"):
        session.record(config, {"photos: records": 1})
