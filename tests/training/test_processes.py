"""Several processes on one run: the same curve as one process with all their samples, one run folder, clean ends."""

from __future__ import annotations

import os
import shutil
import signal
from pathlib import Path
from typing import Any
from unittest.mock import Mock

import pytest
import torch
from toy_data import Listener, tiny

from inpaintkit.config import GanConfig, TrainConfig
from inpaintkit.errors import InputError, RunFailed
from inpaintkit.files import FolderLock
from inpaintkit.model import LightInpaintV1, load_state, save_model
from inpaintkit.seeds import torch_rng
from inpaintkit.training import Callback, GanTrainer, RunView, Trainer
from inpaintkit.training.__main__ import main
from inpaintkit.training.distributed import Group, join_group
from inpaintkit.training.progress import Plan
from inpaintkit.training.resume import take_progress

pytestmark = pytest.mark.slow

STATE = f"{LightInpaintV1.name}.checkpoint.pth"
FLOAT_NOISE = 2e-3
"""Tolerance for sums in another order, whose differences grow over some steps of Adam."""


def assert_same_curve(one: Trainer, other: Trainer) -> None:
    rows, others = one.run.progress.history, other.run.progress.history
    assert [(r["epoch"], r["split"]) for r in rows] == [(r["epoch"], r["split"]) for r in others]
    for row, twin in zip(rows, others, strict=True):
        assert row.keys() == twin.keys()
        for name in row.keys() - {"epoch", "split"}:
            assert twin[name] == pytest.approx(row[name], rel=FLOAT_NOISE, abs=1e-4), (row["epoch"], name)


@pytest.mark.parametrize(
    ("device", "gpus", "words"),
    [
        ("cuda", 1, "processes: 2 need a GPU each, and this machine has 1"),
        ("cuda:0", 2, "device: cuda:0 can't serve 2"),
        ("mps", 0, "device: mps can't serve 2 processes; use processes=1 or device=cpu"),
    ],
)
def test_processes_without_own_gpus_are_refused(
    records: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, device: str, gpus: int, words: str
) -> None:
    monkeypatch.setattr("torch.cuda.is_available", lambda: True)
    monkeypatch.setattr("torch.backends.mps.is_available", lambda: True)
    monkeypatch.setattr("torch.cuda.device_count", lambda: gpus)
    monkeypatch.setattr("torch.cuda.get_device_capability", lambda device: (9, 0))
    with pytest.raises(InputError, match=words):
        Trainer(TrainConfig.from_params(tiny(records, tmp_path, device=device, processes=2)), callbacks=[])


@pytest.fixture
def torchrun(monkeypatch: pytest.MonkeyPatch) -> Mock:
    """Make this process the second of two on a machine with two GPUs; return what stands for torch.distributed."""
    monkeypatch.setattr("torch.cuda.is_available", lambda: True)
    monkeypatch.setattr("torch.cuda.device_count", lambda: 2)
    monkeypatch.setattr("torch.cuda.get_device_capability", lambda device: (9, 0))
    for name, value in {"WORLD_SIZE": "2", "RANK": "1", "LOCAL_RANK": "1", "LOCAL_WORLD_SIZE": "2"}.items():
        monkeypatch.setenv(name, value)
    dist = Mock(**{"get_rank.return_value": 1, "get_world_size.return_value": 2})
    monkeypatch.setattr("inpaintkit.training.distributed.dist", dist)
    return dist


def test_processes_on_the_cpu_leave_the_gpu_alone(torchrun: Mock, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("torch.cuda.set_device", lambda number: pytest.fail("a GPU was taken"))
    with join_group("cpu") as group:
        assert group.gradients is None


def test_a_process_that_fails_doesnt_wait_for_the_others(torchrun: Mock, monkeypatch: pytest.MonkeyPatch) -> None:
    """NCCL's orderly shutdown waits for all processes, while the others wait for this one's gradients."""
    taken = []
    monkeypatch.setattr("torch.cuda.set_device", taken.append)
    with join_group("cuda") as group:
        assert taken == [group.local_rank] == [1]
    torchrun.new_group().abort.assert_not_called()
    with pytest.raises(RunFailed, match="no memory"), join_group("cuda"):
        raise RunFailed("no memory")
    assert [name for name, *_ in torchrun.mock_calls][-2:] == ["new_group().abort", "destroy_process_group"]


THREADS_AT_THE_END = """
import atexit, os, pathlib
def note():
    names = {path.read_text().strip() for path in pathlib.Path("/proc/self/task").glob("*/comm")}
    pathlib.Path(__file__).with_name("rank" + os.environ["RANK"]).write_text(" ".join(names))
if "RANK" in os.environ:
    atexit.register(note)
"""


@pytest.fixture
def ends(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return a folder in which each process of a training writes the names of its threads at its end (on Linux)."""
    folder = tmp_path / "ends"
    folder.mkdir()
    (folder / "sitecustomize.py").write_text(THREADS_AT_THE_END)
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(folder), os.environ.get("PYTHONPATH", "")]))
    return folder


def test_two_processes_have_the_curve_of_one_with_the_doubled_batch(records: Path, tmp_path: Path, ends: Path) -> None:
    changes = {"backward_step": 2, "num_samples": 12, "clip_grad_norm": 1.0, "ema_decay": 0.5, "warmup_steps": 3}
    one = Trainer(TrainConfig.from_params(tiny(records, tmp_path / "one", **changes, batch_size=4)), callbacks=[])
    one.fit()
    heard = Listener()
    shutil.copytree(tmp_path / "one", tmp_path / "two")  # an older run, to be moved out of the way
    options = tiny(records, tmp_path / "two", **changes, processes=2, overwrite=True)
    two = Trainer(TrainConfig.from_params(options), [heard])
    assert not two.hardest(), "a look at the records beforehand"
    report = two.fit()
    assert report.finished
    assert report.steps == 6
    assert [file.name for file in (tmp_path / "two" / "old").glob("*/*.checkpoint.pth")] == [STATE]
    assert two.run.steps_done == 6
    assert heard.said.count(report.closing_words()) == 1
    assert [" left" in line for line in heard.said if line.startswith("100%")] == [False], "at its end no time is left"
    assert_same_curve(one, two)
    assert [(row["epoch"], row["split"]) for row in heard.rows] == [
        (row["epoch"], row["split"]) for row in two.run.progress.history
    ]
    for name, weight in load_state(tmp_path / "one" / STATE)["training_state_dict"].items():
        twin = load_state(tmp_path / "two" / STATE)["training_state_dict"][name]
        torch.testing.assert_close(twin, weight, rtol=1e-3, atol=1e-5)
    assert torch.allclose(one.data.sampler.weights, two.data.sampler.weights, rtol=1e-3)
    # a thread of the process group left at Python's exit sometimes aborts the process
    left = [(ends / f"rank{rank}").read_text() for rank in range(2)]
    assert not any("gloo" in names for names in left), left


class StopButton(Callback):
    """A stop button, pressed at the training's own first message; torch may print some before."""

    def on_message(self, run: RunView, message: str) -> None:
        run.stop.asked |= message.startswith("arithmetic")


def test_gan_in_two_processes_resumes_in_one(records: Path, tmp_path: Path) -> None:
    """Stopped by a button after a step, two processes leave what one leaves; one with the doubled batch continues."""
    start = str(save_model(LightInpaintV1(torch_rng(1), grey_start=True), tmp_path / "start.pth"))
    gan = {
        "crop_size": 96,
        "max_epoch": 1,
        "num_samples": 8,
        "generator_warmup_iteration": 1,
        "discriminator": "l3cffce",
    }

    def trainer(folder: str, *callbacks: Callback, **changes: Any) -> GanTrainer:
        return GanTrainer(GanConfig.from_params(tiny(records, tmp_path / folder, **gan, **changes)), callbacks)

    whole = trainer("whole", checkpoint_file=start, batch_size=4)
    whole.fit()
    cut = trainer("cut", StopButton(), checkpoint_file=start, processes=2)
    report = cut.fit()
    assert not report.finished
    assert [(row["epoch"], row["split"]) for row in report.history] == [(0, "eval"), (1, "eval")]
    assert report.summary()["hole_psnr_after"] == report.history[-1]["hole_psnr"]
    assert report.model_file.exists(), "the next cells of the notebook use it"
    assert cut.run.steps_done == 1
    resumed = trainer("cut", resume=True, batch_size=4)
    resumed.fit()
    assert_same_curve(whole, resumed)
    assert float(whole.run.progress.history[1]["discriminator"]) > 0


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"\xff\x00 no text", "can't be read"),
        (b"[" * 9999, "can't be read"),
        (b"- 1", "must hold one"),
        (b"7: 1", "must hold one"),
    ],
)
def test_a_file_that_holds_no_parameters_is_refused_in_one_sentence(
    content: bytes, said: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "run.yaml").write_bytes(content)
    with pytest.raises(SystemExit, match="2"):
        main(["--config", str(tmp_path / "run.yaml")])
    assert f"inpaintkit: --config: {tmp_path / 'run.yaml'} {said}" in capsys.readouterr().out


SLOW_DISK = """
import atexit, os, pathlib, time
here, rank = pathlib.Path(__file__).parent, os.environ.get("RANK")
def slow(handle, fsync=os.fsync):
    os.fsync = fsync
    time.sleep(3)
    fsync(handle)
    (here / "written").touch()
def note():
    (here / "ended").write_text("in time" if (here / "written").exists() else "before the state was written")
if rank == "0":
    os.fsync = slow
if rank == "1":
    atexit.register(note)
"""
"""Imported first by Python: slows the disk for the writing process's first file; the other process notes its end."""


class StopOnceUnderWay(Listener):
    def on_message(self, run: RunView, message: str) -> None:
        self.said.append(message)
        if "resumed at" in message:
            os.kill(os.getpid(), signal.SIGTERM)


def test_a_stop_signal_reaches_all_processes_and_none_ends_before_they_have_saved(
    records: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The run was begun by one process, with the batches of both.

    When the first process ends, torchrun ends the others: with a slow disk, that was once the one still saving.
    """
    options = tiny(records, tmp_path / "run", num_samples=4000, max_epoch=1, checkpoint_seconds=1e6)
    begun = options | {"batch_size": 4, "max_seconds": 0.0}
    assert not Trainer(TrainConfig.from_params(begun), callbacks=[]).fit().finished
    (tmp_path / "sitecustomize.py").write_text(SLOW_DISK)
    monkeypatch.setenv("PYTHONPATH", str(tmp_path), prepend=":")
    listener = StopOnceUnderWay()
    with pytest.raises(KeyboardInterrupt, match="SIGTERM at epoch 1, step"):
        Trainer(TrainConfig.from_params(options | {"processes": 2}), [listener]).fit()
    assert len(set(listener.said)) == len(listener.said)
    assert not listener.heard("Traceback"), listener.said
    assert (tmp_path / "ended").read_text() == "in time"
    state = load_state(tmp_path / "run" / STATE)
    assert state["inpaintkit_processes"] == 2
    assert state["inpaintkit_progress"]["steps_done"] > 1


def test_the_last_words_of_a_crashed_process_are_reported(
    records: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And its place in the code; not only torchrun's own report, which has some twenty lines."""
    (tmp_path / "sitecustomize.py").write_text(
        "import os\n"
        "def crash(handle):\n"
        "    print('the disk burns', flush=True)\n"
        "    os.abort()\n"
        "if os.environ.get('RANK') == '0':\n"
        "    os.fsync = crash\n"
    )
    monkeypatch.setenv("PYTHONPATH", str(tmp_path), prepend=":")
    trainer = Trainer(TrainConfig.from_params(tiny(records, tmp_path / "run", processes=2)), callbacks=[])
    with pytest.raises(RunFailed, match=r"(?s)the disk burns.*Fatal Python error: Aborted.*line 4 in crash"):
        trainer.fit()


def test_a_refusal_in_a_process_is_one_sentence(records: Path, tmp_path: Path) -> None:
    listener = Listener()
    trainer = Trainer(TrainConfig.from_params(tiny(records, tmp_path, processes=2)), [listener])
    with FolderLock(tmp_path, "model_dir"), pytest.raises(InputError, match="in use by process"):
        trainer.fit()
    assert not listener.heard("Traceback"), listener.said


class TestShares:
    """What each process trains on, checked by eye: two processes, steps of two samples each."""

    def test_a_step_is_split_in_order(self) -> None:
        items = list(range(12))
        assert Group(0, 2).share(items, chunk=2) == [0, 1, 4, 5, 8, 9]
        assert Group(1, 2).share(items, chunk=2) == [2, 3, 6, 7, 10, 11]

    def test_a_last_step_that_is_not_full_is_split_evenly(self) -> None:
        assert [Group(rank, 2).share(list(range(6)), chunk=2) for rank in (0, 1)] == [[0, 1, 4], [2, 3, 5]]

    def test_one_process_takes_all(self) -> None:
        assert Group().share([3, 1, 2], chunk=2) == [3, 1, 2]


def test_fewer_processes_resume_at_the_same_sample(records: Path, tmp_path: Path) -> None:
    Trainer(TrainConfig.from_params(tiny(records, tmp_path, num_samples=8, max_seconds=0.0)), callbacks=[]).fit()
    state = load_state(tmp_path / STATE) | {"inpaintkit_processes": 2}
    progress = take_progress(state, Plan(samples_per_step=2, steps_per_epoch=4, last_epoch=2, backward_step=1))
    assert (progress.step, progress.steps_done) == (2, 2)  # of 4 steps; two processes had done 1 of 2
    shorter = take_progress(state, Plan(samples_per_step=1, steps_per_epoch=3, last_epoch=2, backward_step=1))
    assert (shorter.step, shorter.steps_done) == (3, 3), "of 3 samples the epoch has seen all: 4 are behind it"
