"""A GAN step on toy tensors: what it draws, when the discriminator counts, and that broken losses change nothing."""

from __future__ import annotations

import dataclasses
import math
from typing import Any

import pytest
import torch
from torch import Tensor

from inpaintkit.config import GanConfig
from inpaintkit.errors import InputError
from inpaintkit.model import LightInpaintV1
from inpaintkit.seeds import torch_rng
from inpaintkit.training.distributed import Group
from inpaintkit.training.progress import StepPlace
from inpaintkit.training.tasks.gan import GanTask
from inpaintkit.training.tasks.plain import PlainTask

SIDE, MARGIN = 96, 16


def gan_task(**changes: Any) -> GanTask:
    config = GanConfig(crop_size=SIDE, perceptual="alex", device="cpu", discriminator="l3c", **changes)
    return GanTask(config, PlainTask(config, LightInpaintV1(torch_rng(1)), "off", "cpu", Group()))


@pytest.fixture(scope="module")
def task() -> GanTask:
    task = gan_task(generator_warmup_iteration=10)
    task.train_mode()
    return task


def place(step: int, updates_done: int) -> StepPlace:
    return StepPlace(seed=0, epoch=1, step=step, update=step, updates_done=updates_done)


def batch() -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Return a sample: a picture with an upright hole, and its truth without the margin."""
    picture, hole = torch.rand(1, 3, SIDE, SIDE, generator=torch_rng("gan")), torch.zeros(1, 1, SIDE, SIDE) > 0
    hole[..., 30:66, 40:56] = True
    return picture * ~hole, hole, picture[..., MARGIN:-MARGIN, MARGIN:-MARGIN], torch.tensor([0])


def test_each_seed_starts_with_a_discriminator_of_its_own() -> None:
    first, again, other = (gan_task(seed=seed).discriminator.state_dict() for seed in (1, 1, 2))
    assert all(torch.equal(weight, again[name]) for name, weight in first.items())
    kernels = [name for name, weight in first.items() if weight.dim() == 4]
    assert not any(torch.equal(first[name], other[name]) for name in kernels)


def test_warming_up_counts_the_updates_of_the_whole_run(task: GanTask) -> None:
    """Not those of the epoch, which would begin without the discriminator. The weight is only averaged while it counts."""
    before = task.adaptive.average
    begun = task.step(batch(), place(12, 0)).terms
    assert float(begun["adversarial_weight"]) == 0
    assert task.adaptive.average == before
    warm = task.step(batch(), place(1, 12)).terms
    assert float(warm["adversarial_weight"]) > 0


def test_each_step_hides_the_8_bit_levels_of_the_truth_with_new_noise(task: GanTask) -> None:
    seen: list[Tensor] = []
    hook = task.discriminator.register_forward_pre_hook(lambda _, given: seen.append(given[0].detach()))
    y = batch()[2]
    for step in (1, 1, 2):
        task.discriminate(y, y, y[:, :1], place(step, 0), torch_rng(0))
    hook.remove()
    first, again, next_step = seen[::2]
    assert torch.equal(first, again)
    assert not torch.equal(first, next_step)


def test_fill_and_truth_are_judged_with_truth_and_hole_of_the_same_place(task: GanTask) -> None:
    y, seen = batch()[2], list[tuple[Tensor, Tensor, Tensor]]()
    mask = torch.nn.functional.pad(y[:, :1], [MARGIN] * 4)  # as large as the crop, and as bright as the truth is red

    def look(_: torch.nn.Module, given: tuple[Tensor, Tensor], named: dict[str, Any]) -> None:
        seen.append((*given, named["mask"]))

    hook = task.discriminator.register_forward_pre_hook(look, with_kwargs=True)
    for seed in range(3):
        task.discriminate(1 - y, y, mask, place(1, 0), torch_rng(seed))
    hook.remove()
    for number, (picture, truth, hole) in enumerate(seen):
        assert float((picture - (truth if number % 2 else 1 - truth)).abs().max()) <= 0.51 / 255
        assert torch.equal(hole, truth[:, :1])
    assert not torch.equal(seen[0][1], seen[2][1]), "the place moves"


def test_a_perfect_fill_costs_both_networks_1_if_paired_and_its_hinge_loss_otherwise(
    task: GanTask, monkeypatch: pytest.MonkeyPatch
) -> None:
    y, seen = batch()[2], list[Tensor]()
    hook = task.discriminator.register_forward_hook(lambda _, given, judged: seen.append(judged[0].detach()))
    found = []
    for name in ("paired", "hinge"):
        monkeypatch.setattr(task, "config", dataclasses.replace(task.config, adversarial_loss=name))
        losses = task.discriminate(y, y, torch.ones_like(y[:, :1]), place(1, 0), torch_rng(0))
        found += [loss.item() for loss in losses]
    hook.remove()
    fake, real = seen[2:]
    apart = 0.5 * (torch.relu(1 - real).mean() + torch.relu(1 + fake).mean())
    assert found == pytest.approx([1, 1, float(-fake.mean()), float(apart)], abs=1e-3)


def test_a_step_without_a_hole_to_judge_keeps_the_adversarial_weight(task: GanTask) -> None:
    x, hole, y, index = batch()
    at_the_edge = torch.zeros_like(hole)
    at_the_edge[..., : MARGIN + 1] = True  # reaches beyond the margin, but not into what the discriminator judges
    task.step((x, hole, y, index), place(1, 12))
    before = task.adaptive.average
    assert float(task.step((x, at_the_edge, y, index), place(2, 12)).terms["adversarial_weight"]) == 0
    assert task.adaptive.average == before


@pytest.mark.parametrize("broken", [0, 1, 2])
def test_a_non_finite_loss_moves_neither_network(broken: int, task: GanTask) -> None:
    x, hole, y, _ = batch()
    for updater in task.updaters:
        updater.optimizer.zero_grad()
    output, mask = task.plain.generate(x, hole)
    total, _ = task.plain.reconstruction(output, y, hole)
    losses = [total, *task.discriminate(output, y, mask, place(1, 12), torch_rng(0))]
    losses[broken] = losses[broken] * math.nan
    assert float(task.add_gradients(output, *losses, warmup=1.0)) == 0
    for network in (task.model, task.discriminator):
        assert all(parameter.grad is None for parameter in network.parameters())
    task.update(place(1, 12))  # an update whose steps all had such a loss


def test_an_epoch_is_ranked_by_psnr_lost_since_the_start(task: GanTask) -> None:
    """Not since the epoch before: half a dB could be lost in each."""

    def row(epoch: int, psnr: float) -> dict[str, Any]:
        return {"epoch": epoch, "split": "eval", "hole_psnr": psnr, "hole_lpips": 0.1, "artefact": 0.0}

    history = [row(0, 25.0), {"epoch": 1, "split": "train"}, row(1, 24.6), {"epoch": 2, "split": "train"}]
    judged, score = task.score(row(2, 24.2), history)
    assert judged["score"] == score == pytest.approx(0.1 + 0.3)
    assert task.score(row(0, 25.0), [])[1] == math.inf, "the start is never picked"
    with pytest.raises(InputError, match="data_dir: none of the chosen evaluation records has a hole farther"):
        task.score(row(0, math.nan), [])  # otherwise no epoch would ever be picked
    task.score(row(2, math.nan), history)  # one that has diverged isn't the records' fault


def test_computing_realness_changes_nothing(task: GanTask, monkeypatch: pytest.MonkeyPatch) -> None:
    y = batch()[2]
    before = {name: value.clone() for name, value in task.discriminator.state_dict().items()}
    first, again = (task.realness(1 - y, y) for _ in range(2))
    assert torch.equal(first, again)
    assert all(torch.equal(value, before[name]) for name, value in task.discriminator.state_dict().items())
    assert not task.realness(y, y).any(), "by pairs the truth is the measure"
    monkeypatch.setattr(task, "config", dataclasses.replace(task.config, adversarial_loss="hinge"))
    assert task.realness(y, y).any()
