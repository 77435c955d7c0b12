"""The preview of the synthesis that users see while moving a slider."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from inpaintkit.errors import InputError
from inpaintkit.synthesis import HoleDraw, HoleSampler, colour_depth, preview
from inpaintkit.synthesis.preview import HOLE_COLOUR

HEIGHT, WIDTH = 60, 80


def scene() -> tuple[np.ndarray, torch.Tensor]:
    """Return a picture of a grey near square in front of a dark gradient, and its depth at half the size."""
    picture = np.zeros((HEIGHT, WIDTH, 3), dtype=np.uint8)
    picture[:] = np.arange(WIDTH, dtype=np.uint8)[None, :, None]
    picture[20:40, 30:50] = 200
    depth = torch.zeros(1, 1, HEIGHT // 2, WIDTH // 2)
    depth[..., 10:20, 15:25] = 1.0
    return picture, depth


def test_near_is_lighter_than_far() -> None:
    picture, depth = scene()
    shown = preview(picture, depth, 5.0, 0.5).depth.astype(int).sum(axis=2)
    assert shown[30, 40] > shown[5, 5] + 300


def test_depth_colours_get_lighter_at_every_step() -> None:
    colours = colour_depth(torch.linspace(0, 1, 256)[None])[0] / 255.0
    linear = np.where(colours <= 0.04045, colours / 12.92, ((colours + 0.055) / 1.055) ** 2.4)
    luminance = linear @ np.array([0.2126, 0.7152, 0.0722])
    assert (np.diff(luminance) > 0).mean() > 0.97  # rounding to 8 bits makes a few neighbours equal
    assert (np.diff(luminance[::4]) > 0).all()


def test_left_view_moves_the_near_object_to_the_right() -> None:
    picture, depth = scene()
    assert np.array_equal(preview(picture, depth, 0.0, 0.5).view, picture)
    moved = preview(picture, depth, 20.0, 0.0).view  # 8 px
    assert (moved[30, 40:55] == 200).all()
    assert (moved[30, 30:34] < 80).all()


def test_overlay_is_the_picture_with_the_hole_of_a_training_record() -> None:
    picture, depth = scene()
    shown = preview(picture, depth, 20.0, 0.0, mapper="mul_1", edge_dilation=1)
    hole = HoleSampler(1, False).apply(depth, HoleDraw("mul_1", 0.0, 1, 20.0, False), (HEIGHT, WIDTH))[0, 0].numpy()
    assert hole.any()
    assert (shown.hole_overlay[hole] == HOLE_COLOUR).all()
    assert np.array_equal(shown.hole_overlay[~hole], picture[~hole])
    assert shown.hole_fraction == pytest.approx(hole.mean())
    assert np.nonzero(hole[30])[0].min() > 45


def test_the_right_eye_is_the_mirror_image_of_the_left_one() -> None:
    picture, depth = scene()
    right = preview(picture, depth, 20.0, 0.0, eye="right")
    mirrored = preview(picture[:, ::-1], depth.flip(-1), 20.0, 0.0)
    for name in ("depth", "view", "hole_overlay"):
        assert np.array_equal(getattr(right, name), getattr(mirrored, name)[:, ::-1])
    assert np.nonzero((right.hole_overlay[30] == HOLE_COLOUR).all(axis=1))[0].max() < 35  # left of the near square
    with pytest.raises(InputError, match="choose one of left, right"):
        preview(picture, depth, 20.0, 0.0, eye="both")  # type: ignore[arg-type]


def test_a_thing_that_moves_by_half_a_pixel_keeps_its_columns() -> None:
    picture, depth = np.zeros((20, 40, 3), np.uint8) + np.arange(40, dtype=np.uint8)[:, None], torch.zeros(1, 1, 20, 40)
    depth[..., 10:20] = 1.0
    assert preview(picture, depth, 12.5, 0.0).view[0, 13:23, 0].tolist() == list(range(10, 20))  # by 2.5 px


def test_input_stays_untouched_and_may_be_a_view() -> None:
    picture, depth = scene()
    before = picture.copy()
    mirrored = preview(picture[:, ::-1], depth.flip(-1), 20.0, 0.0)
    assert np.array_equal(picture, before)
    assert mirrored.view.shape == picture.shape


def test_other_pictures_are_refused() -> None:
    picture, depth = scene()
    for wrong in (picture[..., 0], picture.astype(np.float32), picture[..., :2]):
        with pytest.raises(InputError, match=r"expected uint8 \(H, W, 3\)"):
            preview(wrong, depth, 5.0, 0.5)
    with pytest.raises(InputError, match="did you mean mul_1"):
        preview(picture, depth, 5.0, 0.5, mapper="mul1")


@pytest.mark.parametrize("shape", [(30, 40), (1, 30, 40), (2, 1, 30, 40), (1, 3, 30, 40), (1, 1, 0, 40)])
@pytest.mark.parametrize("eye", ["left", "right"])
def test_other_shapes_of_depth_are_refused(shape: tuple[int, ...], eye: str) -> None:
    with pytest.raises(InputError, match=r"depth: expected one map \(1, 1, h, w\), got"):
        preview(scene()[0], torch.zeros(shape), 5.0, 0.5, eye=eye)  # type: ignore[arg-type]


def test_a_smaller_copy_shows_the_hole_of_the_full_picture() -> None:
    picture, depth = scene()
    small = picture[::2, ::2].copy()
    for eye, where in (("left", slice(25, 40)), ("right", slice(0, 15))):
        whole = preview(picture, depth, 20.0, 0.0, eye=eye)  # type: ignore[arg-type]
        shown = preview(small, depth, 20.0, 0.0, eye=eye, size=(HEIGHT, WIDTH))  # type: ignore[arg-type]
        assert shown.hole_fraction == whole.hole_fraction > 0
        for image in (shown.depth, shown.view, shown.hole_overlay):
            assert (image.shape, image.dtype) == (small.shape, np.uint8)
        painted = (shown.hole_overlay != small).any(axis=2)
        missing = (whole.hole_overlay != picture).any(axis=2)
        assert np.array_equal(painted, missing.reshape(HEIGHT // 2, 2, WIDTH // 2, 2).any(axis=(1, 3)))
        assert painted[15, where].any()


def test_a_thin_hole_tints_the_pixels_of_a_smaller_copy() -> None:
    picture, depth = np.zeros((20, 40, 3), dtype=np.uint8), torch.zeros(1, 1, 20, 40)
    depth[..., 10:20] = 1.0
    shown = preview(picture[:, ::2].copy(), depth, 5.0, 0.0, size=(20, 40))  # 1 px, column 20
    assert (shown.hole_overlay[:, 10] == (128, 0, 128)).all()
    assert not shown.hole_overlay[:, :10].any()
