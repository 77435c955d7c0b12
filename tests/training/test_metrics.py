"""Metrics judge holes and nothing else, and agree with hand-computed cases, scikit-image and the `lpips` package."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from skimage.filters import gaussian
from skimage.metrics import peak_signal_noise_ratio, structural_similarity
from torch import Tensor

from inpaintkit.inspection.likeness import ssim_map
from inpaintkit.model import LightInpaintV1
from inpaintkit.seeds import torch_rng
from inpaintkit.training import metrics
from inpaintkit.training.perceptual import Lpips

SIZE = 64


def texture(seed: int, smooth: bool = True) -> Tensor:
    """Return a random picture (1, 3, 64, 64) in 0.1..0.9; `smooth` gives it the 1/f spectrum of natural pictures."""
    picture = torch.rand(1, 3, SIZE, SIZE, generator=torch_rng("texture", seed))
    if smooth:
        frequency = torch.hypot(torch.fft.fftfreq(SIZE)[:, None], torch.fft.fftfreq(SIZE))
        picture = torch.fft.ifft2(torch.fft.fft2(picture) / frequency.clamp(min=1 / SIZE)).real
    low, high = picture.amin(), picture.amax()
    return 0.1 + 0.8 * (picture - low) / (high - low)


def slanted_strip(width: int) -> Tensor:
    """Return a hole (1, 1, 64, 64), `width` px wide in each row, leaning to the right."""
    y, x = torch.arange(SIZE)[:, None], torch.arange(SIZE)[None]
    left = 20 + y // 4
    return ((x >= left) & (x < left + width))[None, None]


def tile_pattern(seed: int, period: int = 4) -> Tensor:
    """Return a random pattern (1, 3, 64, 64) of mean 0 and variance 1 that repeats every `period` px."""
    tile = torch.randn(1, 3, period, period, generator=torch_rng("tile", seed, period))
    tile = tile - tile.mean(dim=(2, 3), keepdim=True)
    return (tile / tile.std()).tile(1, 1, SIZE // period, SIZE // period)


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
    similarity = ssim_map(output, target)[0].permute(1, 2, 0).numpy()
    assert similarity == pytest.approx(full, abs=1e-3)
    assert similarity[inside].mean() == pytest.approx(full[inside].mean(), abs=1e-4)


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


PATTERNS = {
    "checkerboard of 2 px": CHECKERBOARD,
    "tile of 4 px": tile_pattern(0, 4),
    "tile of 8 px": tile_pattern(0, 8),
    "both": tile_pattern(1, 4) + tile_pattern(1, 8),
    "stripes of 8 px": torch.sin(torch.arange(SIZE) * math.pi / 4).expand(1, 3, SIZE, SIZE),
    "blocks of 4 px": (torch.arange(SIZE)[:, None] // 4 + torch.arange(SIZE) // 4) % 2 * 2.0 - 1,
}
STRENGTHS = (0.0, 0.005, 0.01, 0.02, 0.04)
PHOTOS = sorted((Path(__file__).parents[2] / "data/samples/eval").glob("*.jpg"))


def photo_crops() -> Tensor:
    """Return three crops of each shipped evaluation photo, (12, 3, 64, 64)."""
    crops = []
    for file in PHOTOS:
        with Image.open(file) as opened:
            opened.draft("RGB", (720, 720))
            picture = torch.from_numpy(np.array(opened.convert("RGB"))).permute(2, 0, 1) / 255
        for part in (1, 2, 3):
            top, left = (size * part // 4 for size in picture.shape[1:])
            crops.append(picture[:, top : top + SIZE, left : left + SIZE])
    return torch.stack(crops)


def blurred(picture: Tensor, sigma: float) -> Tensor:
    return torch.from_numpy(gaussian(picture.numpy(), (0, 0, sigma, sigma), mode="nearest"))


def artefacts(output: Tensor, target: Tensor, width: int = 12) -> Tensor:
    """Return the artefact scores of pictures (B, 3, 64, 64) in a hole of `width` px per row."""
    return metrics.artefact_score(output, target, slanted_strip(width).expand(len(target), -1, -1, -1))


class TestArtefactScore:
    @pytest.mark.parametrize(
        ("name", "width"),
        # what changes along rows only needs holes that are wide in rows
        [(name, width) for name in PATTERNS for width in (6, 8, 20) if width == 20 or name != "stripes of 8 px"],
    )
    def test_is_zero_on_the_truth_and_grows_with_the_square_of_a_weak_pattern(self, name: str, width: int) -> None:
        target = texture(2, smooth=False)
        scores = [artefacts(target + a * PATTERNS[name], target, width).item() for a in STRENGTHS]
        assert scores[0] == 0
        assert scores == sorted(scores)
        assert scores[1] > 0
        assert scores[2] == pytest.approx(4 * scores[1], rel=0.1)

    def test_of_known_patterns_by_hand(self) -> None:
        size, level = 13 + 56, 1 / 255  # 7 whole periods of places
        columns, rows = torch.arange(size), torch.arange(size)[:, None]
        flat, hole = torch.full((1, 3, size, size), 0.5), torch.ones(1, 1, size, size, dtype=torch.bool)

        def score(output: Tensor, target: Tensor) -> float:
            return metrics.artefact_score(output, target, hole).item()

        # All 69 rows and columns hold lines, but only 56 places in each of 56 rows begin a diagonal.
        straight, diagonal = 69 / (2 * 69 + 2 * 56), 56 / (2 * 69 + 2 * 56)
        # Columns 0, a, 0, -a: steps of ±a along rows and both diagonals, none along columns; flat counts as (4 a)^2.
        period_4 = level * torch.sin(columns * math.pi / 2)
        across = straight + 2 * diagonal
        assert score(flat + period_4, flat) == pytest.approx(across / 16, rel=1e-3)
        # Alternating ±a: steps of ±2a along rows and columns, none along diagonals.
        period_2 = level * ((rows + columns) % 2 * 2.0 - 1)
        assert score(flat + period_2, flat) == pytest.approx(2 * straight * 4 / 16, rel=1e-3)
        # Columns 0 0 0 0 a a a a: two steps of ±a in 8 px.
        period_8 = level * (columns // 4 % 2)
        assert score(flat + period_8, flat) == pytest.approx(across / 4 / 16, rel=1e-3)
        # Nothing but pattern, stronger than what counts as flat.
        assert score(flat + 20 * period_8, flat) == pytest.approx(1, rel=1e-3)
        # On a truth with the same stripes, ten times stronger: the output's contrast counts, 11 times that of the pattern.
        truth = flat + 10 * period_4
        assert score(truth + period_4, truth) == pytest.approx(1 / 121, rel=1e-3)
        # The truth's contrast counts when it is the larger one.
        assert score(truth - period_4, truth) == pytest.approx(1 / 100, rel=1e-3)

    @pytest.mark.parametrize("period", [4, 8])
    def test_grows_with_a_pattern_on_photos(self, period: int) -> None:
        target = photo_crops().clamp(0.2, 0.8)  # so that no pattern is clipped
        scores = torch.stack([artefacts(target + a * tile_pattern(3, period), target) for a in STRENGTHS])
        assert (scores[0] == 0).all()
        assert (scores.diff(dim=0) > -0.01).all()  # the score levels off near 1, where only pattern is left
        assert (scores[:3].diff(dim=0) > 0).all()
        assert float(scores[-1].mean()) > 0.3

    @pytest.mark.parametrize("period", [4, 8])
    def test_a_pattern_shows_as_strongly_on_a_blurred_fill(self, period: int) -> None:
        target = photo_crops().clamp(0.2, 0.8)
        pattern = 0.01 * tile_pattern(3, period)
        sharp, soft = (artefacts(fill + pattern, target).mean().item() for fill in (target, blurred(target, 2)))
        assert soft == pytest.approx(sharp, abs=0.1)
        assert soft > 0.5 * sharp

    def test_errors_without_a_pattern_are_near_zero(self) -> None:
        target = photo_crops()
        noise = torch.randn(target.shape, generator=torch_rng("noise"))
        fills = {
            "slightly blurred": blurred(target, 1),
            "blurred": blurred(target, 2),
            "very blurred": blurred(target, 5),
            "averaged over 9 px": torch.nn.functional.avg_pool2d(target, 9, 1, 4, count_include_pad=False),
            "noisy": target + 0.1 * noise,
            "blurred and noisy": blurred(target, 2) + 0.05 * noise,
            "darker": target - 0.05,
            "ramp": target + torch.linspace(-0.1, 0.1, SIZE),
            "grey": torch.full_like(target, 0.5),
            "another place": target.roll(-13, dims=-1),
        }
        for name, fill in fills.items():
            scores = artefacts(fill, target)
            assert abs(float(scores.mean())) < 0.05, name
            assert float(scores.min()) > -0.3, name

    @settings(deadline=None, max_examples=25)
    @given(st.integers(0, 10**6), st.sampled_from([4, 8]), st.tuples(st.integers(0, 7), st.integers(0, 7)))
    def test_does_not_depend_on_where_the_grid_starts(self, seed: int, period: int, by: tuple[int, int]) -> None:
        """Crops start anywhere; patterns of any shape and phase raise the score."""
        target, pattern = texture(seed), tile_pattern(seed, period)
        here, there = (artefacts(target + 0.02 * p, target).item() for p in (pattern, pattern.roll(by, (-2, -1))))
        assert 0 < here <= 1.1
        assert there == pytest.approx(here, rel=0.25)

    @pytest.mark.parametrize("lean", [-1.0, -0.25, 0.0, 0.25, 1.0])
    def test_finds_a_pattern_in_narrow_holes_of_any_slant(self, lean: float) -> None:
        y, x = torch.arange(SIZE)[:, None], torch.arange(SIZE)[None]
        left = (SIZE - lean * (SIZE - 1)) / 2 + lean * y
        hole = ((x >= left) & (x < left + 6))[None, None]
        target = texture(6)
        score = metrics.artefact_score(target + 0.02 * tile_pattern(0, 8), target, hole).item()
        assert score > 0.05

    def test_of_an_untrained_generator_is_high(self) -> None:
        """Its cells of 4 px come in pairs: an earlier definition, which only looked at 4 px, gave less than -4."""
        model = LightInpaintV1(torch_rng(1), grey_start=True).eval()
        target = torch.nn.functional.interpolate(photo_crops()[:4], scale_factor=2.0)
        hole = torch.zeros(4, 1, 128, 128, dtype=torch.bool)
        hole[..., 50:70] = True
        with torch.no_grad():
            scores = metrics.artefact_score(model.infer(target, hole), target, hole)
        assert float(scores.min()) > 0.1

    def test_looks_at_the_hole_only(self) -> None:
        target, hole = texture(3), slanted_strip(8)
        output = torch.where(hole, target, target + 0.1 * CHECKERBOARD)
        assert metrics.artefact_score(output, target, hole).item() == 0

    def test_is_nan_where_chance_would_decide(self) -> None:
        target, output = texture(4), texture(5)
        speck = torch.zeros(1, 1, SIZE, SIZE, dtype=torch.bool)
        speck[..., 10:23, 10:23] = True  # no line of 14 px
        assert metrics.artefact_score(output, target, speck).isnan().all()
        speck[..., 8:24, 8:24] = True  # 3 places in each of 16 rows and columns, 3 x 3 for each diagonal
        assert metrics.artefact_score(output, target, speck).isfinite().all()


def test_pictures_without_a_hole_are_nan_and_do_not_touch_others() -> None:
    target, output = texture(4).repeat(2, 1, 1, 1), texture(5).repeat(2, 1, 1, 1)
    hole = torch.cat([slanted_strip(8), torch.zeros(1, 1, SIZE, SIZE, dtype=torch.bool)])
    lpips = Lpips("alex")
    figures = {
        "psnr": metrics.hole_psnr(output, target, hole),
        "ssim": metrics.hole_mean(ssim_map(output, target).mean(dim=1, keepdim=True), hole),
        "lpips": metrics.hole_lpips(output, target, hole, lpips),
        "artefact": metrics.artefact_score(output, target, hole),
    }
    for name, values in figures.items():
        assert values.shape == (2,), name
        assert values.isfinite().tolist() == [True, False], name
        assert values[1].isnan(), name


def test_values_outside_0_to_1_count_as_clamped() -> None:
    target, hole, lpips = texture(7), slanted_strip(8), Lpips("alex")
    output = target + 0.4 * texture(8) - 0.2 + CHECKERBOARD / 3
    assert float(output.min()) < 0
    assert float(output.max()) > 1
    for figure in (metrics.hole_psnr, metrics.artefact_score, lambda *given: metrics.hole_lpips(*given, lpips)):
        assert torch.equal(figure(output, target, hole), figure(output.clamp(0, 1), target, hole))
