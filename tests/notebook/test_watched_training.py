"""Training with a monitor: it runs in a thread, gives the same bits, and an interrupt stops it cleanly."""

from __future__ import annotations

import asyncio
import json
import shutil
import sys
from pathlib import Path

import pytest
import torch

from inpaintkit.config import TrainConfig
from inpaintkit.errors import InputError
from inpaintkit.model import load_model
from inpaintkit.notebook import run_folder, runs, session
from inpaintkit.training import Callback, RunView, StepInfo, Trainer

sys.path.insert(0, str(Path(__file__).parents[1] / "training"))

from toy_data import TINY, write_record


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("data")
    for split in ("train", "eval"):
        for number in range(4):
            write_record(folder / split, number)
    return folder


def trainer(data: Path, folder: Path, callbacks: tuple[Callback, ...] = ()) -> Trainer:
    return Trainer(TrainConfig(data_dir=str(data), model_dir=str(folder), **TINY), callbacks)


@pytest.fixture
def watched(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(session, "headless", lambda: False)


@pytest.mark.usefixtures("watched")
def test_a_watched_training_gives_the_same_weights_bit_by_bit(data: Path, tmp_path: Path) -> None:
    alone = trainer(data, tmp_path / "alone").fit()
    seen = asyncio.run(session.fit(trainer(data, tmp_path / "seen")))
    assert (seen.finished, seen.history) == (True, alone.history)
    weights = [load_model(report.model_file)[0].state_dict() for report in (alone, seen)]
    assert all(torch.equal(weights[0][name], weights[1][name]) for name in weights[0])


@pytest.mark.usefixtures("watched")
def test_an_interrupt_stops_it_after_the_step_and_repeating_resumes(
    data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    class Interrupt(Callback):
        """Cancels the cell, as an interrupted kernel does."""

        def on_step(self, run: RunView, info: StepInfo) -> None:
            loop.call_soon_threadsafe(cell.cancel)

    async def run() -> None:
        nonlocal loop, cell
        loop = asyncio.get_running_loop()
        cell = asyncio.ensure_future(session.fit(trainer(data, tmp_path, (noted(), Interrupt()))))
        await cell

    def noted() -> run_folder.ManifestWriter:
        return run_folder.ManifestWriter(TrainConfig(data_dir=str(data), model_dir=str(tmp_path), **TINY))

    loop: asyncio.AbstractEventLoop
    cell: asyncio.Future[object]
    with pytest.raises(KeyboardInterrupt, match="run this cell again to go on"):
        asyncio.run(run())
    assert "stopping after this step" in capsys.readouterr().out
    assert run_folder.run_manifest(tmp_path)["status"] == "interrupted"
    assert asyncio.run(session.fit(trainer(data, tmp_path, (noted(),)))).finished
    manifest = run_folder.run_manifest(tmp_path)
    assert (manifest["status"], manifest["params"]["num_samples"]) == ("done", TINY["num_samples"])
    assert [call["status"] for call in manifest["before"]] == ["interrupted"]
    assert (tmp_path / "params.yaml").is_file()
    asyncio.run(session.fit(trainer(data, tmp_path, (noted(),))))
    assert run_folder.run_manifest(tmp_path) == manifest, "a finished run is only shown"


def test_a_failure_that_cannot_be_noted_is_still_reported(data: Path, tmp_path: Path) -> None:
    class Fail(Callback):
        def on_step(self, run: RunView, info: StepInfo) -> None:
            shutil.rmtree(run.folder)
            run.folder.touch()  # nothing more can be written there
            raise InputError("the disk is full")

    noted = run_folder.ManifestWriter(TrainConfig(data_dir=str(data), model_dir=str(tmp_path / "run"), **TINY))
    with pytest.raises(InputError, match=r"^the disk is full$"):
        trainer(data, tmp_path / "run", (noted, Fail())).fit()


@pytest.mark.usefixtures("watched")
def test_an_earlier_headless_run_is_not_taken_for_it(
    data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asyncio.run(session.fit(trainer(data, tmp_path)))
    params = TINY | {"data_dir": str(data), "model_dir": str(tmp_path)}
    replaced = {"status": "done", "params": params | {"learning_rate": 0.5}}
    (tmp_path / "manifest.json").write_text(json.dumps(replaced))
    shown: list[str] = []

    def execute_notebook(source: str, target: str, **others: object) -> None:
        shown.append(target)
        Path(target).touch()

    monkeypatch.setattr("papermill.execute_notebook", execute_notebook)
    for _ in range(2):
        runs.execute("02_train", params)
    assert shown == [str(tmp_path / "02_train.ipynb")], "the second time it is known to be done"
    assert run_folder.run_manifest(tmp_path)["params"]["learning_rate"] == 1e-4
    for epochs in (3, 4):
        runs.execute("02_train", params | {"max_epoch": epochs, "resume": True})
    calls = run_folder.run_manifest(tmp_path)["before"]
    assert [call["params"].get("max_epoch") for call in calls] == [2, 2, 3], "what was done on the way"
    assert calls[-1]["status"] == "done"
    (tmp_path / "manifest.json").write_text(json.dumps(run_folder.run_manifest(tmp_path) | {"status": "running"}))
    runs.execute("02_train", params | {"max_epoch": 5, "resume": True})
    assert run_folder.run_manifest(tmp_path)["before"][-1]["status"] == "killed"
