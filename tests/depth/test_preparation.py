"""Pictures reach a network at the size, with the border and in the colour scale that it was trained with."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from inpaintkit.depth.preparation import MAX_ASPECT, add_border, border_widths, network_size, remove_border
from inpaintkit.depth.protocol import min_max


@pytest.mark.parametrize(
    ("picture", "resolution", "multiple", "expected"),
    [
        ((1080, 1920), 392, 14, (392, 700)),
        ((1920, 1080), 392, 14, (700, 392)),
        ((1080, 1080), 384, 32, (384, 384)),
        ((1000, 1000), 393, 14, (406, 406)),  # rounded up
        ((100, 1000), 392, 14, (392, 1568)),  # 10:1 squeezed to 4:1
    ],
)
def test_network_size(picture: tuple[int, int], resolution: int, multiple: int, expected: tuple[int, int]) -> None:
    assert network_size(*picture, resolution, multiple) == expected


@given(st.integers(1, 5000), st.integers(1, 5000), st.integers(1, 1000), st.sampled_from([1, 14, 32]))
def test_sizes_are_multiples_and_never_longer_than_the_limit(h: int, w: int, resolution: int, multiple: int) -> None:
    height, width = network_size(h, w, resolution, multiple)
    assert height % multiple == width % multiple == 0
    assert min(height, width) - resolution in range(multiple)
    assert max(height, width) <= MAX_ASPECT * min(height, width)
    assert h == w or (height <= width) == (h < w) or height == width


@given(st.integers(1, 60), st.integers(1, 60))
def test_the_border_is_a_mirror_and_comes_off_again(height: int, width: int) -> None:
    pictures = torch.arange(float(3 * height * width)).reshape(1, 3, height, width)
    bordered = add_border(pictures)
    rows, columns = border_widths(height, width)
    assert bordered.shape == (1, 3, height + 2 * rows, width + 2 * columns)
    assert torch.equal(remove_border(bordered, height, width), pictures)
    assert torch.equal(bordered[:, :, 0], add_border(pictures)[:, :, 2 * rows])


def test_each_picture_is_scaled_by_its_own_range() -> None:
    depth = torch.tensor([[2.0, 4.0], [-10.0, 30.0], [5.0, 5.0]]).reshape(3, 1, 1, 2)
    assert min_max(depth).flatten(1).tolist() == [[0, 1], [0, 1], [0, 0]]
    assert min_max(torch.tensor([-3e38, 0.0, 3e38]).reshape(1, 1, 1, 3)).flatten().tolist() == [0, 0.5, 1]
