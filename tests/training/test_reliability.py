"""What goes wrong in practice, and what a run then does: never a crash without a sentence, never a lost checkpoint."""

from __future__ import annotations

import errno
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from inpaintkit.config import TrainConfig
from inpaintkit.errors import InputError
from inpaintkit.model import LightInpaintV1, load_state
from inpaintkit.training import Callback, Trainer
from inpaintkit.training.progress import Progress, StepLosses
from inpaintkit.training.trainer import mean_figures

STATE = f"{LightInpaintV1.name}.checkpoint.pth"


def write_record(folder: Path, number: int, size: int = 96, hole: bool = True) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    rng = np.random.default_rng(number)
    mask = np.zeros((size, size), np.uint8)
    mask[20:60, 30:45] = 255 * hole
    Image.fromarray(rng.integers(0, 255, (size, size, 3), np.uint8)).save(folder / f"p_{number}_C.png")
    Image.fromarray(mask).save(folder / f"p_{number}_M.png")


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """Return a data set of one training record and one evaluation record."""
    for split in ("train", "eval"):
        write_record(tmp_path / "data" / split, 0)
    return tmp_path / "data"


def trainer(data: Path, **changes: Any) -> Trainer:
    common = {"crop_size": 64, "max_epoch": 2, "batch_size": 4, "num_samples": 8, "backward_step": 1, "eval_step": 1}
    places = {"data_dir": str(data), "model_dir": str(data.parent / "run"), "device": "cpu", "amp": "off"}
    given = common | {"perceptual": "alex", "grey_start": True} | places | changes
    return Trainer(TrainConfig.from_params(given), callbacks=[])


def test_one_record_is_enough(data: Path) -> None:
    run = trainer(data)
    assert run.fit().finished
    assert run.hardest() == [(0, pytest.approx(float(run.sampler.mean_losses()[0])))]


@pytest.mark.parametrize("split", ["train", "eval"])
def test_an_empty_set_is_refused(split: str, data: Path) -> None:
    shutil.rmtree(data / split)
    (data / split).mkdir()
    with pytest.raises(InputError, match=f"{split} holds no records"):
        trainer(data)


def test_records_without_any_hole_still_train_and_evaluate(data: Path) -> None:
    for split in ("train", "eval"):
        write_record(data / split, 0, hole=False)
    row = trainer(data, max_epoch=1).fit().history[-1]
    assert np.isfinite(float(row["total"]))


def test_a_picture_smaller_than_the_crop_is_named(data: Path) -> None:
    write_record(data / "train", 1, size=60)
    with pytest.raises(InputError, match=r"p_1_C\.png has 60x60 px, less than the crop of 64"):
        trainer(data)


def test_half_a_pair_is_named(data: Path) -> None:
    write_record(data / "train", 1)
    (data / "train" / "p_1_M.png").unlink()
    with pytest.raises(InputError, match=r"p_1_C\.png has no partner"):
        trainer(data)


def test_pictures_and_holes_of_different_size_are_named(data: Path) -> None:
    write_record(data / "train", 1)
    Image.new("L", (80, 96)).save(data / "train" / "p_1_M.png")
    with pytest.raises(InputError, match=r"p_1_C\.png and p_1_M\.png differ in size"):
        trainer(data)


def test_a_record_exchanged_under_a_resume_is_noticed(data: Path) -> None:
    trainer(data, max_seconds=0.0).fit()
    write_record(data / "train", 7)
    for suffix in ("C", "M"):
        (data / "train" / f"p_7_{suffix}.png").rename(data / "train" / f"p_0_{suffix}.png")
    with pytest.raises(InputError, match=r"records in .* have changed"):
        trainer(data, resume=True)


def test_a_full_disk_stops_with_a_sentence_and_the_last_checkpoint_stays(
    data: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    trainer(data, max_seconds=0.0).fit()
    before = load_state(data.parent / "run" / STATE)["inpaintkit_progress"]["steps_done"]
    resumed = trainer(data, resume=True, checkpoint_seconds=0.0)

    def no_room(path: Path, content: object) -> int:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(Path, "write_bytes", no_room)
    with pytest.raises(InputError, match="the disk is full; any older version of the file is unchanged"):
        resumed.fit()
    monkeypatch.undo()
    assert load_state(data.parent / "run" / STATE)["inpaintkit_progress"]["steps_done"] == before
    assert trainer(data, resume=True).fit().finished


def test_steps_with_nan_are_skipped_and_counted_and_move_nothing(data: Path) -> None:
    run = trainer(data, max_epoch=1)
    weights = [parameter.detach().clone() for parameter in run.model.parameters()]
    run._stop = type("NoStop", (), {"signal": None})()
    run._started = run._saved_at = 0.0
    run.criterion.hole_l1_weight = float("nan")
    run._train_epoch()
    assert run.progress.skipped == run.steps_per_epoch
    assert run.progress.means() == {}
    assert all(torch.equal(a, b) for a, b in zip(weights, run.model.parameters(), strict=True))


@pytest.mark.parametrize(
    "options", [{}, {"clip_grad_norm": 1.0}, {"optimizer": "muon"}, {"optimizer": "adamw_schedulefree"}]
)
def test_an_infinite_gradient_under_a_finite_loss_moves_nothing_and_is_said(
    data: Path, options: dict[str, Any]
) -> None:
    class Listener(Callback):
        def on_message(self, trainer: Trainer, text: str) -> None:
            said.append(text)

    said: list[str] = []
    run = trainer(data, max_epoch=2, **options)
    run.callbacks = [Listener()]
    weights = [parameter.detach().clone() for parameter in run.model.parameters()]
    hook = run.model.mask_bias.register_hook(lambda gradient: gradient * float("inf"))
    report = run.fit()
    hook.remove()
    assert all(torch.equal(a, b) for a, b in zip(weights, run.model.parameters(), strict=True))
    assert report.rows("train")[0]["total"] > 0  # the losses themselves were finite
    told = [text for text in said if "gradients were NaN or infinite in 2 moves of the weights" in text]
    assert len(told) == 2  # in each of the two epochs
    assert all(scaler.get_scale() == 1 for scaler in run.scalers)  # so that many of them, over many epochs, do no harm


def test_moves_left_out_before_a_stop_still_count_after_it(data: Path) -> None:
    run = trainer(data, max_seconds=0.0)
    run.model.mask_bias.register_hook(lambda gradient: gradient * float("inf"))
    assert not run.fit().finished
    assert trainer(data, resume=True)._moves_left_out() == 1


def test_ever_infinite_gradients_end_the_run(data: Path) -> None:
    run = trainer(data, num_samples=100, batch_size=1)
    run.model.mask_bias.register_hook(lambda gradient: gradient * float("nan"))
    with pytest.raises(FloatingPointError, match=r"in 100 moves .* lower learning_rate"):
        run.fit()


def test_a_nan_does_not_reach_the_running_mean() -> None:
    progress = Progress()
    for value in (1.0, float("nan"), 3.0):
        progress.add(StepLosses([0, 1], [value, value], {"total": value}))
    assert progress.means() == {"total": 2.0}
    assert progress.skipped == 1


def test_records_without_a_hole_do_not_count_for_hole_figures_but_a_nan_loss_does() -> None:
    nan = float("nan")
    means = mean_figures([{"total": 1.0, "hole_psnr": 20.0}, {"total": 3.0, "hole_psnr": nan}])
    assert means == {"total": 2.0, "hole_psnr": 20.0}
    assert np.isnan(mean_figures([{"total": nan}, {"total": 1.0}])["total"])
