"""Mixed colours right of holes: what forward warps leave there; in the input of training samples and nowhere else."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import hypothesis.strategies as st
import numpy as np
import pytest
import torch
from hypothesis import given
from toy_files import noise, write_record

from inpaintkit.config import TrainConfig
from inpaintkit.data.dataset import InpaintDataset
from inpaintkit.data.mixed_border import BORDER_REACH, draw_mixed_border, mix_borders
from inpaintkit.data.sample_draw import Chances
from inpaintkit.errors import InputError
from inpaintkit.seeds import numpy_rng
from inpaintkit.synthesis import Scene, close_hole, draw_scene, forward_warp

SIZE, CROP, MARGIN = 96, 64, 16


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Return records of noise with two upright bars as hole, so that every change shows."""
    for number in range(4):
        hole = np.zeros((SIZE, SIZE), np.uint8)
        hole[10:90, 30:37] = hole[20:80, 50 + number : 52 + number] = 255
        write_record(tmp_path, f"p_{number}", noise(number, SIZE, SIZE), hole)
    return tmp_path


def mixed_by_hand(picture: np.ndarray, hole: np.ndarray, shares: np.ndarray) -> np.ndarray:
    """Mix row by row: a known pixel k px right of a hole takes its share from 2 px left of the hole's start."""
    mixed = picture.copy()
    for row in range(hole.shape[0]):
        start = last = None
        for column in range(hole.shape[1]):
            if hole[row, column]:
                start = column if last is None or last != column - 1 else start
                last = column
            elif last is not None and start is not None and column - last <= BORDER_REACH:
                near, share = picture[:, row, max(start - 2, 0)], shares[row, column - last - 1]
                mixed[:, row, column] += share * (near - picture[:, row, column])
    return mixed


@given(st.lists(st.lists(st.booleans(), min_size=14, max_size=14), min_size=2, max_size=2), st.integers(0, 99))
def test_borders_are_mixed_as_by_a_loop_over_rows(rows: list[list[bool]], seed: int) -> None:
    hole, rng = np.array(rows), np.random.default_rng(seed)
    picture = rng.uniform(size=(3, *hole.shape)).astype(np.float32)
    shares = draw_mixed_border(rng, 1.0, len(rows))
    expected = mixed_by_hand(picture, hole, shares)
    mix_borders(*(torch.from_numpy(part)[None] for part in (picture, hole, shares)))
    np.testing.assert_allclose(picture, expected, atol=1e-6)


def test_only_the_input_changes_and_only_right_of_holes(folder: Path) -> None:
    plain = InpaintDataset(folder, training=True, crop_size=CROP)
    mixed = InpaintDataset(folder, training=True, crop_size=CROP, chances=Chances(mixed_border=1.0))
    for draw in range(20):
        (x, hole, y, _), (changed, same_hole, target, _) = (data[draw % 4, 0, draw] for data in (plain, mixed))
        assert torch.equal(hole, same_hole)
        assert torch.equal(y, target)
        assert torch.equal(target, x[:, MARGIN:-MARGIN, MARGIN:-MARGIN])
        columns = (changed != x).any(dim=0).nonzero()
        assert len(columns)
        for row, column in columns.tolist():
            assert not hole[0, row, column]
            assert hole[0, row, max(0, column - BORDER_REACH) : column].any()


def test_evaluation_is_mixed_the_same_way_every_time(folder: Path) -> None:
    plain = InpaintDataset(folder, training=False, crop_size=CROP)
    one, other = (
        InpaintDataset(folder, training=False, crop_size=CROP, chances=Chances(mixed_border=1.0)) for _ in range(2)
    )
    for number in range(4):
        (x, _, y, _), (changed, _, target, _) = plain[number], one[number]
        assert not torch.equal(x, changed)
        assert torch.equal(y, target)
        assert torch.equal(changed, other[number][0])
    shifts = [one[number][0] - plain[number][0] for number in range(2)]
    assert not torch.equal(shifts[0] != 0, shifts[1] != 0)


def test_the_chance_is_kept() -> None:
    drawn = [bool(draw_mixed_border(numpy_rng(0, n), 0.3, 8).any()) for n in range(2000)]
    assert 0.26 < np.mean(drawn) < 0.34
    with pytest.raises(InputError, match="mixed_border"):
        TrainConfig(mixed_border=1.5)


def test_shares_are_like_those_that_forward_warps_leave() -> None:
    """White things move before a dark background: how white is the background right of the holes that they leave?"""
    found: list[list[float]] = [[] for _ in range(BORDER_REACH)]
    for number in range(40):
        scene = draw_scene(numpy_rng("border", number), (96, 160))
        ground, thing = scene.layers[0], replace(scene.layers[-1], texture=torch.ones(3, 96, 160))
        scene = Scene(scene.size, (replace(ground, texture=torch.zeros(3, 96, 160)), thing))
        warped, torn = forward_warp(*scene.render(), 8.0, 0.5, "right")
        hole, white = close_hole(torn)[0, 0].numpy(), warped[0, 0].numpy()
        for row, column in zip(*np.nonzero(hole[:, :-1] & ~hole[:, 1:]), strict=True):
            beyond = slice(column + 1, column + 1 + BORDER_REACH)
            if not hole[row, beyond].any() and white[row, beyond].max() < 0.99:
                for distance, share in enumerate(white[row, beyond]):
                    found[distance].append(float(share))
    drawn = np.mean([draw_mixed_border(numpy_rng(1, n), 1.0, 32).mean(axis=0) for n in range(400)], axis=0)
    warped_shares = np.array([np.mean(shares) for shares in found])
    assert min(map(len, found)) > 500
    assert (np.abs(drawn - warped_shares) < 0.15).all(), (drawn, warped_shares)
    assert (np.diff(warped_shares) < 0).all()
