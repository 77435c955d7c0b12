"""Holes of training samples: grown, thin, and cut by the picture's border."""

from __future__ import annotations

from pathlib import Path

import hypothesis.strategies as st
import numpy as np
import pytest
import torch
from hypothesis import given
from toy_files import noise, write_record

from inpaintkit.config import TrainConfig
from inpaintkit.data import InpaintDataset
from inpaintkit.data.hole_changes import MARGIN, THIN_MAX, grow_hole, thin_holes
from inpaintkit.data.sample_draw import BEYOND_MAX, Chances
from inpaintkit.errors import InputError

SIZE, CROP = 200, 128


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return records of noise with an upright bar as hole: noise makes every column different from the others."""
    root = tmp_path_factory.mktemp("records")
    for number in range(4):
        hole = np.zeros((SIZE, SIZE), np.uint8)
        hole[5:190, 60 + 20 * number : 69 + 20 * number] = 255
        write_record(root, f"p_{number}", noise(number, SIZE, SIZE), hole)
    return root


@given(st.integers(0, 20), st.integers(0, 4), st.lists(st.integers(0, 39), max_size=6))
def test_growing_is_the_union_of_all_shifts(right: int, left: int, columns: list[int]) -> None:
    hole = np.zeros((2, 40), bool)
    hole[0, columns] = True
    expected = np.zeros_like(hole)
    for column in columns:
        expected[0, max(0, column - left) : column + right + 1] = True
    np.testing.assert_array_equal(grow_hole(hole, left=left, right=right), expected)


@given(st.lists(st.booleans(), min_size=20, max_size=20), st.integers(0, THIN_MAX))
def test_a_thin_hole_is_what_lies_next_to_the_near_object(row: list[bool], width: int) -> None:
    expected, run = [], 0
    for missing in row:
        run = run + 1 if missing else 0
        expected.append(missing and (width == 0 or run <= width))
    assert thin_holes(torch.tensor([[row]]), torch.tensor([width]))[0, 0].tolist() == expected


def widest(hole: torch.Tensor) -> int:
    """Return the length in px of the longest run of missing pixels in a row of `hole` (1, S, S)."""
    runs = hole[0].int()
    return max(len(part) for row in runs.tolist() for part in "".join(map(str, row)).split("0"))


def test_thin_holes_are_thin_and_their_pictures_as_before(folder: Path) -> None:
    data = InpaintDataset(folder, training=True, crop_size=CROP, chances=Chances(thin_hole=1.0))
    widths = [widest(data[draw % 4, 0, draw][1]) for draw in range(30)]
    assert set(widths) == set(range(1, THIN_MAX + 1))
    plain = InpaintDataset(folder, training=True, crop_size=CROP)
    same = [torch.equal(data[record, 1, 7][2], plain[record, 1, 7][2]) for record in range(4)]
    assert not all(same)  # other crops: the best one is chosen by the thin hole
    with pytest.raises(InputError, match="thin_hole"):
        TrainConfig(thin_hole=1.5)


def test_a_border_hole_repeats_the_border_of_the_picture(folder: Path) -> None:
    data, sides = InpaintDataset(folder, training=True, crop_size=CROP, chances=Chances(border_hole=1.0)), []
    for draw in range(40):
        x, hole, y, _ = data[draw % 4, 0, draw]
        assert torch.equal(y, x[:, MARGIN:-MARGIN, MARGIN:-MARGIN])
        beyond = {}
        for side, turned in (("right", x.flip(-1)), ("left", x)):
            changes = (turned != turned[..., :1]).any(dim=0).any(dim=0)
            beyond[side] = int(changes.int().argmax())  # number of equal columns from the crop's border on
        side = max(beyond, key=lambda name: beyond[name])
        assert MARGIN < beyond[side] <= MARGIN + BEYOND_MAX + 1
        edge = slice(None, beyond[side]) if side == "left" else slice(CROP - beyond[side], None)
        assert hole[0, :, edge].any(dim=0).all()  # the hole is cut, and judged up to the border
        assert torch.equal(hole[..., edge], hole[..., edge][..., :1].expand_as(hole[..., edge]))
        sides.append(side)
    assert 8 < sides.count("left") < 32


def test_the_chance_of_a_border_is_kept(folder: Path) -> None:
    data = InpaintDataset(folder, training=True, crop_size=CROP, chances=Chances(border_hole=0.3))
    cut = [bool((hole[0, :, 0] | hole[0, :, -1]).any()) for _, hole, _, _ in (data[n % 4, 2, n] for n in range(300))]
    assert 0.22 < np.mean(cut) < 0.38


def test_a_crop_as_large_as_its_record_has_borders_too(folder: Path) -> None:
    data = InpaintDataset(folder, training=True, crop_size=SIZE, chances=Chances(border_hole=1.0))
    assert all(bool((data[n % 4, 0, n][1][0, :, [0, -1]]).any()) for n in range(8))
