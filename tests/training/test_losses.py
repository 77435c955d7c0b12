"""Losses and pair augmentation equal the reference's values, and their terms add up."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.torch import load_file
from torch import Tensor

from inpaintkit.config import LOSSES
from inpaintkit.errors import InputError
from inpaintkit.seeds import torch_rng
from inpaintkit.training.augment import augment_pair, draw_augmentation, rotate, translate
from inpaintkit.training.losses import RECIPES, DctPart, clamp_l1, create_loss, dct_loss, pad_to_multiple
from inpaintkit.training.repetition import repetition

GOLDEN = Path(__file__).parents[1] / "golden"
EXPECTED = json.loads((GOLDEN / "losses.json").read_text())
TENSORS = load_file(GOLDEN / "losses.safetensors")
# The shipped VGG16 is rounded to float16.
ROUNDED_WEIGHTS = 5e-4
ROUNDED_WEIGHTS_GRADIENT = 5e-3

# the reference's DINOv2 loss isn't documented
GOLDEN_LOSSES = ("l1lpips", "dct", "l1dctlpips")

DCT_PARTS = {
    "dct_full": DctPart(),
    "dct_full_rotate": DctPart(rotated=True),
    "dct_window4": DctPart(window=4),
    "dct_window24": DctPart(window=24),
    "dct_window24_rotate": DctPart(window=24, rotated=True),
    "dct_window32_overlap": DctPart(window=32, overlap=True),
}


def golden_pair(name: str) -> tuple[Tensor, Tensor]:
    target = TENSORS["p3.target"] if name == "p3" else TENSORS["target"]
    return TENSORS[f"{name}.input"].float(), target.float() / 255


@pytest.mark.parametrize("pair", ["p1", "p2", "p3"])
def test_clamp_l1_and_dct_equal_the_golden_values(pair: str) -> None:
    output, target = golden_pair(pair)
    values = EXPECTED["pairs"][pair]["values"]
    assert clamp_l1(output, target).mean().item() == pytest.approx(values["clamp_l1"], rel=1e-5)
    for name, part in DCT_PARTS.items():
        assert dct_loss(output, target, part).mean().item() == pytest.approx(values[name], rel=1e-5), name


@pytest.mark.parametrize(
    ("pair", "name"), [("p1", "dct"), ("p1", "l1lpips"), *(("p3", name) for name in GOLDEN_LOSSES)]
)
def test_total_and_gradient_equal_the_golden_values(pair: str, name: str) -> None:
    output, target = golden_pair(pair)
    output.requires_grad_(True)
    total, _ = create_loss(name)(output, target)
    total.backward()
    lpips = name != "dct"
    value = EXPECTED["pairs"][pair]["values"][f"{name}_total"]
    gradient = EXPECTED["pairs"][pair]["gradients"][name]
    tolerance = ROUNDED_WEIGHTS_GRADIENT if lpips else 1e-3
    assert total.item() == pytest.approx(value, rel=ROUNDED_WEIGHTS if lpips else 1e-5)
    assert output.grad is not None
    assert output.grad.norm().item() == pytest.approx(gradient["input_grad_l2"], rel=tolerance)
    assert output.grad.abs().sum().item() == pytest.approx(gradient["input_grad_abs_sum"], rel=tolerance)


@pytest.mark.parametrize("name", LOSSES)
def test_terms_add_up_to_the_total(name: str, tiny_dinov2: Path) -> None:
    generator = torch_rng("terms")
    output, target = torch.rand(3, 3, 64, 80, generator=generator), torch.rand(3, 3, 64, 80, generator=generator)
    path = tiny_dinov2 if name == "l1dinov2" else None
    loss = create_loss(name, "alex", perceptual_path=path, grid_weight=5.0)
    hole = torch.rand(3, 1, 64, 80, generator=generator) > 0.5
    total, losses = loss(output, target, hole)
    weights = RECIPES[name].weights | {"grid": 5.0}
    assert losses.terms.keys() == {*weights, "total"}
    assert losses.terms["total"].item() == total.item()
    assert sum(w * losses.terms[n].item() for n, w in weights.items()) == pytest.approx(total.item(), rel=1e-5)
    assert losses.per_sample.shape == (3,)
    assert losses.per_sample.mean().item() == pytest.approx(total.item(), rel=1e-5)
    alone, _ = loss(output[1:2], target[1:2], hole[1:2])
    assert losses.per_sample[1].item() == pytest.approx(alone.item(), rel=1e-4)


def test_hole_weight_counts_the_hole_more_often() -> None:
    target = torch.zeros(1, 3, 64, 64)
    output, hole = target.clone(), torch.zeros(1, 1, 64, 64, dtype=torch.bool)
    hole[..., :32] = True
    output[..., :32] = 0.5  # wrong in the hole only
    plain, heavy = (create_loss("l1lpips", "alex", w)(output, target, hole)[1].terms["l1"].item() for w in (1.0, 10.0))
    assert heavy == pytest.approx(10 * plain)
    output = 0.5 - output  # right in the hole, wrong outside
    plain, heavy = (create_loss("l1lpips", "alex", w)(output, target, hole)[1].terms["l1"].item() for w in (1.0, 10.0))
    assert heavy == pytest.approx(plain)


def test_the_weighted_hole_moves_with_the_pictures_whatever_their_size() -> None:
    """Otherwise the weight of a hole would land beside it in two of three steps."""
    output, target = torch.full((1, 3, 72, 60), 0.5), torch.zeros(1, 3, 72, 60)
    hole = torch.zeros(1, 1, 72, 60, dtype=torch.bool)
    hole[..., 20:50, 20:36] = True
    output[~hole.expand_as(output)] = 0  # wrong in the hole only
    plain, heavy = (create_loss("l1lpips", "alex", weight) for weight in (1.0, 10.0))
    for seed in range(6):
        once, often = (loss(output, target, hole, torch_rng(seed))[1].terms["l1"].item() for loss in (plain, heavy))
        assert often == pytest.approx(10 * once, rel=0.05), seed  # when turned, pixels at its rim are only partly in it


def grid_term(error: Tensor, target: Tensor) -> float:
    hole = torch.ones_like(target[:, :1], dtype=torch.bool)
    return create_loss("l1lpips", "alex", grid_weight=1.0)(target + error, target, hole)[1].terms["grid"].item()


def test_the_grid_term_is_the_amplitude_of_only_what_repeats_every_8_px() -> None:
    """Except for the little that a pattern adds to the unevenness of detail within the cell."""
    rng = torch_rng("grid")
    target = torch.rand(1, 3, 80, 80, generator=rng)
    for period in (2, 4, 8):
        tile = torch.randn(1, 3, period, period, generator=rng)
        tile = tile - tile.mean(dim=(2, 3), keepdim=True)
        pattern = 0.05 * tile.repeat(1, 1, 80 // period, 80 // period)
        pattern[..., 78:, :] = 0  # pictures needn't consist of whole cells
        amplitude = pattern[..., :72, :].square().mean().sqrt().item()
        assert repetition(target + pattern, target).item() == pytest.approx(amplitude, rel=0.1), period
        assert amplitude < grid_term(pattern, target) < 1.2 * amplitude, period
    assert grid_term(torch.full((1, 3, 80, 80), 0.2), target) < 1e-4, "a wrong colour is no pattern"
    noise = 0.2 * torch.randn(1, 3, 80, 80, generator=rng)
    assert repetition(target + noise, target).item() < 0.02, "nor is noise"
    waves = 0.2 * torch.sin(torch.arange(80) * 2 * torch.pi / 6).expand(1, 3, 80, 80)
    assert grid_term(waves, target) < 0.02, "nor is another period"


def test_the_grid_term_finds_dots_at_one_place_of_the_cell_whatever_their_sign_and_distance() -> None:
    rng = torch_rng("dots")
    target = 0.2 * torch.rand(1, 3, 160, 160, generator=rng) + 0.4

    def dots(step: int, shift: int = 0) -> Tensor:
        """Return dots of random sign, `step` px apart, each up to `shift` px away from its place."""
        error = torch.zeros(1, 3, 160, 160)
        for row in range(8, 152, step):
            for column in range(8, 152, step):
                down, right = torch.randint(-shift, shift + 1, (2,), generator=rng).tolist()
                sign = 1 if torch.rand(1, generator=rng) < 0.5 else -1
                error[..., row + down, column + right] = 0.5 * sign
        return error

    for step in (8, 16):
        assert grid_term(dots(step), target) > 3 * grid_term(dots(step, shift=4), target), step
    hole = torch.zeros(1, 1, 160, 160, dtype=torch.bool)
    hole[..., :80, :] = True
    error = dots(8) * ~hole
    loss = create_loss("l1lpips", "alex", grid_weight=1.0)
    assert loss(target + error, target, hole)[1].terms["grid"].item() < 0.2 * grid_term(error, target)


def test_the_grid_term_favours_neither_soft_nor_sharp_fills() -> None:
    target = torch.rand(1, 3, 80, 80, generator=torch_rng("texture"))
    soft = 0.3 * (target - target.mean()) + target.mean()
    for fill in (soft, target):
        assert grid_term(fill - target, target) < 0.01
        assert grid_term(0.2 * torch.randn(1, 3, 80, 80, generator=torch_rng("noise")), fill) < 0.05, (
            "noise is no pattern"
        )


def test_unusable_choices_are_refused() -> None:
    with pytest.raises(InputError, match="did you mean l1lpips"):
        create_loss("l1lpip")
    with pytest.raises(InputError, match="hole_l1_weight"):
        create_loss("dct", hole_l1_weight=10)


def test_padding_reflects_and_takes_no_gradient() -> None:
    row = torch.tensor([0.0, 1, 2, 3, 4, 5], requires_grad=True)
    padded = pad_to_multiple(row.expand(1, 1, 16, 6))
    assert padded[0, 0, 0].tolist() == [5, 4, 3, 2, 1, 0, 1, 2, 3, 4, 5, 4, 3, 2, 1, 0]
    padded[0, 0, 0].sum().backward()
    assert row.grad is not None
    assert row.grad.tolist() == [1] * 6


def test_rotation_and_shift_equal_the_golden_pictures() -> None:
    x, angle = TENSORS["rot.x"].float(), EXPECTED["augment"]["angle_degrees"]
    shift = EXPECTED["augment"]["x_shift"], EXPECTED["augment"]["y_shift"]
    torch.testing.assert_close(rotate(x, 45, expand=True), TENSORS["rot.expand45_zeros"], rtol=0, atol=1e-5)
    torch.testing.assert_close(rotate(x, angle), TENSORS["rot.reflect_deg"], rtol=0, atol=1e-5)
    torch.testing.assert_close(translate(x, *shift), TENSORS["rot.translate_reflect"], rtol=0, atol=1e-5)


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 10**6))
def test_augmentation_moves_output_target_and_mask_alike(seed: int) -> None:
    picture = torch.rand(1, 3, 32, 32, generator=torch_rng("picture", seed))
    mask = torch.rand(1, 1, 32, 32, generator=torch_rng("mask", seed)) > 0.5
    output, target, moved = augment_pair(picture, picture.clone(), torch_rng(seed), mask)
    assert torch.equal(output, target)
    assert moved is not None
    assert moved.dtype == torch.bool
    move = draw_augmentation(torch_rng(seed))
    assert torch.equal(output, move(picture))
    assert torch.equal(moved, move(mask.float()) > 0.5)


def test_augmentations_are_equally_frequent_and_within_their_ranges() -> None:
    draws: list[Any] = [draw_augmentation(torch_rng("frequency", i)) for i in range(900)]
    shifts, turns = ([d.keywords for d in draws if getattr(d, "func", None) is kind] for kind in (translate, rotate))
    for count in (len(shifts), len(turns), len(draws) - len(shifts) - len(turns)):
        assert 250 <= count <= 350
    assert {d["shift_x"] for d in shifts} == set(range(-8, 9)) == {d["shift_y"] for d in shifts}
    angles = [d["degrees"] for d in turns]
    assert -15 <= min(angles) < -14
    assert 14 < max(angles) <= 15


def test_positive_shift_moves_right_and_down() -> None:
    dot = torch.zeros(1, 1, 9, 9)
    dot[0, 0, 4, 4] = 1
    moved = translate(dot, shift_x=3, shift_y=-2)
    assert moved[0, 0].nonzero().tolist() == [[2, 7]]


def test_augmentation_changes_the_loss_but_not_in_evaluation() -> None:
    output, target = golden_pair("p3")
    loss = create_loss("dct")
    plain = loss(output, target)[0].item()
    assert loss(output, target)[0].item() == plain
    rotation = next(s for s in range(99) if getattr(draw_augmentation(torch_rng(s)), "func", None) is rotate)
    first, again = (loss(output, target, generator=torch_rng(rotation))[0].item() for _ in range(2))
    assert first == again != plain


def test_a_loss_first_used_in_inference_mode_can_still_train() -> None:
    output, target = torch.rand(2, 1, 3, 41, 43, generator=torch_rng("inference"))  # a size that no other test has
    loss = create_loss("dct")
    with torch.inference_mode():
        judged, _ = loss(output, target)
    trained, _ = loss(output.requires_grad_(), target)
    trained.backward()  # type: ignore[no-untyped-call]
    assert judged.item() == trained.item()
    assert output.grad is not None
    assert output.grad.any()


def test_the_dct_is_exact_in_mixed_precision() -> None:
    """In bf16 its gradient would be off by some 5 %."""
    loss, gradients = create_loss("dct"), []
    target = torch.rand(1, 3, 64, 64, generator=torch_rng("target"))
    for reduced in (False, True):
        output = torch.rand(1, 3, 64, 64, generator=torch_rng("output")).requires_grad_()
        with torch.autocast("cpu", torch.bfloat16, enabled=reduced):
            total, _ = loss(output, target)
        gradients += torch.autograd.grad(total, output)
    assert torch.equal(*gradients)
