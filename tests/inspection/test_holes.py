"""Figures of holes themselves, checked by eye and by hand."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from inpaintkit.inspection.holes import hole_iou, hole_ring, hole_widths, stray_pixels


@settings(deadline=None)
@given(st.lists(st.booleans(), min_size=1, max_size=40))
def test_hole_widths_count_each_run_once(row: list[bool]) -> None:
    hole = torch.tensor(row).view(1, 1, 1, -1)
    widths = hole_widths(hole)
    runs = [len(run) for run in "".join("1" if h else "0" for h in row).split("0") if run]
    assert sorted(widths[hole].tolist()) == sorted(length for length in runs for _ in range(length))


def test_ring_surrounds_the_hole() -> None:
    hole = torch.zeros(1, 1, 7, 7, dtype=torch.bool)
    hole[0, 0, 3, 3] = True
    ring = hole_ring(hole, 2)
    assert ring.sum() == 24
    assert not (ring & hole).any()


def test_hole_masks_by_hand() -> None:
    exact, predicted = torch.zeros(2, 1, 4, 8, dtype=torch.bool), torch.zeros(2, 1, 4, 8, dtype=torch.bool)
    exact[0, 0, :, 2:4], predicted[0, 0, :, 3:5] = True, True
    predicted[0, 0, 0, 7] = True  # far from the exact hole
    assert hole_iou(predicted, exact)[0].item() == pytest.approx(4 / 13)
    assert hole_iou(predicted, exact)[1].isnan()
    assert stray_pixels(predicted, exact).tolist() == [1, 0]
