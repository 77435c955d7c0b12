"""Holes found by testing what the left eye cannot see, and soft edges made steps."""

from __future__ import annotations

import hypothesis.strategies as st
import pytest
import torch
from hypothesis import given, settings
from torch import Tensor

from inpaintkit.errors import InputError
from inpaintkit.seeds import numpy_rng
from inpaintkit.synthesis import (
    HoleDraw,
    HoleSampler,
    degrade_depth,
    draw_scene,
    edge_width,
    find_hole,
    hidden_hole,
    split_ramps,
)

quick = settings(max_examples=40, deadline=None)
WIDTH = 40


def row(*near: int) -> Tensor:
    """Return depth of one row: far (0) except for the columns `near` (1)."""
    depth = torch.zeros(1, 1, 1, WIDTH)
    depth[..., list(near)] = 1.0
    return depth


def columns(hole: Tensor) -> list[int]:
    return hole.flatten().nonzero().flatten().tolist()


@pytest.mark.parametrize(
    ("pixels", "hole", "convergence"),
    [(0, 0, 0.3), (0.4, 0, 0.3), (1, 1, 0.3), (1.2, 1, 0.3), (3, 3, 0.3), (5.9, 6, 0.3), (2.5, 3, 0), (2.8, 3, 1 / 7)],
)
def test_a_step_opens_a_hole_as_wide_as_its_disparity_from_the_edge_on(
    pixels: float, hole: int, convergence: float
) -> None:
    """Wherever near and far land: on a pixel's centre, between pixels, or on either side of a pixel's border."""
    depth = row(*range(10, 20))
    assert columns(hidden_hole(depth, pixels * 200 / WIDTH, convergence)) == list(range(20, 20 + hole))


def test_a_thin_thing_hides_only_its_own_width() -> None:
    assert columns(hidden_hole(row(10, 11), 6 * 200 / WIDTH, 0.0)) == [16, 17]


@quick
@given(st.integers(0, 10_000), st.floats(0, 20), st.floats(0, 1), st.integers(1, 9), st.integers(1, 40))
def test_batch_equals_loop_and_rows_are_independent(
    key: int, divergence: float, plane: float, height: int, width: int
) -> None:
    depth = torch.rand(2, 1, height, width, generator=torch.Generator().manual_seed(key))
    hole = hidden_hole(depth, divergence, plane)
    assert torch.equal(hole[1:], hidden_hole(depth[1:], divergence, plane))
    assert torch.equal(hole[:, :, -1:], hidden_hole(depth[:, :, -1:], divergence, plane))
    assert not hidden_hole(depth, 0.0, plane).any()
    assert not hidden_hole(torch.full_like(depth, 0.7), divergence, plane).any()


@quick
@given(st.integers(5, 15), st.integers(1, 8), st.integers(1, 8))
def test_hole_grows_with_divergence(left: int, wide: int, steps: int) -> None:
    depth = row(*range(left, left + 10))
    less, more = (hidden_hole(depth, n * 200 / WIDTH, 0.0) for n in (steps, steps + 1))
    assert not (less & ~more).any()
    assert more.sum() == steps + 1


def test_half_precision_changes_nothing_but_rounding() -> None:
    depth = torch.rand(1, 1, 200, 300, generator=torch.Generator().manual_seed(0)).half()
    assert torch.equal(hidden_hole(depth, 5.0, 0.5), hidden_hole(depth.float(), 5.0, 0.5))


SOFT = torch.tensor([0.9, 0.8, 0.7, 0.5, 0.4, 0.3])
"""A ramp from 1 to 0.2 whose middle value lies between its third and its fourth pixel."""


def test_soft_edges_become_steps_at_their_middle() -> None:
    depth = torch.full((1, 1, 60, 60), 0.2)
    depth[..., 20:40, 20:40] = 1.0
    soft = depth.clone()
    soft[..., 20:40, 37:43], soft[..., 20:40, 17:23] = SOFT, SOFT.flip(0)
    assert edge_width(soft).item() == pytest.approx(4.0)  # a range of 0.8, at most 0.2 per pixel
    assert torch.equal(split_ramps(soft), depth)
    assert torch.equal(split_ramps(soft.flip(-1)), depth.flip(-1))
    assert edge_width(torch.cat([soft, 0.1 * soft])).tolist() == pytest.approx([4.0, 4.0]), "each picture on its own"


def picture_of_two_things(blur: float) -> Tensor:
    """Return depth with a sharp square, and one whose edges are blurred by `blur` px."""
    sharp, soft = torch.zeros(2, 1, 1, 60, 120).unbind()
    sharp[..., 15:45, 10:40] = soft[..., 15:45, 80:110] = 1.0
    return torch.maximum(sharp, degrade_depth(soft, blur=blur))


def test_edge_width_is_that_of_the_sharper_strong_steps() -> None:
    assert edge_width(degrade_depth(picture_of_two_things(0.0), blur=2.0)).item() > 3
    assert edge_width(picture_of_two_things(2.0)).item() == 1, "a map with some sharp edges is sharp"
    relief = 0.1 * degrade_depth(picture_of_two_things(0.0), blur=2.0)
    weak = torch.cat([relief, relief, relief, relief, picture_of_two_things(0.0)], dim=-1)
    assert edge_width(weak).item() == 1, "shallow relief has no edges that count"


@pytest.mark.parametrize(("times", "soft"), [(1, False), (2, False), (3, True)])
def test_a_map_much_smaller_than_its_picture_has_soft_edges(times: int, soft: bool) -> None:
    depth, draw, size = picture_of_two_things(0.0), HoleDraw("none", 0.5, 0, 4.0, False), (60 * times, 120 * times)
    holes = [HoleSampler(1, False, method).apply(depth, draw, size) for method in ("auto", "occlusion")]
    assert torch.equal(*holes) is not soft


def test_slopes_beside_soft_edges_of_a_low_picture_stay() -> None:
    """The picture is so low that the reach within which an edge's ends are searched is cut off above and below."""
    depth = torch.linspace(0, 0.5, 24)[:, None].expand(1, 1, 24, 200).clone()
    depth[..., 120:] = 1.0
    soft = degrade_depth(depth, blur=3.0)
    split = split_ramps(soft)
    assert not torch.equal(split, soft)
    assert torch.equal(split[..., :90], soft[..., :90])


def test_wide_soft_edges_become_steps_and_longer_slopes_stay() -> None:
    """The picture is so large that an edge's ends are searched in cells of several pixels."""
    near, far, edge, slope = torch.ones(200), torch.zeros(200), torch.linspace(0, 1, 22), torch.linspace(1, 0, 120)
    edges = torch.cat([far, edge, near, edge.flip(0), far, edge, near])
    depth = torch.cat([edges, slope, far]).expand(1, 1, 720, -1)
    split = split_ramps(depth)
    assert ((split[..., : len(edges)] - 0.5).abs() > 0.49).all()
    assert torch.equal(split[..., len(edges) :], depth[..., len(edges) :])


def test_a_soft_edge_becomes_the_same_step_wherever_it_lies() -> None:
    """Pictures are processed in blocks of rows, here of 81."""
    depth = torch.full((1, 1, 200, 400), 0.2)
    depth[..., 60:100, 150:250] = 1.0
    soft = degrade_depth(depth, blur=1.5)
    split = split_ramps(soft)
    assert ((split - 0.6).abs() > 0.35).all(), "no ramp is left"
    for rows in range(-22, -16):
        assert torch.equal(split_ramps(soft.roll(rows, -2)), split.roll(rows, -2))


def test_steps_slopes_and_level_places_stay() -> None:
    slope = torch.linspace(0, 1, 100).expand(1, 1, 50, 100)
    assert torch.equal(split_ramps(slope), slope)
    beside = torch.linspace(0, 0.6, 120).expand(1, 1, 120, 120).clone()
    beside[..., 70:100, 70:100] = 1.0
    soft = degrade_depth(beside, blur=1.5)  # soft edges elsewhere in the picture turn no slope into steps
    for turned in (soft, soft.transpose(-1, -2)):
        split = split_ramps(turned)
        assert not torch.equal(split, turned)
        assert torch.equal(split[..., :60, :60], turned[..., :60, :60])
    assert torch.equal(split_ramps(0.1 * soft), 0.1 * soft), "nor is shallow relief made of steps"
    step = row(*range(10, 20)).expand(1, 1, 12, WIDTH)
    assert edge_width(step).item() == 1
    assert torch.equal(split_ramps(step), step)
    assert torch.equal(split_ramps(step.clone()[..., :1]), step[..., :1])


def test_smooth_hills_get_no_holes_whether_edges_are_sharp_or_soft() -> None:
    hills = 0.3 + 0.2 * torch.sin(torch.arange(400) / 12).expand(1, 1, 200, 400)
    thing = torch.zeros_like(hills)
    thing[..., 50:150, 150:250] = 1.0
    for blur in (0.0, 1.5):
        depth = degrade_depth(torch.where(thing > 0, 1.0, hills), blur=blur)
        hole = find_hole("auto", depth, 6.0, 0.5)
        assert hole[..., 50:150, 245:270].any(dim=-1).all()
        hole[..., 45:155, 140:270] = False
        assert not hole[..., 16:-16].any()


@pytest.mark.parametrize(("mapper", "edge_dilation"), [("none", 4), ("inv_mul_1", 0), ("mul_1", 2)])
def test_edge_width_is_measured_before_curves_and_growth(mapper: str, edge_dilation: int) -> None:
    draw = HoleDraw(mapper, 0.5, edge_dilation, 6.0, False)
    sharp = draw_scene(numpy_rng(4), (120, 180)).render()[1]
    for depth, alike in ((sharp, True), (degrade_depth(sharp, blur=1.5), False)):
        holes = [HoleSampler(1, False, method).apply(depth, draw, (120, 180)) for method in ("auto", "occlusion")]
        assert torch.equal(*holes) is alike


@quick
@given(st.integers(0, 10_000), st.integers(2, 30), st.integers(2, 30))
def test_mirroring_keeps_the_edge_width(key: int, height: int, width: int) -> None:
    depth = torch.rand(1, 1, height, width, generator=torch.Generator().manual_seed(key))
    assert torch.equal(edge_width(depth), edge_width(depth.flip(-1)))


@quick
@given(st.integers(0, 10_000), st.integers(1, 30), st.integers(1, 30))
def test_split_depth_stays_within_its_range_and_batch_equals_loop(key: int, height: int, width: int) -> None:
    depth = torch.rand(2, 1, height, width, generator=torch.Generator().manual_seed(key))
    split = split_ramps(depth)
    assert split.min() >= depth.min()
    assert split.max() <= depth.max()
    assert torch.equal(split[1:], split_ramps(depth[1:]))


def test_depth_that_is_not_finite_is_refused() -> None:
    with pytest.raises(InputError, match="NaN or infinite"):
        hidden_hole(torch.full((1, 1, 4, 4), torch.nan), 5.0, 0.5)
