"""Optimisers and schedules equal the reference's, survive a restart, and end where the learning rate is lowest."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from inpaintkit.config import TrainConfig
from inpaintkit.model import LightInpaintV1, create_discriminator
from inpaintkit.training.schedule import (
    create_optimizer,
    create_scheduler,
    cycle_length,
    last_epoch,
    restart_schedule,
    weight_decay_groups,
)

EXPECTED: dict[str, Any] = json.loads((Path(__file__).parents[1] / "golden" / "schedule.json").read_text())


class Affine(nn.Module):
    """w * x + b, where only w decays."""

    def __init__(self, case: dict[str, Any]) -> None:
        super().__init__()
        self.layer = nn.Linear(3, 1, bias=False)
        self.layer.weight.data = torch.tensor([case["w0"]])
        self.b = nn.Parameter(torch.tensor(case["b0"]))
        self.case = case

    def loss(self) -> torch.Tensor:
        a, t = torch.tensor(self.case["A"]), torch.tensor(self.case["t"])
        return (a @ self.w + self.b - t).square().sum()

    @property
    def w(self) -> torch.Tensor:
        return self.layer.weight[0]


def epochs_of(config: TrainConfig) -> list[tuple[float, float]]:
    """Return (learning rate, weight decay of the first group) used in each epoch run."""
    optimizer = create_optimizer(config, nn.Linear(2, 2))
    scheduler = create_scheduler(config, optimizer)
    used = []
    for _ in range(last_epoch(config)):
        used.append((optimizer.param_groups[0]["lr"], optimizer.param_groups[0]["weight_decay"]))
        assert optimizer.param_groups[1]["weight_decay"] == 0
        if scheduler is not None:
            optimizer.step()
            scheduler.step()
    return used


@pytest.mark.parametrize("case", EXPECTED["cosine_wd"], ids=lambda c: str(c["max_epoch"]))
def test_cosine_with_weight_decay_equals_the_golden_epochs(case: dict[str, Any]) -> None:
    config = TrainConfig(max_epoch=case["max_epoch"])
    assert cycle_length(config.max_epoch, config.learning_rate_cycles) == case["T_0"]
    for used, (_, rate, decay) in zip(epochs_of(config), case["epochs"], strict=False):
        assert used == pytest.approx((rate, decay), rel=1e-9)


def test_reference_recipe_keeps_its_last_epoch() -> None:
    assert last_epoch(TrainConfig(max_epoch=200)) == EXPECTED["cosine_wd"][0]["adjusted_max_epoch"] == 199


@pytest.mark.parametrize(
    ("max_epoch", "last"), [(30, 30), (12, 12), (13, 12), (100, 100), (10, 10), (7, 7), (3, 3), (1, 1), (201, 200)]
)
def test_other_lengths_end_at_the_lowest_rate_of_a_cycle(max_epoch: int, last: int) -> None:
    used = epochs_of(TrainConfig(max_epoch=max_epoch))
    assert len(used) == last
    assert used[-1][0] == pytest.approx(min(rate for rate, _ in used), rel=1e-9)
    assert used[-1][1] == pytest.approx(max(decay for _, decay in used), rel=1e-9)


def test_without_a_schedule_every_epoch_is_run_at_the_full_rate() -> None:
    for config in (
        TrainConfig(max_epoch=13, scheduler="none"),
        TrainConfig(max_epoch=13, optimizer="adamw_schedulefree"),
    ):
        assert epochs_of(config) == [(1e-4, 0.001)] * 13
    rates = epochs_of(TrainConfig(max_epoch=30, scheduler="cosine"))
    assert {decay for _, decay in rates} == {0.001}
    assert [r for r, _ in rates] == [r for r, _ in epochs_of(TrainConfig(max_epoch=30))]


@pytest.mark.parametrize("kind", ["cosine_wd", "none"])
@pytest.mark.parametrize("done", [0, 1, 5])
def test_a_changed_schedule_resumes_as_if_set_from_the_start(done: int, kind: str) -> None:
    before, after = (TrainConfig(max_epoch=n, learning_rate=r, scheduler=kind) for n, r in ((6, 1e-4), (24, 3e-4)))
    optimizer, used = create_optimizer(before, nn.Linear(2, 2)), []
    scheduler = create_scheduler(before, optimizer)
    for epoch in range(done + 3):
        if epoch == done:
            scheduler = restart_schedule(after, optimizer, done)
        used.append([group[name] for group in optimizer.param_groups for name in ("lr", "weight_decay")])
        optimizer.step()
        if scheduler is not None:
            scheduler.step()
    expected = [[rate, decay, rate, 0] for rate, decay in epochs_of(after)]
    np.testing.assert_allclose(used[done:], expected[done : done + 3], rtol=1e-9)


@pytest.mark.parametrize("name", ["light_inpaint_v1", "l3c", "ffc"])
def test_weight_decay_groups_equal_the_golden_ones(name: str) -> None:
    model: Any = LightInpaintV1() if name == "light_inpaint_v1" else create_discriminator(name)
    decayed, plain = weight_decay_groups(model)
    expected = EXPECTED["weight_decay_groups"][name]
    assert sorted(decayed) == expected["decayed"]
    assert sorted(plain) == expected["not_decayed"]


def test_schedule_free_adamw_equals_the_golden_trace() -> None:
    (case,) = EXPECTED["adamw_schedulefree"]
    config = TrainConfig(optimizer="adamw_schedulefree", learning_rate=case["lr"], weight_decay=case["wd"])
    model = Affine(case)
    optimizer: Any = create_optimizer(config, model)
    for row in case["trace"]:
        optimizer.train()
        loss = model.loss()
        assert loss.item() == pytest.approx(row["loss_before"], rel=1e-6)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        assert model.w.tolist() == pytest.approx(row["train_w"], rel=1e-6)
        optimizer.eval()
        assert model.w.tolist() == pytest.approx(row["eval_w"], rel=1e-6)
        assert model.b.tolist() == pytest.approx(row["eval_b"], rel=1e-6)
