"""Holes drawn with iw3's probabilities and made reproducibly."""

from __future__ import annotations

import dataclasses
import json
from collections import Counter

import hypothesis.strategies as st
import numpy as np
import pytest
import torch
from hypothesis import given, settings

from inpaintkit.errors import InputError
from inpaintkit.seeds import numpy_rng
from inpaintkit.synthesis import (
    HoleDraw,
    HoleSampler,
    close_hole,
    dilate_edge,
    map_depth,
    prepare_depth,
    resize_depth,
    warp_back_hole,
)

DRAWS = 4000
TOLERANCE = 0.04  # five standard deviations of a share of 4000 draws


def draws(level: int = 1, metric: bool = False, width: int = 1080, resolution: int = 392) -> list[HoleDraw]:
    sampler, rng = HoleSampler(level, metric), numpy_rng(0, "draws")
    return [sampler.draw(rng, width, resolution) for _ in range(DRAWS)]


def shares(values: list[object]) -> dict[object, float]:
    return {value: count / DRAWS for value, count in Counter(values).items()}


def near_square() -> torch.Tensor:
    depth = torch.zeros(1, 1, 48, 64)
    depth[..., 12:36, 20:40] = 1.0
    return depth


@pytest.mark.parametrize(("metric", "usual"), [(True, "div_6"), (False, "none")])
def test_mapper_law(metric: bool, usual: str) -> None:
    found = shares([draw.mapper for draw in draws(metric=metric)])
    others = {True: {"none", "div_25", "div_10", "div_4", "div_2", "div_1"}}.get(
        metric, {"inv_mul_1", "inv_mul_2", "inv_mul_3", "mul_1", "mul_2", "mul_3"}
    )
    assert set(found) == others | {usual}
    assert found[usual] == pytest.approx(0.7, abs=TOLERANCE)
    assert all(found[name] == pytest.approx(0.05, abs=TOLERANCE / 2) for name in others)


def test_convergence_law() -> None:
    values = [draw.convergence for draw in draws()]
    found = shares(list(values))
    assert all(found[value] == pytest.approx(0.7 / 3, abs=TOLERANCE) for value in (0.0, 0.5, 1.0))
    others = [value for value in values if value not in (0.0, 0.5, 1.0)]
    assert 0 < min(others) < 0.02
    assert 0.98 < max(others) < 1
    assert np.mean(others) == pytest.approx(0.5, abs=TOLERANCE)


@pytest.mark.parametrize(
    ("resolution", "law"),
    [(512, {0: 6 / 12, 1: 3 / 12, 2: 1 / 12, 3: 1 / 12, 4: 1 / 12}), (511, {0: 3 / 6, 1: 2 / 6, 2: 1 / 6})],
)
def test_edge_dilation_law(resolution: int, law: dict[int, float]) -> None:
    assert shares([draw.edge_dilation for draw in draws(resolution=resolution)]) == pytest.approx(law, abs=TOLERANCE)


@pytest.mark.parametrize(
    ("level", "width", "usual", "low", "high"),
    [
        (1, 1080, (2.0, 2.5, 3.0, 4.0), 0.0, 5.0),
        (2, 720, (4.0, 5.0, 6.0), 3.0, 8.0),
        (3, 512, (7.0, 8.0, 9.0), 6.0, 11.0),
        (1, 1920, (2.0, 2.5, 3.0, 4.0), 0.0, 64 / 19.2),
        (2, 1920, (4.0, 5.0, 6.0), 3.0, 64 / 19.2),
        (3, 1920, (7.0, 8.0, 9.0), 64 / 19.2 - 0.1, 64 / 19.2),
    ],
)
def test_divergence_law(level: int, width: int, usual: tuple[float, ...], low: float, high: float) -> None:
    values = [draw.divergence for draw in draws(level, width=width)]
    found = shares(list(values))
    assert all(found[value] == pytest.approx(0.7 / len(usual), abs=TOLERANCE) for value in usual)
    others = [value for value in values if value not in usual]
    assert low <= min(others) < low + 0.02 * (high - low)
    assert high - 0.02 * (high - low) < max(others) <= high


def test_both_variants_of_the_warp_back_are_drawn_evenly() -> None:
    assert shares([draw.mirrored for draw in draws()]) == pytest.approx({True: 0.5, False: 0.5}, abs=TOLERANCE)


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 1000), st.sampled_from([1, 2, 3]), st.booleans(), st.integers(1, 8000), st.integers(1, 2000))
def test_a_draw_depends_on_its_generator_only_and_survives_json(
    seed: int, level: int, metric: bool, width: int, resolution: int
) -> None:
    first, second = (HoleSampler(level, metric).draw(numpy_rng(seed, "hole"), width, resolution) for _ in range(2))
    assert first == second == HoleDraw(**json.loads(json.dumps(dataclasses.asdict(first))))
    assert 0 <= first.divergence <= 11
    assert 0 <= first.convergence <= 1


def test_apply_is_dilation_curve_resize_warp_back_and_closing_in_this_order() -> None:
    draw = HoleDraw("mul_2", 0.25, 2, 10.0, True)
    ready = resize_depth(map_depth(dilate_edge(near_square(), 2), "mul_2"), (96, 128))
    expected = close_hole(warp_back_hole(ready, 10.0, 0.25, mirrored=True))
    found = HoleSampler(1, False, "warp_back").apply(near_square(), draw, (96, 128))
    assert torch.equal(found, expected)
    assert found.shape == (1, 1, 96, 128)
    assert found.dtype == torch.bool
    assert found.any()


@pytest.mark.parametrize(
    "change", [{"mapper": "inv_mul_3"}, {"convergence": 0.4}, {"edge_dilation": 3}, {"divergence": 9.0}]
)
def test_every_drawn_value_changes_the_hole(change: dict[str, float | str]) -> None:
    y, x = torch.meshgrid(torch.linspace(-1, 1, 60), torch.linspace(-1, 1, 80), indexing="ij")
    depth = (((x * 5).sin() + (y * 3).cos() + (x.abs() < 0.4)) / 3).clamp(0, 1)[None, None]
    draw = HoleDraw("none", 0.0, 0, 5.0, False)
    sampler = HoleSampler(1, False)
    usual = sampler.apply(depth, draw, (240, 320))
    assert not torch.equal(sampler.apply(depth, dataclasses.replace(draw, **change), (240, 320)), usual)


def test_depth_of_the_pictures_size_is_not_resampled_and_edges_stay_within_a_pixel_of_the_depth_map() -> None:
    depth = near_square()
    assert torch.equal(prepare_depth(depth, "none", 0, (48, 64)), depth)
    large = resize_depth(depth, (480, 640))[0, 0]
    columns, rows = (large[240] > 0.5).nonzero().flatten(), (large[:, 300] > 0.5).nonzero().flatten()
    assert columns[[0, -1]].tolist() == pytest.approx([200, 399], abs=10)
    assert rows[[0, -1]].tolist() == pytest.approx([120, 359], abs=10)


def test_hole_does_not_depend_on_the_number_of_threads() -> None:
    depth = torch.rand(1, 1, 300, 400, generator=torch.Generator().manual_seed(0))
    draw, threads = HoleDraw("inv_mul_1", 0.5, 4, 5.0, False), torch.get_num_threads()
    holes = []
    try:
        for count in (1, 2, 4):
            torch.set_num_threads(count)
            holes.append(HoleSampler(1, False).apply(depth, draw, (420, 560)))
    finally:
        torch.set_num_threads(threads)
    assert torch.equal(holes[0], holes[1])
    assert torch.equal(holes[0], holes[2])


def test_unknown_level_and_method_are_refused() -> None:
    with pytest.raises(InputError, match="divergence_level: 4 is unknown"):
        HoleSampler(4, False)
    with pytest.raises(InputError, match="did you mean warp_back"):
        HoleSampler(1, False, "warpback")
