"""Layered scenes: exact results computed by hand, and properties that hold for every scene."""

from __future__ import annotations

import math
from dataclasses import replace

import hypothesis.strategies as st
import pytest
import torch
from hypothesis import given, settings
from torch import Tensor

from inpaintkit.config import HOLE_METHODS
from inpaintkit.errors import InputError
from inpaintkit.seeds import numpy_rng
from inpaintkit.synthesis import Layer, Scene, degrade_depth, draw_scene, find_hole, forward_warp
from inpaintkit.synthesis.scenes import Outline, blob, ellipse, everywhere, polygon, twig

SIZE = (32, 100)
few = settings(max_examples=12, deadline=None)


def plain(level: float, size: tuple[int, int] = SIZE) -> Tensor:
    return torch.full((3, *size), level)


def rectangle(left: float, right: float, depth: float, level: float = 1.0) -> Layer:
    """Return a level rectangle over columns left..right of rows 8..23."""
    corners = [(left - 0.5, 7.5), (right + 0.5, 7.5), (right + 0.5, 23.5), (left - 0.5, 23.5)]
    return Layer(polygon(corners), (depth, 0.0, 0.0), plain(level))


def board(*layers: Layer) -> Scene:
    return Scene(SIZE, (Layer(everywhere, (0.0, 0.0, 0.0), plain(0.2)), *layers))


def columns(hole: Tensor, row: int = 16) -> list[int]:
    return hole[0, 0, row].nonzero().flatten().tolist()


# In a picture 100 px wide, depth 1 moves by half of the divergence in px.


@pytest.mark.parametrize(("divergence", "width"), [(0, 0), (2, 1), (8, 4), (9, 4), (20, 10)])
def test_hole_right_of_a_rectangle_is_as_wide_as_its_disparity(divergence: float, width: int) -> None:
    hole = board(rectangle(40, 59, 1.0)).hidden_from_left(divergence, 0.5)
    assert columns(hole) == list(range(60, 60 + width))
    assert columns(hole, 7) == columns(hole, 24) == []


def test_thin_thing_hides_only_its_own_width() -> None:
    assert columns(board(rectangle(40, 42, 1.0)).hidden_from_left(20, 0.0)) == [50, 51, 52]


def test_near_things_hide_less_of_what_stands_just_behind_them() -> None:
    scene = board(rectangle(60, 80, 0.5), rectangle(40, 59, 1.0))
    assert columns(scene.hidden_from_left(20, 0.0)) == [60, 61, 62, 63, 64, 81, 82, 83, 84, 85]


def test_slanted_layer_hides_by_the_depth_at_its_border() -> None:
    slanted = Layer(rectangle(40, 59, 0).outline, (-1.975, 0.05, 0.0), plain(1.0))  # depth 1 at x = 59.5, its border
    assert columns(board(slanted).hidden_from_left(8, 0.0)) == [60, 61, 62, 63]


def test_picture_depth_and_views_show_the_layers_where_they_are() -> None:
    scene = board(rectangle(40, 59, 1.0))
    picture, depth = scene.render()
    assert columns(depth > 0.5) == columns(picture[:, :1] > 0.9) == list(range(40, 60))
    left, right = scene.view("left", 20, 0.0), scene.view("right", 20, 0.0)
    assert columns(left[:, :1] > 0.9) == list(range(50, 70))
    assert columns(right[:, :1] > 0.9) == list(range(30, 50))
    assert torch.equal(scene.view("left", 20, 1.0)[:, :1, :, 40:60] > 0.9, picture[:, :1, :, 40:60] > 0.9)


def test_a_soft_border_is_mixed_over_its_width_and_depth_jumps_in_its_middle() -> None:
    picture, depth = board(replace(rectangle(40, 59, 1.0), softness=6.0)).render()
    assert columns((picture[:, :1] > 0.21) & (picture[:, :1] < 0.99)) == [*range(37, 43), *range(57, 63)]
    assert columns(depth > 0.5) == list(range(40, 60))


def test_things_have_the_shapes_that_were_asked_for() -> None:
    def inside(outline: Outline, *points: tuple[float, float]) -> list[bool]:
        return [bool(outline(torch.tensor([[x]]), torch.tensor([[y]])) < 0) for x, y in points]

    ends = ((18.0, 0.0), (0.0, 4.0), (22.0, 0.0), (0.0, 6.0))
    assert inside(ellipse((0, 0), (20, 5), 0), *ends) == [True, True, False, False]
    assert inside(ellipse((0, 0), (20, 5), math.pi / 4), (9, 9), (9, -9)) == [True, False], (
        "turned to the right and down"
    )
    assert inside(blob((0, 0), 12.5, [(0.6, 0.0)]), *ends) == [True, True, False, False]
    notched = polygon([(0, 0), (10, 0), (10, 10), (5, 4), (0, 10)])
    assert inside(notched, (5, 3), (1, 7), (9, 7), (5, 6)) == [True, True, True, False]


def test_a_texture_is_mirrored_beyond_its_borders() -> None:
    layer = Layer(everywhere, (0.0, 0.0, 0.0), torch.linspace(0, 1, 11).expand(3, 11, 11))
    assert layer.colour_at(torch.tensor([[-2.0, 2.0, 13.0]]), torch.tensor([[5.0]]))[0, 0].tolist() == pytest.approx(
        [0.2, 0.2, 0.7]
    )


def test_left_view_shows_what_the_picture_hides() -> None:
    texture = torch.linspace(0, 1, SIZE[1]).expand(3, *SIZE).clone()
    scene = Scene(SIZE, (Layer(everywhere, (0.0, 0.0, 0.0), texture), rectangle(40, 59, 1.0, 0.0)))
    seen = scene.view("left", 20, 0.0)
    assert torch.allclose(seen[0, :, 16, 40:50], texture[:, 16, 40:50], atol=1e-5)


@few
@given(st.integers(0, 10_000))
def test_same_key_same_scene_and_depth_in_range(key: int) -> None:
    first, second = (draw_scene(numpy_rng(key), (48, 64)) for _ in range(2))
    assert torch.equal(first.render()[0], second.render()[0])
    picture, depth = first.render()
    assert picture.shape == (1, 3, 48, 64)
    assert depth.shape == (1, 1, 48, 64)
    assert 0 <= picture.min() <= picture.max() <= 1
    assert 0 <= depth.min() <= depth.max() <= 1
    assert not first.hidden_from_left(0.0, 0.5).any()


@few
@given(st.integers(0, 10_000), st.floats(0, 1))
def test_truth_does_not_depend_on_the_screen_plane(key: int, convergence: float) -> None:
    scene = draw_scene(numpy_rng(key), (48, 64))
    different = scene.hidden_from_left(6.0, 0.5) != scene.hidden_from_left(6.0, convergence)
    assert different.sum() <= 2  # rounding at subpixels


@few
@given(st.integers(0, 10_000))
def test_warped_picture_is_the_exact_view_but_for_holes_and_borders(key: int) -> None:
    scene = draw_scene(numpy_rng(key), (96, 128))
    picture, depth = scene.render()
    warped, hole = forward_warp(picture, depth, 6.0, 0.5, "left")
    close = (warped - scene.view("left", 6.0, 0.5)).abs().amax(1, keepdim=True) < 0.1
    assert close[..., 8:-8][~hole[..., 8:-8]].float().mean() > 0.9


def test_textures_are_used_and_may_be_small() -> None:
    scene = draw_scene(numpy_rng(1), (64, 96), [torch.ones(3, 20, 20)] * 20)
    assert (scene.render()[0][0] == 1).all(0).float().mean() > 0.5


def test_degraded_depth_has_soft_edges_where_they_were() -> None:
    _, depth = board(rectangle(40, 59, 1.0)).render()
    assert torch.equal(degrade_depth(depth), depth)
    for soft in (degrade_depth(depth, blur=2.0), degrade_depth(depth, factor=3.0)):
        assert soft.shape == depth.shape
        ramp = soft[0, 0, 16, 52:68]
        assert (ramp.diff() <= 1e-6).all()
        assert ((ramp > 0.1) & (ramp < 0.9)).sum() >= 3
        assert (ramp > 0.5).sum() == pytest.approx(8, abs=1)


@pytest.mark.parametrize("soft", [{}, {"blur": 1.0}])
def test_other_methods_are_closer_to_truth_than_the_reference(soft: dict[str, float]) -> None:
    overlap = dict.fromkeys(HOLE_METHODS, 0.0)
    for key in range(4):
        scene = draw_scene(numpy_rng("quality", key), (180, 270))
        depth = degrade_depth(scene.render()[1], **soft)
        exact = scene.hidden_from_left(6.0, 0.5)
        for name in HOLE_METHODS:
            hole = find_hole(name, depth, 6.0, 0.5)
            overlap[name] += float((hole & exact).sum() / (hole | exact).sum()) / 4
    assert overlap["occlusion"] > overlap["warp_back"]
    assert overlap["auto"] > overlap["warp_back"] + 0.1


def test_impossible_scenes_are_refused() -> None:
    with pytest.raises(InputError, match="too small for a scene"):
        draw_scene(numpy_rng(0), (20, 100))
    for slant in (-0.1, 0.1):
        steep = Layer(twig([(10, 5), (40, 20)], 4), (0.0, slant, 0.0), plain(1.0))
        with pytest.raises(InputError, match="turns a slanted layer of this scene over"):
            board(steep).view("right", 60.0, 0.5)
