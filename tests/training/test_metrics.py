"""Metrics judge holes and nothing else, and agree with hand-computed cases, scikit-image and the `lpips` package."""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from skimage.metrics import peak_signal_noise_ratio, structural_similarity
from torch import Tensor

from inpaintkit.seeds import torch_rng
from inpaintkit.training import metrics
from inpaintkit.training.perceptual import Lpips

SIZE = 64


def texture(seed: int, smooth: bool = True) -> Tensor:
    """A random picture (1, 3, 64, 64) in 0.1..0.9; if `smooth` with the 1/f spectrum of natural ones."""
    picture = torch.rand(1, 3, SIZE, SIZE, generator=torch_rng("texture", seed))
    if smooth:
        frequency = torch.hypot(torch.fft.fftfreq(SIZE)[:, None], torch.fft.fftfreq(SIZE))
        picture = torch.fft.ifft2(torch.fft.fft2(picture) / frequency.clamp(min=1 / SIZE)).real
    low, high = picture.amin(), picture.amax()
    return 0.1 + 0.8 * (picture - low) / (high - low)


def slanted_strip(width: int) -> Tensor:
    """A hole (1, 1, 64, 64), `width` px wide in each row, leaning to the right."""
    y, x = torch.arange(SIZE)[:, None], torch.arange(SIZE)[None]
    left = 20 + y // 4
    return ((x >= left) & (x < left + width))[None, None]


def tile_pattern(seed: int) -> Tensor:
    """A random pattern of mean 0 and variance 1 that repeats every 4 px, (1, 3, 64, 64)."""
    tile = torch.randn(1, 3, 4, 4, generator=torch_rng("tile", seed))
    tile = tile - tile.mean(dim=(2, 3), keepdim=True)
    return (tile / tile.std()).tile(1, 1, SIZE // 4, SIZE // 4)


CHECKERBOARD = (torch.arange(SIZE)[:, None] + torch.arange(SIZE)) % 2 * 2.0 - 1


def test_psnr_by_hand() -> None:
    target, hole = torch.zeros(3, 3, 4, 4), torch.zeros(3, 1, 4, 4, dtype=torch.bool)
    hole[:2, :, 0] = True
    output = target.clone()
    output[0, :, 0] = 0.1  # mean square 0.01 -> 20 dB
    output[0, :, 1:] = 1.0  # outside the hole: doesn't count
    psnr = metrics.hole_psnr(output, target, hole)
    assert psnr[0].item() == pytest.approx(20, abs=1e-4)
    assert psnr[1] == math.inf
    assert psnr[2].isnan()


@pytest.mark.parametrize("smooth", [True, False])
def test_psnr_and_ssim_equal_scikit_image(smooth: bool) -> None:
    target, hole = texture(0, smooth), slanted_strip(9)
    output = (target + 0.1 * torch.randn(target.shape, generator=torch_rng("noise"))).clamp(0, 1)
    inside = hole[0, 0].numpy()
    a, b = (p[0].permute(1, 2, 0).numpy() for p in (target, output))
    expected = peak_signal_noise_ratio(a[inside], b[inside], data_range=1)
    assert metrics.hole_psnr(output, target, hole).item() == pytest.approx(expected, abs=1e-4)
    _, full = structural_similarity(
        a, b, channel_axis=2, data_range=1, gaussian_weights=True, sigma=1.5, use_sample_covariance=False, full=True
    )
    assert metrics.hole_ssim(output, target, hole).item() == pytest.approx(full[inside].mean(), abs=1e-4)
    everywhere = torch.ones_like(hole)
    assert metrics.hole_ssim(output, target, everywhere).item() == pytest.approx(full.mean(), abs=1e-4)


def test_lpips_looks_at_the_hole() -> None:
    lpips, target = Lpips("alex"), texture(1, smooth=False)
    left = torch.zeros(1, 1, SIZE, SIZE, dtype=torch.bool)
    left[..., : SIZE // 2] = True
    output = torch.where(left, 0.5, target)
    inside, outside = (metrics.hole_lpips(output, target, hole, lpips).item() for hole in (left, ~left))
    assert inside > 2 * outside
    everywhere = metrics.hole_lpips(output, target, left | ~left, lpips).item()
    assert everywhere == pytest.approx((inside + outside) / 2, rel=1e-4)
    assert everywhere == pytest.approx(lpips.distance_map(output, target).mean().item(), rel=1e-4)
    assert metrics.hole_lpips(target, target, left, lpips).item() == 0


@pytest.mark.parametrize("width", [3, 8, 20])
def test_artefact_score_is_zero_on_the_truth_and_grows_with_a_checkerboard(width: int) -> None:
    target, hole = texture(2), slanted_strip(width)
    for pattern in (CHECKERBOARD, tile_pattern(0)):
        scores = [
            metrics.artefact_score(target + strength * pattern, target, hole).item()
            for strength in (0.0, 0.005, 0.01, 0.02, 0.04)
        ]
        assert scores[0] == 0
        assert scores == sorted(scores)
        assert scores[1] > 0
        assert scores[4] == pytest.approx(64 * scores[1], rel=0.01)  # the square of eight times the amplitude


def test_artefact_score_of_known_patterns_by_hand() -> None:
    columns = torch.arange(SIZE)
    flat, hole = torch.full((1, 3, SIZE, SIZE), 0.5), torch.ones(1, 1, SIZE, SIZE, dtype=torch.bool)
    # Columns 0, a, 0, -a: steps of ±a along rows, none along columns; half of all directions -> a^2 / 2.
    period_4 = 4 / 255 * torch.sin(columns * math.pi / 2)
    assert metrics.artefact_score(flat + period_4, flat, hole).item() == pytest.approx(0.5, rel=1e-3)
    # Alternating ±a: steps of ±2a, harmonic weighted twice, both directions -> 8 a^2.
    period_2 = 4 / 255 * CHECKERBOARD
    assert metrics.artefact_score(flat + period_2, flat, hole).item() == pytest.approx(8, rel=1e-3)
    # Half the amplitude on a truth whose own steps are ±4a: 2 a^2 / (4 a)^2.
    truth = flat + 2 * period_2
    assert metrics.artefact_score(truth + period_2 / 2, truth, hole).item() == pytest.approx(1 / 8, rel=1e-3)


def test_artefact_score_ignores_errors_without_a_grid() -> None:
    hole = slanted_strip(12)
    ramp = torch.linspace(-0.1, 0.1, SIZE)
    wrong = {
        "offset": lambda t: t + 0.05,
        "ramp": lambda t: t + ramp,
        "blur": lambda t: torch.nn.functional.avg_pool2d(t, 9, 1, 4, count_include_pad=False),
        "grey": lambda t: torch.full_like(t, 0.5),
        "row fill": lambda t: t.roll(-13, dims=-1),
    }
    for name, spoil in wrong.items():
        scores = [metrics.artefact_score(spoil(texture(s)), texture(s), hole).item() for s in range(6)]
        grid = [
            metrics.artefact_score(spoil(texture(s)) + 0.04 * tile_pattern(s), texture(s), hole).item()
            for s in range(6)
        ]
        assert abs(sum(scores)) < 0.1 * sum(grid), name


def test_artefact_score_looks_at_the_hole_only() -> None:
    target, hole = texture(3), slanted_strip(8)
    output = torch.where(hole, target, target + 0.1 * CHECKERBOARD)
    assert metrics.artefact_score(output, target, hole).item() == 0


def test_pictures_without_a_hole_are_nan_and_do_not_touch_others() -> None:
    target, output = texture(4).repeat(2, 1, 1, 1), texture(5).repeat(2, 1, 1, 1)
    hole = torch.cat([slanted_strip(8), torch.zeros(1, 1, SIZE, SIZE, dtype=torch.bool)])
    lpips = Lpips("alex")
    figures = {
        "psnr": metrics.hole_psnr(output, target, hole),
        "ssim": metrics.hole_ssim(output, target, hole),
        "lpips": metrics.hole_lpips(output, target, hole, lpips),
        "artefact": metrics.artefact_score(output, target, hole),
    }
    for name, values in figures.items():
        assert values.shape == (2,), name
        assert values.isfinite().tolist() == [True, False], name
        assert values[1].isnan(), name
    speck = torch.zeros(1, 1, SIZE, SIZE, dtype=torch.bool)
    speck[..., 10:16, 10:16] = True  # too small to tell a period of 4 px
    assert metrics.artefact_score(output[:1], target[:1], speck).isnan().all()


def test_hole_widths_by_eye() -> None:
    hole = torch.tensor([[0, 1, 1, 0, 1], [1, 1, 1, 1, 1], [0, 0, 0, 0, 0], [1, 0, 1, 0, 1]], dtype=torch.bool)
    expected = [[0, 2, 2, 0, 1], [5, 5, 5, 5, 5], [0, 0, 0, 0, 0], [1, 0, 1, 0, 1]]
    assert metrics.hole_widths(hole[None, None])[0, 0].tolist() == expected


@settings(deadline=None)
@given(st.lists(st.booleans(), min_size=1, max_size=40))
def test_hole_widths_count_each_run_once(row: list[bool]) -> None:
    hole = torch.tensor(row).view(1, 1, 1, -1)
    widths = metrics.hole_widths(hole)
    runs = [len(run) for run in "".join("1" if h else "0" for h in row).split("0") if run]
    assert sorted(widths[hole].tolist()) == sorted(length for length in runs for _ in range(length))


def test_ring_surrounds_the_hole() -> None:
    hole = torch.zeros(1, 1, 7, 7, dtype=torch.bool)
    hole[0, 0, 3, 3] = True
    ring = metrics.hole_ring(hole, 2)
    assert ring.sum() == 24
    assert not (ring & hole).any()


def test_hole_masks_by_hand() -> None:
    exact, predicted = torch.zeros(2, 1, 4, 8, dtype=torch.bool), torch.zeros(2, 1, 4, 8, dtype=torch.bool)
    exact[0, 0, :, 2:4], predicted[0, 0, :, 3:5] = True, True
    predicted[0, 0, 0, 7] = True  # far from the exact hole
    assert metrics.hole_iou(predicted, exact)[0].item() == pytest.approx(4 / 13)
    assert metrics.hole_iou(predicted, exact)[1].isnan()
    assert metrics.stray_pixels(predicted, exact).tolist() == [1, 0]


def test_siou_by_hand() -> None:
    left, right = torch.zeros(1, 3, 40, 40), torch.zeros(1, 3, 40, 40)
    left[..., 10:30, 20:30], right[..., 10:30, 16:26] = 1.0, 1.0
    # Changed from left to right: columns 16..19 and 26..29 of 20 rows.
    assert metrics.siou(right, right, left).item() == 1
    # The left picture as the right one: nothing changed (0 of 0.25), and edges overlap in part of the horizontal lines.
    doing_nothing = metrics.siou(left, right, left).item()
    assert 0 < doing_nothing < 0.75 * 0.5
    # Everything right but half the changed pixels: the edges' own part, and half of the 0.25 at most.
    half = right.clone()
    half[..., 10:30, 26:30] = 0.012  # 3 of 255: below what counts as a change of 5, and no edge
    assert metrics.siou(half, right, left).item() == pytest.approx(1)
    darker = left.clone()
    darker[..., :5, :5] = 2 / 255
    assert metrics.siou(right, right, darker).item() == 1
    batch = metrics.siou(torch.cat([right, left]), right, left)
    assert batch.tolist() == pytest.approx([1, doing_nothing])
    assert metrics.siou(torch.zeros_like(left), torch.zeros_like(left), torch.zeros_like(left)).isnan().all()


def test_siou_shares_of_edges_and_changes() -> None:
    left, right = torch.zeros(1, 3, 40, 40), torch.zeros(1, 3, 40, 40)
    right[..., 8:24, 8:24] = 20 / 255  # a change, too faint for an edge
    output = right.clone()
    output[..., 8:24, 16:24] = 0.0  # half of it
    bar = slice(32, 36)
    for view in (left, right, output):
        view[..., bar, :] = 1.0  # the same edges everywhere
    assert metrics.siou(output, right, left).item() == pytest.approx(0.75 + 0.25 / 2)
