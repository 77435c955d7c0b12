"""Muon moves matrices equally far along all directions, and everything else as AdamW does."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from inpaintkit.config import TrainConfig
from inpaintkit.model import DISCRIMINATORS, LightInpaintV1, create_discriminator
from inpaintkit.seeds import torch_rng
from inpaintkit.training.muon import STEP_LENGTH, Muon, orthogonal
from inpaintkit.training.schedule import create_optimizer


@pytest.mark.parametrize("shape", [(3, 8, 32), (1, 32, 8), (2, 16, 16)])
def test_directions_become_about_equally_long(shape: tuple[int, int, int]) -> None:
    matrices = torch.randn(shape, generator=torch_rng(1))
    lengths = torch.linalg.svdvals(orthogonal(matrices).float())
    assert lengths.shape == (shape[0], min(shape[1:]))
    assert float(lengths.max()) < 1.3
    assert float(lengths.median()) > 0.6


def test_the_directions_themselves_stay() -> None:
    """A diagonal matrix keeps its signs and its zeros."""
    gradient = torch.diag(torch.tensor([5.0, -2.0, 1.0]))[None]
    update = orthogonal(gradient).float()[0]
    assert update.diag().sign().tolist() == [1, -1, 1]
    assert float((update - torch.diag(update.diag())).abs().max()) < 1e-2


def test_a_convolution_counts_as_one_matrix() -> None:
    weight = nn.Parameter(torch.zeros(4, 2, 3, 3))
    weight.grad = torch.randn(4, 2, 3, 3, generator=torch_rng(2))
    Muon([{"params": [weight], "matrices": True}], lr=0.1).step()
    moved = weight.detach().reshape(4, 18)
    lengths = torch.linalg.svdvals(moved) / (0.1 * STEP_LENGTH * 18**0.5)
    assert 0.6 < float(lengths.min()) < float(lengths.max()) < 1.3
    u, _, v = torch.linalg.svd(weight.grad.reshape(4, 18), full_matrices=False)
    exact = -(u @ v).flatten()
    assert float(torch.cosine_similarity(moved.flatten(), exact, dim=0)) > 0.97


def test_a_direction_is_kept_until_the_gradient_is_clearly_against_it() -> None:
    """With a Nesterov momentum of 0.95 the first of two gradients still counts 0.46 times as much as the second."""
    weight = nn.Parameter(torch.zeros(2, 2))
    muon = Muon([{"params": [weight], "matrices": True}], lr=0.1)
    for gradient in ((1.0, 1.0), (-0.6, -0.35)):
        before, weight.grad = weight.detach().clone(), torch.diag(torch.tensor(gradient))
        muon.step()
    assert (weight.detach() - before).diag().sign().tolist() == [1, -1]


def test_directions_are_computed_in_bf16_where_the_run_is_and_exactly_elsewhere() -> None:
    """On a processor without bf16 the update would take ten times as long as the rest of the step."""
    moved = {}
    for amp in ("off", "fp16", "bf16"):
        network = nn.Sequential(*(nn.Linear(24, 24, bias=False) for _ in range(3)))
        optimizer = create_optimizer(TrainConfig(optimizer="muon", learning_rate=1.0, weight_decay=0), network, amp)
        for weight in network.parameters():
            nn.init.zeros_(weight)
            weight.grad = torch.randn(24, 24, generator=torch_rng(4))
        optimizer.step()
        moved[amp] = network[1].weight.detach() / (STEP_LENGTH * 24**0.5)
    assert torch.equal(moved["off"], moved["fp16"])
    rounded = moved["off"].bfloat16().float()
    assert float((moved["off"] - rounded).abs().max()) > 1e-4, "float32 has digits that bf16 lacks"
    torch.testing.assert_close(moved["bf16"], moved["off"], rtol=0, atol=0.05)
    assert not torch.equal(moved["bf16"], moved["off"])


def test_an_update_is_as_long_as_one_of_adamw() -> None:
    """So that learning rates can be kept when the optimiser is changed."""
    weight = nn.Parameter(torch.zeros(64, 96))
    weight.grad = torch.randn(64, 96, generator=torch_rng(3))
    Muon([{"params": [weight], "matrices": True}], lr=1.0).step()
    assert float(weight.detach().square().mean().sqrt()) == pytest.approx(STEP_LENGTH, rel=0.25)


def test_non_matrices_move_as_with_torchs_adamw() -> None:
    ours, theirs = (nn.Parameter(torch.linspace(-1, 1, 7)) for _ in range(2))
    muon = Muon([{"params": [ours], "weight_decay": 0.1}], lr=0.01)
    adamw = torch.optim.AdamW([theirs], lr=0.01, weight_decay=0.1)
    for step in range(5):
        for parameter in (ours, theirs):
            parameter.grad = torch.randn(7, generator=torch_rng(4, step))
        muon.step()
        adamw.step()
        torch.testing.assert_close(ours, theirs)


def test_a_weight_without_gradient_stays() -> None:
    moved, still = (nn.Parameter(torch.ones(2, 2)) for _ in range(2))
    moved.grad = torch.eye(2)
    Muon([{"params": [moved, still], "matrices": True, "weight_decay": 0.5}], lr=0.1).step()
    assert torch.equal(still, torch.ones(2, 2))
    assert not torch.equal(moved, torch.ones(2, 2))


def test_all_layers_of_the_generator_but_the_first_and_the_last_are_matrices() -> None:
    model = LightInpaintV1()
    optimizer = create_optimizer(TrainConfig(optimizer="muon"), model)
    groups = {
        key: [name for name, p in model.named_parameters() if any(p is q for q in group["params"])]
        for key, group in zip(("matrices", "plain", "outer"), optimizer.param_groups, strict=True)
    }
    assert groups["outer"] == ["patch.0.weight", "to_image.1.weight"]
    assert all(model.get_parameter(name).ndim >= 2 for name in groups["matrices"])
    assert sum(map(len, groups.values())) == len(list(model.parameters()))
    assert [group["weight_decay"] > 0 for group in optimizer.param_groups] == [True, False, True]


@pytest.mark.parametrize("name", DISCRIMINATORS)
def test_it_moves_every_discriminator(name: str) -> None:
    network = create_discriminator(name, torch_rng(6))
    optimizer = create_optimizer(TrainConfig(optimizer="muon", learning_rate=1e-3), network)
    before = {key: p.detach().clone() for key, p in network.named_parameters()}
    for key, p in network.named_parameters():
        p.grad = torch.randn(p.shape, generator=torch_rng(7, key))
    optimizer.step()
    moved = {key: float((p.detach() - before[key]).abs().max()) for key, p in network.named_parameters()}
    assert all(0 < distance < 0.1 for distance in moved.values())
