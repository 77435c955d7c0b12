"""Sharpening turns a soft depth edge into a step where the picture has its edge, and leaves everything else alone."""

import cv2
import numpy as np
import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st

from inpaintkit.depth import create_depth_model, sharpen_depth
from inpaintkit.depth.sharpen import box_mean
from inpaintkit.neighbours import local_max
from inpaintkit.synthesis import close_hole, warp_back_hole
from tests.depth.test_fastdepth import photo

EDGE = 200


def soft_edge(height: int = 180, width: int = 320, blur: int = 30, edge: int = EDGE) -> torch.Tensor:
    ramp = ((edge + blur / 2 - torch.arange(width)) / blur).clamp(0, 1)
    return ramp.expand(1, 1, height, width).clone()


def two_colours(height: int = 180, width: int = 320, edge: int = EDGE) -> torch.Tensor:
    picture = torch.full((1, 3, height, width), 0.7)
    picture[..., :edge] = torch.tensor([0.8, 0.3, 0.2])[None, :, None, None]
    return picture


def test_a_soft_edge_becomes_a_step_at_the_colour_edge() -> None:
    depth = soft_edge(edge=EDGE + 5)  # as with networks, the depth edge misses the picture's by some pixels
    sharp = sharpen_depth(depth, two_colours())
    steps = (sharp[..., :-1] - sharp[..., 1:])[0, 0]
    assert (steps.argmax(1) - (EDGE - 1)).abs().max() <= 1
    assert steps[:, EDGE - 2 : EDGE + 1].sum(1).min() > 0.6
    assert (depth[..., :-1] - depth[..., 1:]).max() < 0.04


def test_without_a_colour_edge_nothing_becomes_a_step() -> None:
    depth = soft_edge()
    sharp = sharpen_depth(depth, torch.full((1, 3, 180, 320), 0.5))
    assert (sharp[..., :-1] - sharp[..., 1:]).abs().max() < 0.05


def test_a_slope_under_texture_stays_a_slope() -> None:
    slope = torch.linspace(1, 0, 320).expand(1, 1, 180, 320).clone()
    gravel = torch.rand(1, 3, 180, 320, generator=torch.Generator().manual_seed(0))
    assert (sharpen_depth(slope, gravel) - slope).abs().mean() < 0.02


def test_sharpening_opens_holes_at_object_borders_of_real_photos() -> None:
    """At divergence 2.5 soft depth opens hardly any holes; sharpened depth opens holes that begin at a photo's edge."""
    shares, hits = [], []
    for name in ("astronaut", "drum_room", "bird_lamp"):
        picture = F.interpolate(photo(name), scale_factor=720 / min(photo(name).shape[2:]), mode="bilinear")
        depth = create_depth_model("FastDepth").infer(picture)
        hole = close_hole(warp_back_hole(depth, 2.5, 0.5))[0, 0].numpy()
        starts = hole & ~np.pad(hole, ((0, 0), (1, 0)))[:, :-1]
        grey = (picture[0].mean(0).numpy() * 255).astype(np.uint8)
        near_edge = cv2.dilate(cv2.Canny(grey, 60, 150), np.ones((7, 7), np.uint8)) > 0
        shares.append(hole.mean())
        hits.append((starts & near_edge).sum() / starts.sum() - near_edge.mean())
    assert 0.003 < np.mean(shares) < 0.03
    assert min(hits) > 0.4


def test_depth_may_be_smaller_than_the_picture() -> None:
    sharp = sharpen_depth(soft_edge(45, 80, 8, 50), two_colours())
    assert sharp.shape == (1, 1, 180, 320)


@settings(max_examples=20, deadline=None)
@given(st.integers(1, 40), st.integers(1, 40), st.integers(0, 2**32 - 1))
def test_any_shape_stays_in_range(height: int, width: int, seed: int) -> None:
    generator = torch.Generator().manual_seed(seed)
    depth = torch.rand(2, 1, height, width, generator=generator)
    sharp = sharpen_depth(depth, torch.rand(2, 3, height, width, generator=generator))
    assert sharp.shape == depth.shape
    assert bool(torch.isfinite(sharp).all())
    assert sharp.min() >= 0
    assert sharp.max() <= 1


@settings(max_examples=30, deadline=None)
@given(st.integers(1, 12), st.integers(1, 12), st.integers(1, 9), st.integers(0, 2**32 - 1))
def test_windows_equal_their_definition(height: int, width: int, radius: int, seed: int) -> None:
    x = torch.rand(1, 1, height, width, generator=torch.Generator().manual_seed(seed))
    for row, column in {(0, 0), (height // 2, width // 2), (height - 1, width - 1)}:
        window = x[0, 0, max(0, row - radius) : row + radius + 1, max(0, column - radius) : column + radius + 1]
        assert box_mean(x, radius)[0, 0, row, column] == pytest.approx(window.mean().item(), abs=1e-5)
        assert local_max(x, radius)[0, 0, row, column] == window.max()
        assert -local_max(-x, radius)[0, 0, row, column] == window.min()
