"""Closing and growing of holes, growing of near objects in depth: golden results and small drawings."""

from __future__ import annotations

import json
from pathlib import Path

import hypothesis.strategies as st
import pytest
import torch
from hypothesis import given, settings
from safetensors.torch import load_file
from torch import Tensor
from torch.nn import functional as F

from inpaintkit.errors import InputError
from inpaintkit.synthesis import close_hole, dilate_edge, dilate_inner, dilate_outer
from inpaintkit.synthesis.morphology import edge_weight

GOLDEN = Path(__file__).parents[1] / "golden"
TENSORS = load_file(GOLDEN / "morphology.safetensors")
SCALED = json.loads((GOLDEN / "morphology.json").read_text())["effective_iterations_with_base_width"]
GROWN = [name for name in TENSORS if ".inner_" in name or ".outer_" in name]

masks = st.tuples(st.integers(1, 12), st.integers(1, 12), st.integers(0, 9999)).map(
    lambda t: torch.rand(t[0], t[1], generator=torch.Generator().manual_seed(t[2])) < 0.3
)


def mask(*rows: str) -> Tensor:
    return torch.tensor([[c == "o" for c in row] for row in rows])


def pools(hole: Tensor) -> Tensor:
    """Close holes with max pools, as the reference defines it."""
    x = hole.float()[None, None]
    for _ in range(2):
        x = F.max_pool2d(x, 3, stride=1, padding=1)
    for _ in range(2):
        x = -F.max_pool2d(-x, 3, stride=1, padding=1)
    return (x[0, 0] > 0) | hole


@pytest.mark.parametrize("kind", ["binary", "ternary"])
def test_closing_matches_the_reference(kind: str) -> None:
    closed = close_hole(TENSORS[f"{kind}.mask"])
    assert closed.dtype == torch.bool
    assert torch.equal(closed, TENSORS[f"{kind}.mask_closing_k3_n2"] > 0)


@pytest.mark.parametrize("name", GROWN)
def test_growing_matches_the_reference(name: str) -> None:
    kind, what = name.split(".")
    side, iterations, *base = what.split("_")
    grow = dilate_inner if side == "inner" else dilate_outer
    base_width = int(base[0].removeprefix("bw")) if base else None
    grown = grow(TENSORS[f"{kind}.mask"], int(iterations), base_width)
    assert torch.equal(grown, TENSORS[name] > 0)


@pytest.mark.parametrize("case", SCALED, ids=str)
def test_growing_is_scaled_to_the_width(case: dict[str, int]) -> None:
    hole = torch.zeros(1, case["mask_width"], dtype=torch.bool)
    hole[0, 80] = True
    assert dilate_outer(hole, case["n"], case["base_width"]).sum() == 1 + case["iterations"]


@pytest.mark.parametrize("rounds", [1, 2, 4])
def test_edge_dilation_matches_the_reference(rounds: int) -> None:
    grown = dilate_edge(TENSORS["depth"], rounds)
    assert (grown - TENSORS[f"dilate_edge_{rounds}"]).abs().max() <= 1e-5


def test_edge_weight_matches_the_reference() -> None:
    assert (edge_weight(TENSORS["depth"]) - TENSORS["edge_weight"]).abs().max() <= 1e-5


def test_cracks_are_closed_and_wide_gaps_stay() -> None:
    hole = mask("oo....oo.....oo")
    assert torch.equal(close_hole(hole), mask("oooooooo.....oo"))


def test_inner_grows_to_the_left_and_outer_to_the_right() -> None:
    hole = mask(".....", "..o..", ".....")
    assert torch.equal(dilate_inner(hole, 2), mask(".....", "ooo..", "....."))
    assert torch.equal(dilate_outer(hole, 1), mask(".....", "..oo.", "....."))
    assert torch.equal(dilate_outer(hole, 9), mask(".....", "..ooo", "....."))


@settings(max_examples=60, deadline=None)
@given(masks)
def test_closing_by_its_definition(hole: Tensor) -> None:
    closed = close_hole(hole)
    assert torch.equal(closed, pools(hole))
    assert torch.equal(closed | hole, closed)
    assert torch.equal(close_hole(hole.flip(-1)), closed.flip(-1))
    assert torch.equal(close_hole(hole[None, None].expand(2, 1, *hole.shape))[1, 0], closed)


@settings(max_examples=60, deadline=None)
@given(masks, st.integers(0, 5), st.integers(0, 5))
def test_growing_twice_is_growing_further(hole: Tensor, first: int, second: int) -> None:
    assert torch.equal(dilate_inner(dilate_inner(hole, first), second), dilate_inner(hole, first + second))
    assert torch.equal(dilate_inner(hole, first).flip(-1), dilate_outer(hole.flip(-1), first))


def test_edge_dilation_widens_the_near_object_by_about_a_pixel_a_round() -> None:
    depth = torch.zeros(1, 1, 40, 40)
    depth[..., 15:25, 15:25] = 1.0
    widths = [int((dilate_edge(depth, rounds)[0, 0, 20] > 0.5).sum()) for rounds in range(3)]
    assert widths == [10, 12, 14]


def test_edge_dilation_treats_each_picture_alone_and_leaves_flat_depth() -> None:
    depth = TENSORS["depth"].float()
    assert torch.equal(dilate_edge(depth, 2)[1:], dilate_edge(depth[1:], 2))
    flat = torch.full((1, 1, 5, 5), 0.3)
    assert torch.allclose(dilate_edge(flat, 3), flat)
    assert torch.equal(dilate_edge(depth, 0), depth)


def test_negative_amounts_are_refused() -> None:
    with pytest.raises(InputError, match="negative"):
        dilate_inner(mask("o"), -1)
    with pytest.raises(InputError, match="negative"):
        dilate_edge(torch.zeros(1, 1, 3, 3), -1)
