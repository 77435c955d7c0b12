"""The trainer's promises: what it writes, that it learns, that an interrupted run ends bit for bit like a whole one."""

import csv
import dataclasses
import math
import signal
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import torch
from run_trainer import run_training
from toy_data import tiny

from inpaintkit.config import GanConfig, TrainConfig
from inpaintkit.errors import InputError
from inpaintkit.files import FolderLock
from inpaintkit.model import LightInpaintV1, load_model, load_state, save_model
from inpaintkit.seeds import torch_rng
from inpaintkit.training import GanTrainer, Trainer
from inpaintkit.training.adversarial import moved_window
from inpaintkit.training.progress import StepPlace
from inpaintkit.training.tasks.gan import GanTask

pytestmark = pytest.mark.slow

NAME = LightInpaintV1.name


def small(records: Path, model_dir: Path, **changes: Any) -> dict[str, Any]:
    return tiny(records, model_dir, **{"checkpoint_seconds": 0.0} | changes)


def train(params: dict[str, Any]) -> Trainer:
    trainer = Trainer(TrainConfig.from_params(params), callbacks=[])
    trainer.report = trainer.fit()  # type: ignore[attr-defined]
    return trainer


def assert_same(a: Any, b: Any, where: str = "state") -> None:
    """Compare nested checkpoints bit for bit."""
    if isinstance(a, torch.Tensor):
        assert torch.equal(a, b), where
    elif isinstance(a, Mapping):
        assert a.keys() == b.keys(), where
        for key in a:
            assert_same(a[key], b[key], f"{where}.{key}")
    elif isinstance(a, list | tuple):
        assert len(a) == len(b), where
        for i, pair in enumerate(zip(a, b, strict=True)):
            assert_same(*pair, f"{where}[{i}]")
    else:
        assert a == b or (a != a and b != b), f"{where}: {a} != {b}"


def comparable(folder: Path) -> dict[str, Any]:
    """Return all that a run leaves, except what names its folder or the time of day."""
    state = load_state(folder / f"{NAME}.checkpoint.pth")
    for key in ("updated_at", "train_kwargs"):
        state.pop(key)
    state["best"] = load_model(folder / f"{NAME}.pth")[0].state_dict()
    state["csv"] = (folder / f"loss_{NAME}.csv").read_text()
    return state


@pytest.fixture(scope="module")
def run(records: Path, tmp_path_factory: pytest.TempPathFactory) -> Trainer:
    longer = {"num_samples": 12, "hole_l1_weight": 10.0, "checkpoint_seconds": 1e6}
    folder = tmp_path_factory.mktemp("run")
    return train(small(records, folder, save_epoch=True, max_epoch=3, save_eval_step=1, **longer))


class TestWhatARunLeaves:
    def test_the_best_model_loads_and_says_where_it_comes_from(self, run: Trainer) -> None:
        model, meta = load_model(run.files.model)
        assert isinstance(model, LightInpaintV1)
        assert meta["epoch"] == run.run.progress.best_epoch
        assert meta["config"]["batch_size"] == 2

    def test_the_csv_has_every_epoch_from_the_start(self, run: Trainer) -> None:
        rows = list(csv.DictReader(run.files.csv.read_text().splitlines()))
        assert [(r["epoch"], r["split"]) for r in rows] == [
            ("0", "eval"), ("1", "train"), ("1", "eval"), ("2", "train"), ("2", "eval"), ("3", "train"), ("3", "eval"),
        ]  # fmt: skip
        assert all(float(r["total"]) > 0 and float(r["l1"]) > 0 and float(r["lpips"]) > 0 for r in rows)

    def test_each_epochs_weights_are_kept_when_asked(self, run: Trainer) -> None:
        for epoch in (1, 2, 3):
            assert load_model(run.files.folder / "epoch" / str(epoch) / f"{NAME}.pth")[1]["epoch"] == epoch

    def test_evaluation_pictures_show_every_epoch(self, run: Trainer) -> None:
        assert len({p.name[:9] for p in (run.files.folder / "eval").glob("*.png")}) == 4

    def test_the_evaluation_loss_falls(self, run: Trainer) -> None:
        totals = [float(r["total"]) for r in run.run.progress.history if r["split"] == "eval"]
        assert totals[-1] < totals[0]
        assert run.run.progress.best_score == min(totals)

    def test_each_step_moves_its_pictures_differently(self, run: Trainer) -> None:
        task, batch = run.setup.task, next(run.setup.eval_feed.batches(run.setup.eval_records))
        seen = [float(task.step(batch, StepPlace(0, 1, step, step, step)).terms["total"]) for step in (1, 1, 2, 3, 4)]
        assert seen[0] == seen[1]
        assert len(set(seen)) > 2, "two of three are moved"


RESUMABLE: dict[str, tuple[int, dict[str, Any]]] = {
    "plain": (3, {}),
    # killed between the two steps of an update
    "accumulation, moving average, warm-up, muon": (4, {
        "optimizer": "muon", "backward_step": 2, "num_samples": 6, "ema_decay": 0.8, "warmup_steps": 5, "clip_grad_norm": 1.0,
    }),
    "loader workers, schedule-free": (3, {"num_workers": 2, "optimizer": "adamw_schedulefree", "warmup_steps": 5}),
    "gan": (3, {
        "discriminator": "l3cffce", "generator_warmup_iteration": 2, "optimizer": "adamw_schedulefree", "crop_size": 96,
    }),
}  # fmt: skip
"""The step after which a run is killed, and its options."""


@pytest.mark.parametrize("kind", RESUMABLE)
def test_a_killed_run_ends_as_if_nothing_had_happened(kind: str, records: Path, tmp_path: Path) -> None:
    """Saves on the way and the number of loader workers (0 in the whole run) must not matter either."""
    step, changes = RESUMABLE[kind]
    if kind == "gan":
        start = save_model(LightInpaintV1(torch_rng(1), grey_start=True), tmp_path / "start.pth")
        changes = changes | {"checkpoint_file": str(start)}
    whole, cut = tmp_path / "whole", tmp_path / "cut"
    status, said = run_training(small(records, whole, **changes | {"num_workers": 0, "checkpoint_seconds": 1e6}))
    assert status == 0, said
    status, _ = run_training(small(records, cut, **changes), step, "SIGKILL")
    assert status == -signal.SIGKILL
    assert load_state(cut / f"{NAME}.checkpoint.pth")["inpaintkit_progress"]["steps_done"] in (step - 1, step)
    again = changes | ({"num_workers": 1} if "num_workers" in changes else {})
    status, said = run_training(small(records, cut, **again))
    assert status == 0, said
    assert_same(comparable(whole), comparable(cut))


class TestRefusals:
    def test_resume_without_a_checkpoint(self, records: Path, tmp_path: Path) -> None:
        with pytest.raises(InputError, match="holds no checkpoint"):
            Trainer(TrainConfig.from_params(small(records, tmp_path, resume=True)))

    def test_a_second_run_on_the_same_folder(self, records: Path, tmp_path: Path) -> None:
        trainer = Trainer(TrainConfig.from_params(small(records, tmp_path)), callbacks=[])
        with FolderLock(tmp_path, "model_dir"), pytest.raises(InputError, match="in use by process"):
            trainer.fit()

    def test_gan_without_a_generator(self, records: Path, tmp_path: Path) -> None:
        with pytest.raises(InputError, match="trained generator"):
            GanTrainer(GanConfig.from_params(small(records, tmp_path, checkpoint_file=None, crop_size=72)))


@pytest.fixture(scope="module")
def gan(records: Path, tmp_path_factory: pytest.TempPathFactory) -> GanTrainer:
    folder = tmp_path_factory.mktemp("gan")
    start = save_model(LightInpaintV1(torch_rng(1), grey_start=True), folder / "start.pth")
    params = small(
        records,
        folder / "run",
        checkpoint_file=str(start),
        generator_warmup_iteration=1,
        crop_size=96,
        optimizer="adamw",
        scheduler="cosine_wd",
    )
    trainer = GanTrainer(GanConfig.from_params(params), callbacks=[])
    trainer.fit()
    return trainer


class TestGan:
    def test_every_term_is_logged_by_name(self, gan: GanTrainer) -> None:
        row = next(r for r in gan.run.progress.history if r["split"] == "train")
        assert {"total", "l1", "lpips", "adversarial", "discriminator", "adversarial_weight"} <= row.keys()
        assert float(row["adversarial_weight"]) > 0
        assert float(row["adversarial"]) != 0
        assert float(row["discriminator"]) > 0

    def test_the_picked_epoch_has_the_lowest_score_after_the_start(self, gan: GanTrainer) -> None:
        scores = {r["epoch"]: r["score"] for r in gan.run.progress.history if r["split"] == "eval" and r["epoch"]}
        assert gan.run.progress.best_epoch == min(scores, key=lambda epoch: scores[epoch])
        assert f"**{gan.run.progress.best_epoch}** (picked)" in gan.epoch_table()

    def test_both_networks_moved(self, gan: GanTrainer, tmp_path: Path) -> None:
        elsewhere = dataclasses.replace(gan.config, model_dir=str(tmp_path))
        fresh = GanTrainer(elsewhere, callbacks=[])
        for mine, other in zip(networks(gan), networks(fresh), strict=True):
            assert any(not torch.equal(a, b) for a, b in zip(mine.parameters(), other.parameters(), strict=True))

    def test_both_learning_rates_follow_the_schedule_and_its_changes(self, gan: GanTrainer) -> None:
        done, rate = gan.setup.task, 3e-5
        assert [updater.scheduler.last_epoch for updater in done.updaters] == [2, 2]  # type: ignore[union-attr]
        changed = dataclasses.replace(gan.config, resume=True, max_epoch=8, learning_rate=rate)
        rates = [updater.rates()["learning_rate"] for updater in GanTrainer(changed, callbacks=[]).setup.task.updaters]
        assert rates[0] == rates[1] == pytest.approx(rate * (1 + math.cos(math.pi * 2 / 8)) / 2, rel=1e-2)

    def test_every_member_of_the_discriminator_has_its_turn_and_only_holes_count(self, gan: GanTrainer) -> None:
        task, turns, place = gan.setup.task, list[int](), StepPlace(seed=0, epoch=1, step=1, update=1, updates_done=1)
        assert isinstance(task, GanTask)
        hooks = [
            member.register_forward_pre_hook(lambda *_, number=number: turns.append(number))
            for number, member in enumerate(task.discriminator.get_submodule("desc"))
        ]
        y = next(gan.setup.eval_feed.batches(gan.setup.eval_records))[2][:1]
        for seed in (15, 0, 1, 3):  # whose first numbers are 0.01, 0.42, 0.57 and 0.89
            assert task.discriminate(y, y, torch.zeros_like(y[:, :1]), place, torch_rng(seed)) == (0, 0)
        for hook in hooks:
            hook.remove()
        assert turns == [0, 0, 1, 1, 2, 2, 3, 3], "each judged the fill and the truth"

    def test_the_combined_gradient_is_that_of_the_weighted_sum(self, gan: GanTrainer) -> None:
        """The task differentiates each loss once down to the output; autograd of the sum must agree."""
        task = gan.setup.task
        assert isinstance(task, GanTask)
        x, hole, y, _ = next(gan.setup.eval_feed.batches(gan.setup.eval_records))
        place = StepPlace(seed=0, epoch=1, step=1, update=1, updates_done=1)
        task.train_mode()
        task.plain.updater.optimizer.zero_grad()
        task.adaptive.average = None

        def losses() -> tuple[torch.Tensor, torch.Tensor, torch.Tensor, torch.Tensor]:
            output, mask = task.plain.generate(x, hole)
            total, _ = task.plain.reconstruction(output, y, hole)
            return output, total, *task.discriminate(output, y, mask, place, torch_rng(0))

        weight = float(task.add_gradients(*losses(), warmup=0.5, summed=2))
        found, last = task.plain.last_layer.grad.clone(), task.plain.last_layer
        task.plain.updater.optimizer.zero_grad()
        task.discriminator.eval()  # keeps the spectral norms' vectors as the first pass left them
        _, total, adversarial, _ = losses()
        wanted = [torch.autograd.grad(loss, last, retain_graph=True)[0] for loss in (total, adversarial)]
        torch.testing.assert_close(found, (wanted[0] + weight * wanted[1]) / 2, rtol=2e-2, atol=1e-5)
        ratio = min(float(wanted[0].norm() / wanted[1].norm()), 10.0)
        assert weight == pytest.approx(0.5 * gan.config.discriminator_weight * ratio, rel=2e-2)
        output, total, adversarial, discriminator_loss = losses()
        before = task.adaptive.average
        overflowing = task.add_gradients(output, total, adversarial * 1e30, discriminator_loss, warmup=1.0)
        assert (float(overflowing), task.adaptive.average) == (0, before), "no gradient to balance by"

    def test_a_perfect_fill_looks_like_the_truth_and_one_beyond_white_still_gets_a_gradient(
        self, gan: GanTrainer
    ) -> None:
        task, seen = gan.setup.task, list[torch.Tensor]()
        assert isinstance(task, GanTask)
        y = next(gan.setup.eval_feed.batches(gan.setup.eval_records))[2]
        hook = task.discriminator.register_forward_pre_hook(lambda _, given: seen.append(given[0].detach()))
        for brighter in (0.0, 1.5):
            output = (y + brighter).requires_grad_()
            place = StepPlace(seed=0, epoch=1, step=1, update=1, updates_done=1)
            adversarial, _ = task.discriminate(output, y, torch.ones_like(y[:, :1]), place, torch_rng(0))
        hook.remove()
        rng = torch_rng(0)
        torch.rand((), generator=rng)  # picks the member
        rows, columns = moved_window(y.shape[-2], y.shape[-1], rng)
        assert torch.equal(seen[0], seen[1])
        noise = (seen[0] - y[..., rows, columns]).abs().max()
        assert 0 < float(noise) <= 0.51 / 255, "both with the same noise of half a level"
        assert float(seen[2].max()) < 1.01
        assert torch.autograd.grad(adversarial, output)[0].any()


def networks(trainer: GanTrainer) -> tuple[torch.nn.Module, torch.nn.Module]:
    task = trainer.setup.task
    assert isinstance(task, GanTask)
    return task.model, task.discriminator
