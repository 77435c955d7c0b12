"""What notebook 03 shows of a fine-tuning: the discriminator's judgement, spectra, epochs and why one was picked."""

from __future__ import annotations

import math
import time
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch

from inpaintkit.config import GanConfig
from inpaintkit.data import InpaintDataset
from inpaintkit.errors import InputError
from inpaintkit.inspection import figures
from inpaintkit.model import LightInpaintV1, save_model
from inpaintkit.seeds import torch_rng
from inpaintkit.training import GanTrainer, row_fill
from inpaintkit.training.gan_epochs import FIGURES, picked_because
from inpaintkit.training.tasks.gan import epoch_score

Row = dict[str, Any]


@pytest.fixture(scope="module")
def gan(records: Path, tmp_path_factory: pytest.TempPathFactory) -> GanTrainer:
    folder = tmp_path_factory.mktemp("gan")
    start = save_model(LightInpaintV1(torch_rng(1), grey_start=True), folder / "start.pth")
    params: Row = {
        "data_dir": str(records), "model_dir": str(folder / "run"), "checkpoint_file": str(start), "crop_size": 128,
        "max_epoch": 1, "num_samples": 2, "batch_size": 2, "backward_step": 1, "perceptual": "alex", "device": "cpu",
        "amp": "off", "generator_warmup_iteration": 0, "eval_records": 2, "compile": True,
    }  # fmt: skip
    trainer = GanTrainer(GanConfig.from_params(params), callbacks=[figures.CurveFile()])
    trainer.fit()
    return trainer


def test_the_map_is_the_ensembles_mean_judgement_minus_that_of_the_truth(gan: GanTrainer) -> None:
    truth, picture = torch.rand(2, 1, 3, 128, 128, generator=torch_rng("picture"))
    found = gan.realness(picture, truth)
    assert found.shape == (1, 1, 12, 12)  # 16 cells of 8 px without a frame of two
    discriminator = gan.setup.task.discriminator.eval()
    weights = (1 / 3, 1 / 6, 1 / 3, 1 / 6)
    with torch.no_grad():
        real, fake = (
            sum(weight * discriminator(x, truth, member=member) for member, weight in enumerate(weights))
            for x in (truth, picture)
        )
    torch.testing.assert_close(found, fake - real)
    assert not gan.realness(truth, truth).any()


def test_maps_spectra_and_epochs_are_drawn(gan: GanTrainer, records: Path) -> None:
    data = InpaintDataset(records / "eval", training=False)
    fills = {"row": row_fill}
    maps = figures.discriminator_maps(data, fills, gan.realness, n=2)
    assert [ax.get_title() for ax in maps.axes[:3]] == ["hole", "truth", "row fill"]
    assert [len(ax.images) for ax in maps.axes[:3]] == [1, 2, 2]
    alike = (
        figures.discriminator_maps(data, fills, lambda pictures, truth: torch.zeros(len(pictures), 1, 4, 4), n=1)
        .axes[1]
        .images[1]
    )
    assert alike.norm(0.0) == 0.5, "neither blue nor red"
    assert alike.get_extent()[::3] == [15.5, 15.5], "from the 17th pixel on"
    spectra = figures.hole_spectra(data, fills, n=2).axes[0]
    assert [line.get_label() for line in spectra.get_lines()[:2]] == ["truth", "row"]
    epochs = figures.gan_epochs(gan.files.csv, picked=1)
    assert [ax.get_title(loc="left") for ax in epochs.axes] == list(FIGURES.values())


def test_curves_are_in_the_run_folder_during_and_after_the_run(
    gan: GanTrainer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert (gan.files.folder / "figures" / "loss_curves.png").stat().st_size > 1000
    curves, view = figures.CurveFile(), SimpleNamespace(folder=tmp_path, csv_file=gan.files.csv)
    curves.on_start(view)
    curves.on_row(view, {"split": "eval"})
    assert not (tmp_path / "figures").exists(), "epochs of half a second would take twice as long"
    monkeypatch.setattr(time, "monotonic", lambda now=time.monotonic(): now + 60)
    curves.on_row(view, {"split": "eval"})
    assert (tmp_path / "figures" / "loss_curves.png").is_file()


def test_ignored_compile_is_reported(gan: GanTrainer) -> None:
    assert "compile: only plain training can use a compiled generator; going on without" in gan.setup.messages


def test_hardest_records_come_with_their_losses(gan: GanTrainer) -> None:
    hardest = gan.hardest(2)
    losses = [loss for _, loss in hardest]
    assert losses == sorted(losses, reverse=True)
    labels = [ax.get_xlabel() for ax in figures.hardest_records(gan.train_set, hardest).axes]
    assert labels[: len(losses)] == [f"loss {loss:.4g}" for loss in losses]
    with pytest.raises(InputError, match="no loss has been seen yet"):
        figures.hardest_records(gan.train_set, [])


def judged(epoch: int, psnr: float, lpips: float, artefact: float, score: float) -> Row:
    figures_ = {"hole_psnr": psnr, "hole_lpips": lpips, "artefact": artefact, "score": score}
    return {"epoch": epoch, "split": "eval", **figures_}


class TestTheReason:
    def test_names_what_changed_and_that_later_epochs_lost_it(self) -> None:
        rows = [judged(0, 25.0, 0.2, 0.5, 0.7), judged(1, 24.9, 0.15, 0.1, 0.25), judged(2, 24.8, 0.16, 0.3, 0.46)]
        said = picked_because(rows, 1)
        assert said.startswith("Epoch 1 was picked: its score 0.25 is the lowest of 2 evaluated epochs")
        assert "PSNR in holes (dB) 25 -> 24.9, LPIPS in holes 0.2 -> 0.15, artefact score 0.5 -> 0.1" in said
        assert said.endswith("The last one, 2, has 0.46.")

    def test_says_when_nothing_got_better(self) -> None:
        rows = [judged(0, 25, 0.2, 0, 0.2), judged(1, 25, 0.3, 0, 0.3)]
        said = picked_because(rows, 1)
        assert said.startswith("Epoch 1 was picked: it is the only epoch evaluated, with a score of 0.3 (")
        assert picked_because(rows[:1], 0) == "No epoch was evaluated after the start, so none was picked."
        assert said.endswith("It is no better than the start by this score.")


def test_an_epochs_score_adds_lpips_grid_and_lost_psnr() -> None:
    assert epoch_score(0.2, 0.08, -0.03) == 0.08  # half a dB may be lost; less pattern than in the truth earns nothing
    assert epoch_score(1.0, 0.08, 0.04) == pytest.approx(0.6)
    assert epoch_score(0.0, 0.08, 0.02) == 0.08  # no more pattern than chance gives
    assert epoch_score(0.0, 0.08, 7.0) == pytest.approx(1.06)
    assert epoch_score(0.0, 0.08, math.nan) == 0.08  # no hole is wide enough for an artefact score
