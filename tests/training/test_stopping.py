"""Runs stopped from outside, as by batch systems, containers and Ctrl-C: they save, say where, and can be resumed."""

from __future__ import annotations

import dataclasses
import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import torch
from run_trainer import SECONDS, run_training
from toy_data import Listener, tiny

from inpaintkit.config import GanConfig, TrainConfig
from inpaintkit.model import LightInpaintV1, load_model, load_state, save_model
from inpaintkit.seeds import torch_rng
from inpaintkit.training import Callback, GanTrainer, RunView, Trainer
from inpaintkit.training.stopping import STOP_SIGNALS

pytestmark = pytest.mark.attack

STATE = f"{LightInpaintV1.name}.checkpoint.pth"


def params(records: Path, model_dir: Path, **changes: Any) -> dict[str, Any]:
    return tiny(records, model_dir, checkpoint_seconds=1e6, **changes)  # only the stop itself saves


def steps_done(folder: Path) -> int:
    return int(load_state(folder / STATE)["inpaintkit_progress"]["steps_done"])


def start(folder: Path, values: Mapping[str, Any]) -> subprocess.Popen[str]:
    """Start a headless training in `folder`, outside the kit's own folder, with a preset's file and `values`."""
    words = [word for name, value in values.items() for word in ("-p", f"{name}={value}")]
    command = [sys.executable, "-m", "inpaintkit", "run", "02_train", "-f", "02_train.try", *words]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, cwd=folder)


@pytest.mark.slow
def test_sigterm_to_a_headless_run_saves_and_the_same_call_resumes(records: Path, tmp_path: Path) -> None:
    """The signal only reaches the process that was started, not the kernel in which the training runs.

    The preset's file is found by its name, and relative paths start from the command's folder, wherever that is. The
    kernel ends without a message about its loader processes.
    """
    near = os.path.relpath(records, tmp_path)
    values = params(Path(near), Path("run"), num_samples=40, max_epoch=1, grey_start=False, num_workers=1)
    stopped = start(tmp_path, values)
    assert stopped.stdout is not None
    said = ""
    while "epoch 0 eval" not in said:
        line = stopped.stdout.readline()
        assert line, said
        said += line
    assert "preset try, with\n" in said
    assert "  max_epoch = 1 instead of 4" in said
    assert "learning_rate" not in said.partition("preset try")[2].partition("arithmetic")[0], "as in the preset"
    stopped.send_signal(signal.SIGTERM)
    rest, _ = stopped.communicate(timeout=SECONDS)
    place = re.search(r"stopped by SIGINT at epoch (\d+), step (\d+), saved in .*run the same again to continue", rest)
    assert place is not None, rest
    assert stopped.returncode == 130
    assert "Traceback" not in rest, "loader processes end before the kernel does"
    assert json.loads((tmp_path / "run" / "manifest.json").read_text())["status"] == "interrupted"
    assert 1 <= steps_done(tmp_path / "run") < 20
    again = start(tmp_path, values)
    rest, _ = again.communicate(timeout=SECONDS)
    assert again.returncode == 0, rest
    assert f"resumed at epoch {place[1]}, step {place[2]}" in rest
    assert steps_done(tmp_path / "run") == 20
    assert "02_train done in" in rest
    assert json.loads((tmp_path / "run" / "manifest.json").read_text())["status"] == "done"


class StopAt(Callback):
    def __init__(self, step: int) -> None:
        self.step = step

    def on_step(self, run: RunView, info: object) -> None:
        if run.steps_done == self.step:
            os.kill(os.getpid(), signal.SIGTERM)


def test_a_stop_at_the_end_of_an_epoch_does_not_wait_for_the_evaluation(records: Path, tmp_path: Path) -> None:
    """Evaluation may take minutes, a container's grace period is ten seconds; the resumed run catches up on it."""
    values = params(records, tmp_path / "cut")
    cut = Trainer(TrainConfig.from_params(values), [StopAt(2)])
    with pytest.raises(KeyboardInterrupt, match="at epoch 1, step 2"):
        cut.fit()
    assert [row["split"] for row in cut.run.progress.history] == ["eval"]
    resumed = Trainer(TrainConfig.from_params(values), [])
    whole = Trainer(TrainConfig.from_params(values | {"model_dir": str(tmp_path / "whole")}), [])
    assert resumed.fit().finished
    assert whole.fit().finished
    assert resumed.run.progress.history == whole.run.progress.history
    for one, other in zip(resumed.model.parameters(), whole.model.parameters(), strict=True):
        assert torch.equal(one, other)


class StopAtEvaluation(Callback):
    def __init__(self, epoch: int) -> None:
        self.epoch = epoch

    def on_row(self, run: RunView, row: Mapping[str, Any]) -> None:
        if (row["epoch"], row["split"]) == (self.epoch, "eval"):
            os.kill(os.getpid(), signal.SIGTERM)


def test_a_signal_during_the_last_evaluation_is_obeyed_and_nothing_is_left_to_do(records: Path, tmp_path: Path) -> None:
    """After Ctrl-C, what follows the training isn't wanted either."""
    config = TrainConfig.from_params(params(records, tmp_path))
    out_of_time = dataclasses.replace(config, max_seconds=0.0)
    with pytest.raises(KeyboardInterrupt, match="stopped by SIGTERM at epoch 1, step 1, saved in"):
        Trainer(out_of_time, [StopAtEvaluation(1)]).fit()
    with pytest.raises(KeyboardInterrupt, match="stopped by SIGTERM at epoch 3, step 0, saved in"):
        Trainer(config, [StopAtEvaluation(2)]).fit()
    again = Trainer(config, [])
    assert again.found.finished
    assert [row["epoch"] for row in again.fit().rows("eval")] == [0, 1, 2]


def test_after_training_signals_do_what_they_did_before(records: Path, tmp_path: Path) -> None:
    """Even after a stop: Ctrl-C in the next cell must interrupt that cell."""
    before = [signal.getsignal(number) for number in STOP_SIGNALS]
    with pytest.raises(KeyboardInterrupt):
        Trainer(TrainConfig.from_params(params(records, tmp_path)), [StopAt(1)]).fit()
    assert [signal.getsignal(number) for number in STOP_SIGNALS] == before


def test_max_seconds_also_ends_a_run_with_one_step_per_epoch_and_the_same_call_resumes(
    records: Path, tmp_path: Path
) -> None:
    config = TrainConfig.from_params(params(records, tmp_path, num_samples=2, max_epoch=2, max_seconds=0.0))
    for steps, finished in ((1, False), (2, True)):
        run = Trainer(config, [])
        assert run.fit().finished == finished
        assert run.run.steps_done == steps


def test_fine_tuning_stopped_after_every_step_equals_an_uninterrupted_one(records: Path, tmp_path: Path) -> None:
    """Each stop is evaluated and leaves a model, but an evaluation within an epoch can't be picked as an epoch."""
    start = save_model(LightInpaintV1(torch_rng(1), grey_start=True), tmp_path / "start.pth")
    heard, reports = Listener(), []
    for name, seconds in (("whole", None), *[("cut", 0.0)] * 4):
        changes = {
            "checkpoint_file": str(start),
            "crop_size": 72,
            "discriminator": "l3c",
            "learning_rate": 0.01,
            "eval_records": 1,
        }
        values = params(records, tmp_path / name, eval_step=2, max_seconds=seconds, **changes)
        reports.append(GanTrainer(GanConfig.from_params(values), [heard]).fit())
        assert load_model(reports[-1].model_file)[1]["epoch"] == reports[-1].rows("eval")[-1]["epoch"]
    whole, *stopped, end = reports
    assert [report.finished for report in stopped] == [False] * 3
    assert min(float(report.rows("eval")[-1]["score"]) for report in stopped) < whole.best_score, "a stop looked better"
    assert heard.heard("no epoch has been evaluated yet")
    assert all(float(row["discriminator"]) > 0 for row in whole.rows("train")), "of the smallest crops, too"
    assert (end.history, end.best_epoch, end.best_score) == (whole.history, whole.best_epoch, whole.best_score)
    kept = [load_model(report.model_file)[0].parameters() for report in (whole, end)]
    assert all(torch.equal(one, other) for one, other in zip(*kept, strict=True))


def test_max_seconds_counts_from_the_call_of_fit(
    records: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Not from when the trainer was made: loading may take long, or the next cell may be run much later."""
    config = TrainConfig.from_params(params(records, tmp_path, num_samples=2, max_epoch=2, max_seconds=3600.0))
    trainer, clock = Trainer(config, []), time.monotonic
    monkeypatch.setattr(time, "monotonic", lambda: clock() + 7200)
    report = trainer.fit()
    assert report.finished
    assert report.seconds < 3600


@pytest.mark.slow
def test_a_signal_to_the_whole_process_group_leaves_the_loader_workers_alive(records: Path, tmp_path: Path) -> None:
    """Ctrl-C and batch systems also signal the workers, whose death would break the trainer before it has saved."""
    values = params(records, tmp_path / "run", num_samples=8, num_workers=1)
    _, said = run_training(values, 2, "SIGTERM", "group")
    place = re.search(r"stopped by SIGTERM at epoch 1, step (\d+)", said)
    assert place, said
    assert int(place[1]) in (2, 3)  # on a busy machine the process's own signal arrives a moment later
    assert steps_done(tmp_path / "run") == int(place[1])


ENDING = """
import atexit, os, threading
atexit.register(lambda: os._exit(any(thread.name == "watch parent" for thread in threading.enumerate())))
from inpaintkit.training.stopping import StopRequest, obey_parent
obey_parent(StopRequest())
"""


def test_the_watcher_of_the_parent_ends_before_its_process() -> None:
    """Left to Python's own exit, the thread aborted one worker in ten (SIGABRT), after everything was saved."""
    environment = os.environ | {"INPAINTKIT_PARENT": str(os.getpid())}
    assert subprocess.run([sys.executable, "-c", ENDING], env=environment, check=False).returncode == 0
