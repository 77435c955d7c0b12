"""Colour changes of training samples are torchvision's, up to the rounding of 8 bits."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import torch
from torchvision.transforms.v2 import functional as reference

from inpaintkit.data import colours
from inpaintkit.data.batch_colours import change_colours
from inpaintkit.data.colours import Picture8, draw_jitter
from inpaintkit.seeds import numpy_rng

ROUNDING = 0.51  # levels
FIXED_POINT = 0.8  # levels: OpenCV mixes the channels of bytes in fixed-point numbers
HUE_ROUNDING = 9.0  # levels, for the strongest colours: hue, saturation and value are bytes in between


def noise(side: int = 32) -> Picture8:
    return np.random.default_rng(0).integers(0, 256, (side, side, 3), np.uint8)


@pytest.mark.parametrize(
    ("name", "amounts", "tolerance"),
    [
        ("brightness", (0.6, 1.4), ROUNDING),
        ("contrast", (0.6, 1.4), ROUNDING),
        ("saturation", (0.8, 1.2), FIXED_POINT),
        ("hue", (-25 / 256, 18 / 256), HUE_ROUNDING),
    ],
)
def test_colour_changes_are_torchvisions(name: str, amounts: tuple[float, float], tolerance: float) -> None:
    picture = noise()
    theirs: Callable[[torch.Tensor, float], torch.Tensor] = getattr(reference, f"adjust_{name}")
    for amount in amounts:
        planes = torch.from_numpy(picture).permute(2, 0, 1) / 255
        expected = theirs(planes, amount).permute(1, 2, 0).numpy() * 255
        changed = colours.CHANGES[name](picture, amount).astype(np.float32)
        np.testing.assert_allclose(changed, expected, atol=tolerance, rtol=0)
        assert np.abs(changed - expected).mean() < 0.6
        assert np.abs(changed - picture).mean() > 2


@pytest.mark.parametrize("name", colours.CHANGES)
def test_a_batch_changes_exactly_as_its_pictures_do(name: str) -> None:
    rng = numpy_rng("batch", name)
    pictures = rng.integers(0, 256, (24, 40, 56, 3), np.uint8)
    draws = [[change for change in [*draw_jitter(rng), ("grey", 1.0)] if change[0] == name] for _ in pictures]
    changed = change_colours(torch.from_numpy(pictures).permute(0, 3, 1, 2), draws)
    for picture, draw, mine in zip(pictures, draws, changed, strict=True):
        expected = colours.CHANGES[name](picture, draw[0][1])
        np.testing.assert_array_equal(mine.permute(1, 2, 0).numpy(), expected)


def test_a_third_of_a_turn_makes_red_green_and_is_reversible() -> None:
    red = np.full((2, 2, 3), (200, 30, 30), np.uint8)
    turned = colours.adjust_hue(red, 1 / 3)
    assert turned[0, 0].argmax() == 1
    assert np.abs(colours.adjust_hue(turned, -1 / 3).astype(int) - red).max() <= HUE_ROUNDING


def test_grey_is_the_luminance_in_three_channels() -> None:
    grey = colours.to_grey(noise(), 1.0)
    assert (grey == grey[..., :1]).all()
    np.testing.assert_allclose(grey[..., 0], noise() @ np.array([0.299, 0.587, 0.114]), atol=0.6)


def test_jitter_changes_every_draw_and_leaves_the_given_picture_alone() -> None:
    picture = noise(16)
    results = [colours.change_colours(picture, draw_jitter(numpy_rng(draw))) for draw in range(50)]
    assert len({result.tobytes() for result in results}) == 50
    assert (picture == noise(16)).all()
