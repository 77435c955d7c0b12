"""Disks, folders and clocks that fail during a run, and foreign checkpoints: one sentence, nothing lost or mixed."""

from __future__ import annotations

import errno
import fcntl
import os
import resource
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from unittest.mock import Mock, patch

import pytest
import torch
from own_process import OwnProcess
from run_trainer import SECONDS, start_training
from toy_data import TINY, tiny_trainer, write_record

from inpaintkit.errors import InputError
from inpaintkit.files import FolderLock
from inpaintkit.model import LightInpaintV1, load_state
from inpaintkit.training import Callback, RunView, StepInfo
from inpaintkit.training.stopping import PARENT_VARIABLE

pytestmark = pytest.mark.attack

STATE = f"{LightInpaintV1.name}.checkpoint.pth"


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder with ``data``, and ``run``, stopped after its first step."""
    root = tmp_path_factory.mktemp("made")
    for split in ("train", "eval"):
        write_record(root / "data" / split, 0)
    tiny_trainer(root / "data", max_seconds=0.0).fit()
    return root


@pytest.fixture
def data(made: Path, tmp_path: Path) -> Path:
    shutil.copytree(made, tmp_path, dirs_exist_ok=True)
    return tmp_path / "data"


class AtStep(Callback):
    """Callback that does something after a run's second step."""

    def __init__(self, action: Callable[[], object]) -> None:
        self.action = action

    def on_step(self, run: RunView, info: StepInfo) -> None:
        if run.steps_done == 2:
            self.action()


@pytest.fixture
def small_files() -> Iterator[None]:
    """Forbid this process files of more than 1 MiB, as ``ulimit -f`` does."""
    handler, limit = signal.signal(signal.SIGXFSZ, signal.SIG_IGN), resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1 << 20, limit[1]))
    yield
    resource.setrlimit(resource.RLIMIT_FSIZE, limit)
    signal.signal(signal.SIGXFSZ, handler)


def test_file_size_limits_act_like_full_disks(data: Path, small_files: None) -> None:
    state = data.parent / "run" / STATE
    before = state.read_bytes()
    with pytest.raises(InputError, match="the file would be larger than this system allows; any older version"):
        tiny_trainer(data, checkpoint_seconds=0.0).fit()
    assert state.read_bytes() == before
    assert not list(state.parent.glob(".*.tmp"))


def test_a_full_disk_after_a_damaged_checkpoint_keeps_the_intact_one(data: Path, small_files: None) -> None:
    state = data.parent / "run" / STATE
    state.write_bytes(state.read_bytes()[:1000])
    with pytest.raises(InputError, match="the file would be larger than this system allows"):
        tiny_trainer(data, checkpoint_seconds=0.0).fit()
    assert load_state(state)["inpaintkit_progress"]["steps_done"] == 0


@pytest.mark.parametrize("number", [errno.ENOTSUP, errno.ENOLCK, errno.ENOSYS])
def test_lack_of_file_locks_is_reported(number: int, data: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def no_locks(handle: object, operation: int) -> None:
        raise OSError(number, "no locks here")

    monkeypatch.setattr(fcntl, "flock", no_locks)
    with pytest.raises(InputError, match=r"the file system of .*run can't lock files; choose a folder on another one"):
        tiny_trainer(data).fit()


@pytest.mark.parametrize("kind", ["folder", "link", "pipe"])
def test_a_foreign_lock_is_reported_and_left_alone(kind: str, data: Path) -> None:
    lock, victim = data.parent / "run" / ".lock", data.parent / "victim"
    lock.unlink()
    victim.write_text("precious")
    {"folder": lock.mkdir, "link": lambda: lock.symlink_to(victim), "pipe": lambda: os.mkfifo(lock)}[kind]()
    with pytest.raises(InputError, match=r"\.lock can't be used as a lock .*; remove it, it is no file of this kit"):
        tiny_trainer(data).fit()
    assert victim.read_text() == "precious"


def test_a_run_folder_removed_during_a_run_is_written_again(data: Path) -> None:
    run = data.parent / "run"
    report = tiny_trainer(data, AtStep(lambda: shutil.rmtree(run)), checkpoint_seconds=0.0).fit()
    assert report.finished
    assert load_state(run / STATE)["inpaintkit_progress"]["epoch"] == 3
    assert (run / ".lock").is_file()


def test_a_folder_without_its_lock_file_still_has_one_writer(data: Path) -> None:
    run = data.parent / "run"
    assert tiny_trainer(data, AtStep((run / ".lock").unlink), checkpoint_seconds=0.0, max_epoch=2).fit().finished
    with FolderLock(run, "model_dir"):
        (run / ".lock").unlink()
        with FolderLock(run, "model_dir") as second:
            second.keep()
    with FolderLock(run, "model_dir") as first:
        (run / ".lock").unlink()
        with FolderLock(run, "model_dir"), pytest.raises(InputError, match="is in use by process"):
            first.keep()
        first.keep()


def test_two_runs_of_one_folder_never_mix_their_checkpoints(data: Path) -> None:
    run = data.parent / "run"

    def second() -> None:
        (run / ".lock").unlink()
        locks.append(FolderLock(run, "model_dir"))
        locks[0].__enter__()

    locks: list[Any] = []
    before = load_state(run / STATE)["inpaintkit_progress"]["steps_done"]
    with pytest.raises(InputError, match="is in use by process"):
        tiny_trainer(data, AtStep(second)).fit()
    assert load_state(run / STATE)["inpaintkit_progress"]["steps_done"] == before
    locks[0].__exit__(None, None, None)


@pytest.mark.parametrize(
    "key",
    [
        *(
            "train_kwargs",
            "training_state_dict",
            "optimizer_state_dict",
            "scheduler_state_dict",
            "grad_scaler_state_dict",
        ),
        *("inpaintkit_progress", "inpaintkit_sampler", "inpaintkit_amp", "inpaintkit_processes"),
    ],
)
@pytest.mark.parametrize("value", [5, [], {"a": 1}])
def test_a_checkpoint_of_other_types_is_refused_in_one_sentence(key: str, value: Any, data: Path) -> None:
    if (key, value) == ("inpaintkit_processes", 5):
        return  # a valid value
    spoil(data, {key: value})
    with pytest.raises(
        InputError, match=r"the checkpoint in .*run isn't a whole state of this training .*overwrite=True"
    ):
        tiny_trainer(data)


@pytest.mark.parametrize("place", ["weights", "optimiser"])
def test_a_gpu_error_is_not_taken_for_a_damaged_checkpoint(
    place: str, data: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """`load_state_dict` wraps the error of copying weights to the GPU in one of its own."""
    failing = Mock(side_effect=torch.AcceleratorError("CUDA error: unspecified launch failure"))

    def load_weights(model: LightInpaintV1, state: Any) -> object:
        with patch("torch.Tensor.copy_", failing):
            return torch.nn.Module.load_state_dict(model, state)

    if place == "weights":
        monkeypatch.setattr(LightInpaintV1, "load_state_dict", load_weights)
    else:
        monkeypatch.setattr("torch.optim.Optimizer.load_state_dict", failing)
    with pytest.raises(RuntimeError, match="CUDA error: unspecified launch failure"):
        tiny_trainer(data)
    assert failing.called


@pytest.mark.parametrize("change", [{"epoch": -1}, {"step": "x"}, {"sums": 3}, {"history": None}, {"best_score": "x"}])
def test_impossible_progress_is_refused(change: dict[str, Any], data: Path) -> None:
    progress = load_state(data.parent / "run" / STATE)["inpaintkit_progress"]
    spoil(data, {"inpaintkit_progress": progress | change})
    with pytest.raises(InputError, match="isn't a whole state of this training"):
        tiny_trainer(data)


def spoil(data: Path, changes: dict[str, Any]) -> None:
    state = data.parent / "run" / STATE
    torch.save(load_state(state) | changes, state)


def start(data: Path, *signal_at: Any, **environment: str) -> OwnProcess:
    """Start a long training in a process of its own; `signal_at`: step and name of a signal that it sends itself."""
    values = TINY | {"data_dir": str(data), "model_dir": str(data.parent / "own"), "max_epoch": 1000}
    return start_training(values | {"checkpoint_seconds": 0.0}, *signal_at, environment=environment)


def test_a_closed_terminal_saves_first(data: Path) -> None:
    _, said = start(data, 3, "SIGHUP").wait(SECONDS)
    assert "stopped by SIGHUP at epoch 2, step 1, saved in" in said
    assert load_state(data.parent / "own" / STATE)["inpaintkit_progress"]["steps_done"] == 3


def test_a_process_whose_parent_was_killed_saves_and_ends(data: Path) -> None:
    parent = subprocess.Popen([sys.executable, "-S", "-c", "import time; time.sleep(600)"])
    run = start(data, **{PARENT_VARIABLE: str(parent.pid)})
    state, end = data.parent / "own" / STATE, time.monotonic() + SECONDS
    while not state.exists() and time.monotonic() < end:
        time.sleep(0.1)
    parent.kill()
    parent.wait()
    _, said = run.wait(SECONDS)
    assert "stopped by SIGTERM" in said
    assert load_state(state)["inpaintkit_progress"]["steps_done"] > 0
