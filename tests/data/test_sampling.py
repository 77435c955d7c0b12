"""Hard records are drawn more often, crops hold holes, and both equal the reference where that is correct."""

from __future__ import annotations

import itertools
import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from inpaintkit.data.sampling import CROP_TRIES, HardExampleSampler, Mask, best_crop, crop_candidates, grid_crop
from inpaintkit.seeds import numpy_rng, torch_rng

GOLDEN = Path(__file__).parents[1] / "golden"
SAMPLER: dict[str, Any] = json.loads((GOLDEN / "sampler.json").read_text())
CROPS: dict[str, Any] = json.loads((GOLDEN / "crops.json").read_text())


@pytest.mark.parametrize("case", SAMPLER["cases"], ids=lambda c: c["name"])
def test_weights_equal_the_golden_ones(case: dict[str, Any]) -> None:
    sampler = HardExampleSampler(case["n_items"])
    for epoch in case["epochs"]:
        for indices, loss in epoch["update_losses_calls"]:
            sampler.record(indices, [loss] * len(indices))
        sampler.update_weights()
        assert sampler.mean_losses().tolist() == pytest.approx([float(v) for v in epoch["loss_sma"]], rel=1e-5)
        assert sampler.weights.tolist() == pytest.approx(epoch["weights"], rel=1e-5)


@given(st.integers(4, 30), st.sampled_from([0.0, 0.1, 0.3, 1e-12, 1e6]), st.integers(1, 6))
def test_equal_losses_give_equal_weights(records: int, loss: float, epochs: int) -> None:
    sampler = HardExampleSampler(records)
    for _ in range(epochs):
        sampler.record(range(records), [loss] * records)
    sampler.update_weights()
    assert len(set(sampler.weights.tolist())) == 1
    assert sampler.weights.isfinite().all()


@given(st.lists(st.floats(0, 100), min_size=4, max_size=40))
def test_weights_rise_with_the_loss_and_stay_within_a_factor_of_four(losses: list[float]) -> None:
    sampler = HardExampleSampler(len(losses) + 1)
    sampler.record(range(len(losses)), losses)
    sampler.update_weights()
    weights = sampler.weights.tolist()
    assert weights[-1] == 1  # never seen
    assert all(0.25 <= w <= 1 for w in weights)
    ordered = [w for _, w in sorted(zip(losses, weights, strict=False), key=lambda pair: pair[0])]
    assert all(a <= b + 1e-9 for a, b in itertools.pairwise(ordered))


def test_hard_records_are_drawn_more_often() -> None:
    sampler = HardExampleSampler(4)
    sampler.record([0, 1, 2, 3], [0.1, 0.2, 0.3, 0.9])
    sampler.update_weights()
    drawn = sampler.draw(20000, torch_rng("draw"))
    assert drawn.dtype == torch.int64
    counts = torch.bincount(drawn, minlength=4) / len(drawn)
    expected = sampler.weights / sampler.weights.sum()
    assert counts.tolist() == pytest.approx(expected.tolist(), abs=0.015)
    assert counts[3] > 1.5 * counts[0]
    assert torch.equal(drawn, sampler.draw(20000, torch_rng("draw")))


def test_losses_that_are_not_numbers_are_ignored() -> None:
    sampler = HardExampleSampler(5)
    sampler.record([0, 1, 2, 3, 4], [0.1, 0.2, 0.3, 0.4, math.nan])
    sampler.record([0], [math.inf])
    sampler.update_weights()
    assert sampler.weights.isfinite().all()
    assert sampler.mean_losses()[4] == math.inf
    assert sampler.mean_losses()[0].item() == pytest.approx(0.1)


def test_state_continues_exactly(tmp_path: Path) -> None:
    sampler, restored = HardExampleSampler(6), HardExampleSampler(6)
    for i in range(9):
        sampler.record([i % 5, 2], [0.1 * i, 1.0 / (i + 1)])
    sampler.update_weights()
    torch.save(sampler.state_dict(), tmp_path / "state.pth")
    restored.load_state_dict(torch.load(tmp_path / "state.pth", weights_only=True))
    for s in (sampler, restored):
        s.record([5, 2], [0.7, 0.7])
        s.update_weights()
    assert torch.equal(restored.weights, sampler.weights)
    assert torch.equal(restored.draw(50, torch_rng(1)), sampler.draw(50, torch_rng(1)))
    grown, places = HardExampleSampler(9), [1, 2, 4, 5, 6, 8]
    grown.load_state_dict(sampler.state_dict(), places)  # records were added between and before them
    assert torch.equal(grown.mean_losses()[places], sampler.mean_losses())
    assert torch.equal(grown.weights[places], sampler.weights)
    assert set(grown.weights[[0, 3, 7]].tolist()) == {1.0}


def decoded(runs: list[int]) -> Mask:
    """Return the 512x512 hole stored as run lengths that start with zeros."""
    values = np.arange(len(runs)) % 2 == 1
    return np.repeat(values, runs).reshape(512, 512)


@pytest.mark.parametrize("case", CROPS["fixed_hard_example_crop"]["cases"], ids=lambda c: c["name"])
def test_evaluation_crop_equals_the_golden_corner(case: dict[str, Any]) -> None:
    hole = decoded(case["run_lengths_row_major_starting_with_zeros"])
    assert grid_crop(hole, 256) == (case["expected_i"], case["expected_j"])


@pytest.mark.parametrize("trial", CROPS["random_hard_example_crop"]["trials"])
def test_training_crop_picks_the_candidate_with_the_best_hole(trial: dict[str, Any]) -> None:
    y, x = np.mgrid[:512, :512]
    hole = (x < 200) & (y // 16 % 2 == 0)
    candidates = [(top, left) for top, left in trial["candidates_ij"]]
    assert best_crop(hole, candidates, 256) == candidates[trial["index_if_the_mask_were_scored"]]


def test_if_all_crops_are_mostly_hole_the_one_nearest_half_is_taken() -> None:
    hole = np.arange(192)[None].repeat(64, axis=0) < 160
    assert best_crop(hole, [(0, 0), (0, 100), (0, 128), (0, 64)], 64) == (0, 128)


def random_crop(hole: Mask, size: int, rng: np.random.Generator, tries: int = CROP_TRIES) -> tuple[int, int]:
    """Return (top, left) of the best of some random crops."""
    return best_crop(hole, crop_candidates(*hole.shape, size, rng, tries), size)


@settings(deadline=None)
@given(st.integers(0, 10**6), st.integers(64, 100), st.integers(64, 100))
def test_crops_stay_inside_and_follow_their_generator(seed: int, height: int, width: int) -> None:
    hole = numpy_rng("hole", seed).random((height, width)) < 0.02
    top, left = random_crop(hole, 64, numpy_rng(seed))
    assert 0 <= top <= height - 64
    assert 0 <= left <= width - 64
    assert (top, left) == random_crop(hole, 64, numpy_rng(seed))
    assert grid_crop(hole, 64) == (0, 0)  # the grid has one place below 128 px


def test_crops_reach_every_border() -> None:
    places = [random_crop(np.zeros((66, 66), bool), 64, numpy_rng(i)) for i in range(200)]
    assert set(places) == {(top, left) for top in range(3) for left in range(3)}


def test_small_holes_are_rarely_missed() -> None:
    hole = np.zeros((512, 512), bool)
    hole[200:300, 100:110] = True

    def found(tries: int) -> int:
        corners = (random_crop(hole, 256, numpy_rng("found", i), tries) for i in range(200))
        return sum(top < 300 and top + 256 > 200 and left < 110 and left + 256 > 100 for top, left in corners)

    assert found(4) > found(1) + 20
