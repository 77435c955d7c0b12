"""The parts of the networks, on tensors that can be checked by eye."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st

from inpaintkit.model import LightInpaintV1
from inpaintkit.model.layers import (
    GaussianBlur,
    ReplicationPad,
    from_windows,
    to_windows,
)
from inpaintkit.neighbours import closed, scaled_reach
from inpaintkit.seeds import torch_rng


def filled_columns(text: str, **growth: int) -> str:
    """Return the columns that the network has to fill for a hole drawn with # for missing and . for known."""
    hole = torch.tensor([c == "#" for c in text]).expand(1, 1, 40, len(text))
    picture, _ = LightInpaintV1().preprocess(torch.ones(1, 3, *hole.shape[-2:]), hole, **growth)
    return "".join("#" if value == 0 else "." for value in picture[0, 0, 20])


def test_a_hole_grows_left_into_the_object_and_right_into_the_background() -> None:
    assert filled_columns(".....##......", inner_dilation=2, outer_dilation=3) == "...#######..."
    assert filled_columns("#...........#", inner_dilation=1, outer_dilation=1) == "##.........##"


def test_growth_is_scaled_with_the_width_and_never_vanishes() -> None:
    for growth, base, grown in (
        (1, 320, 1),
        (3, 320, 2),
        (5, 320, 2),
        (2, 80, 4),
        (3, 100, 5),
        (0, 320, 0),
        (7, None, 7),
    ):
        assert scaled_reach(growth, 160, base) == grown


def test_numeric_holes_are_closed_like_boolean_ones() -> None:
    hole = torch.rand(1, 1, 40, 60, generator=torch_rng("closing")) > 0.9
    assert torch.equal(closed(hole.float()) > 0, closed(hole))
    hole[..., 30, 20:40] = True
    assert (closed(hole) & ~hole).any()
    cracked = torch.ones(1, 1, 12, 12)
    cracked[..., 6] = 0
    assert torch.equal(closed(cracked), torch.ones(1, 1, 12, 12))


def test_blur_keeps_a_constant_and_spreads_a_point_evenly() -> None:
    blur = GaussianBlur(15)
    torch.testing.assert_close(blur(torch.full((1, 1, 20, 30), 0.5)), torch.full((1, 1, 20, 30), 0.5))
    point = torch.zeros(1, 1, 31, 31)
    point[..., 15, 15] = 1
    spread = blur(point)[0, 0]
    torch.testing.assert_close(spread, spread.flip(0).transpose(0, 1))
    assert int((spread > 0).sum()) == 15 * 15
    assert "kernel" not in blur.state_dict()


@settings(max_examples=30, deadline=None)
@given(rows=st.integers(1, 3), columns=st.integers(1, 3), window=st.sampled_from([2, 4]), shifted=st.booleans())
def test_from_windows_inverts_to_windows(rows: int, columns: int, window: int, shifted: bool) -> None:
    # when shifted, half a window more makes whole windows of the rows; the columns still need padding
    height, width = rows * window + (window // 2 if shifted else 0), columns * window
    x = torch.arange(2 * height * width * 3.0).reshape(2, height, width, 3)
    tokens = to_windows(x, window, shifted)
    assert tokens.shape[0] == window * window
    assert torch.equal(from_windows(tokens, window, shifted, x.shape), x)


def test_a_window_holds_its_square_of_the_picture() -> None:
    x = torch.arange(16.0).reshape(1, 4, 4, 1)
    assert to_windows(x, 2, shifted=False)[:, :, 0].T.tolist() == [
        [0, 1, 4, 5],
        [2, 3, 6, 7],
        [8, 9, 12, 13],
        [10, 11, 14, 15],
    ]
    assert to_windows(x, 2, shifted=True)[:, 4, 0].tolist() == [5, 6, 9, 10]
    assert to_windows(x, 2, shifted=True)[:, 0, 0].tolist() == [0, 0, 0, 0]


@pytest.mark.parametrize("memory", [torch.contiguous_format, torch.channels_last])
@pytest.mark.parametrize("size", [(1, 1), (1, 4), (5, 3)])
def test_replication_pad_has_torchs_values_and_gradients(size: tuple[int, int], memory: torch.memory_format) -> None:
    x = torch.rand(2, 3, *size, generator=torch_rng("pad"), dtype=torch.float64)
    x = x.contiguous(memory_format=memory).requires_grad_()
    weights = torch.rand(2, 3, size[0] + 2, size[1] + 2, generator=torch_rng("weights"), dtype=torch.float64)
    expected = F.pad(x, (1, 1, 1, 1), mode="replicate")
    padded = ReplicationPad(detached=False)(x)
    assert torch.equal(padded, expected)
    gradients = [torch.autograd.grad((y * weights).sum(), x)[0] for y in (padded, expected)]
    torch.testing.assert_close(*gradients)


def test_detached_padding_passes_no_gradient() -> None:
    x = torch.ones(1, 1, 3, 3, requires_grad=True)
    ReplicationPad()(x).sum().backward()
    assert x.grad is not None
    assert torch.equal(x.grad, torch.ones(1, 1, 3, 3))
