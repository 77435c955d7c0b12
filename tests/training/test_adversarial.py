"""The arithmetic of GAN fine-tuning equals the reference's."""

from __future__ import annotations

import json
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from safetensors.torch import load_file
from torch import Tensor

from inpaintkit.seeds import torch_rng
from inpaintkit.training.adversarial import (
    AdaptiveWeight,
    Mean,
    dequantisation_noise,
    hinge,
    masked_mean,
    moved_window,
    paired,
    ste_clamp,
    warmup_weight,
)
from inpaintkit.training.distributed import Group
from inpaintkit.training.progress import Plan, Progress

GOLDEN = Path(__file__).parents[1] / "golden"
EXPECTED: dict[str, Any] = json.loads((GOLDEN / "gan.json").read_text())
TENSORS = load_file(GOLDEN / "gan.safetensors")


def test_hinge_values() -> None:
    real, fake, mask = TENSORS["real"], TENSORS["fake"], TENSORS["mask"].bool()
    expected = EXPECTED["hinge"]["values"]

    def mean(mask: Tensor | None) -> Mean:
        return torch.mean if mask is None else partial(masked_mean, mask=mask, group=Group())

    def generator(logits: Tensor, mask: Tensor | None = None) -> Tensor:
        return hinge(real, logits, mean(mask))[0]

    def discriminator(mask: Tensor | None = None) -> Tensor:
        return hinge(real, fake, mean(mask))[1]

    computed = {
        "generator(real) without mask": generator(real),
        "generator(fake) without mask": generator(fake),
        "generator(real, mask=mask)": generator(real, mask),
        "discriminator(real, fake, mask)": discriminator(mask),
        "discriminator(real, fake, all-true mask)": discriminator(torch.ones_like(mask)),
        "discriminator(real, fake, all-false mask)": discriminator(torch.zeros_like(mask)),
        "discriminator_loss method with mask=None": discriminator(),
    }
    assert {k: v.item() for k, v in computed.items()} == pytest.approx(expected, rel=1e-6)


def test_pairs_cost_only_where_the_truth_does_not_clearly_beat_its_fill() -> None:
    # as far apart, at another level; no difference
    real, fake = torch.tensor([3.0, -3.0, 0.5]), torch.tensor([0.0, -6.0, 0.5])
    fooled = fake.clone().requires_grad_()
    assert [float(loss) for loss in paired(real[:2], fake[:2], torch.mean)] == [4.0, 0.0]
    assert [float(loss) for loss in paired(real[2:], fake[2:], torch.mean)] == [1.0, 1.0]
    paired(real.requires_grad_(), fooled, torch.mean)[0].backward()
    assert real.grad is None, "the truth isn't the generator's to move"
    assert fooled.grad is not None
    assert (fooled.grad < 0).all()


@pytest.mark.parametrize("side", [40, 44, 96, 156])
def test_a_window_of_whole_cells_starts_at_every_offset_that_fits(side: int) -> None:
    windows = [moved_window(side, side, torch_rng(number)) for number in range(200)]
    rows = {window[0].start for window in windows}
    (size,) = {part.stop - part.start for window in windows for part in window}
    assert size % 8 == 0
    assert size >= 40, "of which a discriminator judges one cell"
    assert size >= side - 15
    assert rows == set(range(min(side - size, 7) + 1))
    assert len({(window[0].start, window[1].start) for window in windows}) > len(rows) or side == 40


def test_soft_masks_count_where_they_are_above_zero() -> None:
    real, fake, mask = TENSORS["real"], TENSORS["fake"], TENSORS["mask"]
    means = (partial(masked_mean, mask=counted, group=Group()) for counted in (0.01 * mask, mask.bool()))
    soft, hard = (hinge(real, fake, mean) for mean in means)
    assert soft == hard


def test_ste_clamp() -> None:
    expected = EXPECTED["ste_clamp"]
    x = torch.tensor(expected["x"], requires_grad=True)
    value = ste_clamp(x)
    value.sum().backward()
    assert value.tolist() == pytest.approx(expected["value"], abs=1e-6)
    assert x.grad is not None
    for at, gradient, wanted in zip(expected["x"], x.grad.tolist(), expected["gradient"], strict=True):
        assert gradient == pytest.approx(wanted) or at in (0, 1)


def test_warmup_tables() -> None:
    for length, table in EXPECTED["warmup"]["tables_by_n"].items():
        for iteration, _, used in table:
            assert warmup_weight(iteration, int(length)) == pytest.approx(used, rel=1e-6)
    assert warmup_weight(0, 0) == EXPECTED["warmup"]["n=0"]


def test_iteration_counter() -> None:
    counter = EXPECTED["iteration_counter"]
    batches = counter["num_samples"] // counter["batch_size"]
    plan = Plan(counter["batch_size"], batches, 1, counter["backward_step"])
    for row in counter["rows"]:
        progress = Progress(epoch=row["epoch"], step=row["epoch_iteration"] - 1)
        assert progress.next_step(0, plan).updates_done == row["iteration"]


@pytest.mark.parametrize("row", EXPECTED["adaptive_weight"]["rows"])
def test_adaptive_weight_is_the_clamped_ratio_of_gradients(row: dict[str, Any]) -> None:
    w = torch.tensor(row["w"], requires_grad=True)
    reconstruction = (torch.tensor(row["a"]) * w).sum().square()
    adversarial = (torch.tensor(row["b"]) * w).sum()
    assert weigh(AdaptiveWeight(), reconstruction, adversarial, w) == pytest.approx(row["weight_norm_mode"], rel=1e-6)


def weigh(
    adaptive: AdaptiveWeight, reconstruction: torch.Tensor, adversarial: torch.Tensor, w: torch.Tensor
) -> float | None:
    """Update the average by the ratio of the two losses' gradients at `w`."""
    lengths = [torch.autograd.grad(loss, w, retain_graph=True)[0].norm() for loss in (reconstruction, adversarial)]
    return adaptive.update(float(lengths[0] / lengths[1]))


def test_adaptive_weight_moves_slowly_and_skips_nan() -> None:
    adaptive = AdaptiveWeight()
    w = torch.tensor(EXPECTED["adaptive_weight_ema"]["w"], requires_grad=True)
    for row in EXPECTED["adaptive_weight_ema"]["sequence"]:
        weight = weigh(adaptive, row["recon_slope"] * w.sum(), row["generator_slope"] * w.sum(), w)
        assert (weight is not None) == row["use_generator_loss"]
        assert adaptive.average == pytest.approx(row["ema_after"], rel=1e-6)
        if weight is not None:
            assert weight == pytest.approx(row["weight"], rel=1e-6)


@given(st.lists(st.floats(min_value=0), min_size=1, max_size=5), st.floats(min_value=0))
def test_adaptive_weight_continues_from_its_state(before: list[float], after: float) -> None:
    adaptive, restored = AdaptiveWeight(), AdaptiveWeight()
    for ratio in before:
        adaptive.update(ratio)
    restored.load_state_dict(adaptive.state_dict())
    assert restored.update(after) == adaptive.update(after)
    assert adaptive.average is not None
    assert 1e-3 <= adaptive.average <= 10


def test_dequantisation_noise_stays_within_half_a_step_and_follows_its_generator() -> None:
    shape = (2, 3, 64, 64)
    noise = dequantisation_noise(shape, torch_rng("noise"))
    assert noise.shape == shape
    assert noise.abs().max() <= 0.5 / 255
    assert noise.std().item() == pytest.approx(1 / 255 / 12**0.5, rel=0.02)
    assert torch.equal(noise, dequantisation_noise(shape, torch_rng("noise")))
    eight_bit = torch.full((1, 3, 8, 8), 77 / 255)
    rounded = ((eight_bit + dequantisation_noise(eight_bit.shape, torch_rng(1))) * 255).round()
    assert (rounded == 77).all()
