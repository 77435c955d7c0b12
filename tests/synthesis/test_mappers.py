"""Depth curves: golden results, mixes, chains, names."""

from __future__ import annotations

import json
from pathlib import Path

import hypothesis.strategies as st
import pytest
import torch
from hypothesis import given, settings

from inpaintkit.errors import InputError
from inpaintkit.synthesis import MAPPER_MEANINGS, MAPPERS, map_depth

FACTS = json.loads((Path(__file__).parents[1] / "golden" / "mappers.json").read_text())
POINTS = torch.tensor(FACTS["x_float32"], dtype=torch.float64)


@pytest.mark.parametrize("name", FACTS["mappers"])
def test_curve_matches_the_reference(name: str) -> None:
    stored = FACTS["mappers"][name]
    assert (map_depth(POINTS.float(), name) - torch.tensor(stored["float32"])).abs().max() <= 1e-6
    exact = torch.tensor(stored["float64"], dtype=torch.float64)
    assert (map_depth(POINTS, name) - exact).abs().max() <= 1e-9


def test_every_single_curve_of_the_reference_is_there() -> None:
    assert set(MAPPERS) == {name for name in FACTS["mappers"] if not set(name) & set("+:=")}


def test_each_curve_has_its_own_description() -> None:
    assert set(MAPPER_MEANINGS) == set(MAPPERS)
    assert len(set(MAPPER_MEANINGS.values())) == len(MAPPERS)


@pytest.mark.parametrize("family", [("inv_mul_3", "inv_mul_2", "inv_mul_1", "none", "mul_1", "mul_2", "mul_3"),
                                    ("shift_045", "shift_06", "shift_08", "none", "shift_14", "shift_20", "shift_30"),
                                    ("none", "div_25", "div_10", "div_6", "div_4", "div_2", "div_1")])  # fmt: skip
def test_later_curves_of_a_family_make_near_things_stand_out_more(family: tuple[str, ...]) -> None:
    """As `MAPPER_MEANINGS` says: middle depth moves back."""
    middle = [float(map_depth(torch.tensor([0.5]), name)) for name in family]
    assert middle == sorted(middle, reverse=True)


@pytest.mark.parametrize("name", MAPPERS)
def test_curve_keeps_the_ends_and_the_order(name: str) -> None:
    depth = torch.linspace(0, 1, 1001, dtype=torch.float64)
    mapped = map_depth(depth, name)
    assert mapped[[0, -1]].tolist() == pytest.approx([0.0, 1.0], abs=1e-9)
    assert (mapped.diff() > 0).all()


@settings(max_examples=40, deadline=None)
@given(st.sampled_from(MAPPERS), st.sampled_from(MAPPERS), st.floats(0, 1))
def test_a_mix_lies_between_and_a_chain_applies_the_left_curve_first(first: str, second: str, weight: float) -> None:
    a, b = map_depth(POINTS, first), map_depth(POINTS, second)
    mixed = map_depth(POINTS, f"{first}+{second}={weight}")
    assert torch.allclose(mixed, a * (1 - weight) + b * weight, atol=1e-12)
    assert torch.equal(map_depth(POINTS, f"{first}:{second}"), map_depth(a, second))


def test_mixes_of_a_chain_are_separate() -> None:
    chain = map_depth(POINTS, "none+mul_1=0.3:mul_2+mul_3=0.6")
    assert torch.equal(chain, map_depth(map_depth(POINTS, "none+mul_1=0.3"), "mul_2+mul_3=0.6"))


def test_half_precision_is_computed_in_float32() -> None:
    depth = POINTS.to(torch.float16)
    assert torch.equal(map_depth(depth, "div_6"), map_depth(depth.float(), "div_6"))


@pytest.mark.parametrize(
    ("name", "hint"),
    [
        ("mul1", "did you mean mul_1"),
        ("div_6:dif_6", "did you mean div_6"),
        ("none+pow3=0.5", "did you mean pow2"),
        ("auto", "choose one of"),
        ("", "choose one of"),
        ("none+mul_1", "a mix without a weight"),
        ("none+mul_1=much", "a mix without a weight"),
        ("none+mul_1=1.5", "a mix without a weight"),
    ],
)
def test_unknown_names_are_refused_with_a_hint(name: str, hint: str) -> None:
    with pytest.raises(InputError, match=hint):
        map_depth(POINTS, name)
