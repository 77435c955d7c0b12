"""What goes wrong in practice: a run never crashes without a clear sentence and never loses a checkpoint."""

from __future__ import annotations

import errno
import itertools
import math
import os
import shutil
from collections.abc import Callable, Collection, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from toy_data import Listener, write_record
from toy_data import tiny_trainer as trainer

from inpaintkit.errors import InputError, RunFailed
from inpaintkit.model import LightInpaintV1, load_state, save_state
from inpaintkit.training import Callback, RunView, Trainer
from inpaintkit.training.evaluation import mean_figures
from inpaintkit.training.metrics import HIGHEST_PSNR
from inpaintkit.training.progress import Progress

pytestmark = [pytest.mark.attack, pytest.mark.slow]

STATE = f"{LightInpaintV1.name}.checkpoint.pth"


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """Return a data set of one training record and one evaluation record."""
    for split in ("train", "eval"):
        write_record(tmp_path / "data" / split, 0)
    return tmp_path / "data"


def test_one_record_is_enough(data: Path) -> None:
    run = trainer(data)
    assert run.fit().finished
    assert run.hardest() == [(0, pytest.approx(float(run.data.sampler.mean_losses()[0])))]


@pytest.mark.parametrize("split", ["train", "eval"])
def test_an_empty_set_is_refused(split: str, data: Path) -> None:
    shutil.rmtree(data / split)
    (data / split).mkdir()
    with pytest.raises(InputError, match=f"{split} holds no records"):
        trainer(data)


def test_the_folder_of_records_itself_is_not_a_data_set(data: Path) -> None:
    with pytest.raises(InputError, match=r"train holds no records .*: give the one above it"):
        trainer(data / "train")


@pytest.mark.skipif(os.geteuid() == 0, reason="root reads everything")
def test_an_unreadable_set_is_not_called_empty(data: Path) -> None:
    (data / "train").chmod(0)
    with pytest.raises(InputError, match=r"^data_dir: no permission to read .*train; change its permissions"):
        trainer(data)
    (data / "train").chmod(0o755)


class TestForeignMasks:
    """Masks of other programs: read as iw3 reads them, refused if they can't be holes."""

    def masks(self, data: Path, change: Callable[[np.ndarray], np.ndarray]) -> None:
        for path in data.rglob("*_M.png"):
            Image.fromarray(change(np.asarray(Image.open(path)))).save(path)

    @pytest.mark.parametrize("value", [1, 127, 255])
    def test_every_value_above_0_is_hole(self, value: int, data: Path) -> None:
        expected = trainer(data).train_set.pixels(0)[3].copy()
        self.masks(data, lambda mask: (mask > 0).astype(np.uint8) * np.uint8(value))
        assert np.array_equal(trainer(data).train_set.pixels(0)[3], expected)

    def test_no_hole_at_all(self, data: Path) -> None:
        self.masks(data, np.zeros_like)
        with pytest.raises(InputError, match=r"none of the 1 masks .* has a hole; a hole is white"):
            trainer(data)

    def test_inverted(self, data: Path) -> None:
        self.masks(data, lambda mask: 255 - mask)
        with pytest.raises(InputError, match=r"1 of 1 masks .* have a hole of more than 75%, .* invert them"):
            trainer(data)

    def test_one_record_without_a_hole_does_no_harm(self, data: Path) -> None:
        write_record(data / "train", 1, hole=False)
        assert trainer(data, max_epoch=1).fit().finished


def test_a_full_disk_stops_with_a_sentence_and_the_last_checkpoint_stays(
    data: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    trainer(data, max_seconds=0.0).fit()
    before = load_state(data.parent / "run" / STATE)["inpaintkit_progress"]["steps_done"]
    resumed = trainer(data, checkpoint_seconds=0.0)

    def no_room(path: Path, content: object) -> int:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(Path, "write_bytes", no_room)
    with pytest.raises(InputError, match="the disk is full; any older version of the file is unchanged"):
        resumed.fit()
    monkeypatch.undo()
    assert load_state(data.parent / "run" / STATE)["inpaintkit_progress"]["steps_done"] == before
    assert trainer(data).fit().finished


def breaks(run: Trainer, steps: Collection[int], value: float = math.inf) -> None:
    """Spoil the gradients of `run` in these steps (from 0)."""
    count = itertools.count()
    run.model.mask_bias.register_hook(lambda gradient: gradient * (value if next(count) in steps else 1.0))


@pytest.mark.parametrize(
    "options", [{}, {"clip_grad_norm": 1.0}, {"optimizer": "muon"}, {"optimizer": "adamw_schedulefree"}]
)
def test_an_infinite_gradient_of_a_finite_loss_is_skipped_and_reported(data: Path, options: dict[str, Any]) -> None:
    heard = Listener()
    run = trainer(data, heard, **options)
    breaks(run, {1, 2})  # the last step of the first epoch, the first one of the second
    report = run.fit()
    for epoch in (1, 2):
        assert heard.heard(f"gradients were NaN or infinite in 1 optimiser step of epoch {epoch}; skipped")
    assert report.skipped_updates == 2
    assert all(torch.isfinite(parameter).all() for parameter in run.model.parameters())


def test_skipped_optimiser_steps_before_a_stop_still_count_after_it(data: Path) -> None:
    run = trainer(data, max_seconds=0.0)
    breaks(run, {0})
    assert not run.fit().finished
    assert trainer(data).fit().skipped_updates == 1


class TestNothingLearnt:
    """A diverged run fails with its reason, however short its epochs are."""

    def test_gradients_that_are_never_finite(self, data: Path) -> None:
        run = trainer(data)
        breaks(run, range(1000), math.nan)
        with pytest.raises(
            RunFailed, match=r"every optimiser step of epoch 1: the training has diverged; lower learning_rate"
        ):
            run.fit()

    def test_losses_that_are_never_finite(self, data: Path) -> None:
        run = trainer(data)
        run.setup.task.criterion.hole_l1_weight = float("nan")
        weights = [parameter.detach().clone() for parameter in run.model.parameters()]
        with pytest.raises(RunFailed, match="the loss was NaN or infinite in every step of epoch 1"):
            run.fit()
        assert all(torch.equal(a, b) for a, b in zip(weights, run.model.parameters(), strict=True))

    def test_many_such_losses_within_an_epoch(self, data: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr("inpaintkit.training.run.MAX_SKIPPED", 2)
        run = trainer(data, num_samples=8)
        run.setup.task.criterion.hole_l1_weight = float("nan")
        with pytest.raises(RunFailed, match="the loss was NaN or infinite in 2 steps of epoch 1"):
            run.fit()

    def test_an_evaluation_loss_that_is_not_finite(self, data: Path) -> None:
        class Spoil(Callback):
            def on_row(self, _: RunView, row: Mapping[str, Any]) -> None:
                if row["split"] == "train":
                    run.model.mask_bias.data.fill_(math.nan)

        run = trainer(data, Spoil())
        with pytest.raises(RunFailed, match="the evaluation loss after epoch 1 is nan: the training has diverged"):
            run.fit()

    def test_a_learning_rate_far_too_large(self, data: Path) -> None:
        with pytest.raises(RunFailed, match=r"lower learning_rate \(now 1e\+09\).* best model so far is in"):
            trainer(data, learning_rate=1e9, max_epoch=4).fit()

    def test_100_skips_in_an_epoch(self, data: Path) -> None:
        """Skipped updates are counted across a stop, and noticed at the next checkpoint, before the epoch's end."""
        options: dict[str, Any] = {"num_samples": 8, "batch_size": 1}
        begun, file = trainer(data, max_seconds=0.0, **options), data.parent / "run" / STATE
        begun.fit()
        save_state(begun.model, file, load_state(file) | {"inpaintkit_skipped_updates": [97]})
        run = trainer(data, checkpoint_seconds=0.0, **options)
        breaks(run, range(1000))
        with pytest.raises(RunFailed, match="in 100 optimiser steps of epoch 1"):
            run.fit()


def test_a_nan_does_not_reach_the_running_mean() -> None:
    progress = Progress()
    for value in (1.0, float("nan"), 3.0):
        progress.add({"total": value}, samples=2)
    assert progress.means() == {"total": 2.0}
    assert progress.skipped == 1


def test_records_without_a_hole_do_not_count_for_hole_figures_but_a_nan_loss_does() -> None:
    nan = float("nan")
    means = mean_figures([{"total": 1.0, "hole_psnr": 20.0}, {"total": 3.0, "hole_psnr": nan}])
    assert means == {"total": 2.0, "hole_psnr": 20.0}
    assert np.isnan(mean_figures([{"total": nan}, {"total": 1.0}])["total"])
    assert np.isnan(mean_figures([{"hole_psnr": nan}])["hole_psnr"])  # a mean of nothing


def test_a_perfect_fill_counts_with_the_highest_psnr() -> None:
    assert mean_figures([{"hole_psnr": math.inf}, {"hole_psnr": 20.0}]) == {"hole_psnr": (HIGHEST_PSNR + 20) / 2}
