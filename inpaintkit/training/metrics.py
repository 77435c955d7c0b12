"""Figures of how good a fill is, computed inside holes only: outside, every method is perfect.

All pictures are (B, 3, H, W) in 0..1, holes (B, 1, H, W) bool with True = missing. Every function returns (B,), one
value per picture, NaN for a picture without anything to judge (no hole): average with `torch.nanmean`. Values of the
output outside 0..1 are clamped, as they would be in a file.
"""

import torch
from torch import Tensor

from inpaintkit.training.perceptual import Lpips

# The generator writes cells of 4 px (pixel shuffle by 4) in pairs (pixel shuffle by 2 before), so its patterns repeat
# every 8, 4 or 2 px.
PERIOD = 8
# Rows, columns and both diagonals, as (rows, columns) per step: any narrow hole is long in one of them.
DIRECTIONS = ((0, 1), (1, 0), (1, 1), (1, -1))
# Distance in px from the first to the last pixel that is compared; the line of pixels is longer by one.
REACH = PERIOD + PERIOD // 2 + 1
# With fewer places in a hole, an artefact score is mostly chance.
LEAST_PLACES = 100
# Pictures with less contrast per pixel than this (4 steps of 8 bit) are treated as having this contrast.
FLAT_CONTRAST = 4 / 255
HIGHEST_PSNR = 60.0
"""Highest PSNR (dB) that enters a mean: an equal fill's is infinite. Rounding to 8 bit alone leaves 58.9 dB."""


def hole_psnr(output: Tensor, target: Tensor, hole: Tensor) -> Tensor:
    """Return the peak signal-to-noise ratio over hole pixels in dB, (B,); inf for an equal fill."""
    error = (output.clamp(0, 1) - target).square().mean(dim=1, keepdim=True)
    return -10 * torch.log10(hole_mean(error, hole))


def hole_lpips(output: Tensor, target: Tensor, hole: Tensor, lpips: Lpips) -> Tensor:
    """Return the mean over hole pixels of the LPIPS distance map, (B,); 0 = equal."""
    return hole_mean(lpips.distance_map(output.clamp(0, 1), target), hole)


def hole_mean(values: Tensor, hole: Tensor) -> Tensor:
    """Return the mean of (B, 1, H, W) over hole pixels, (B,); NaN without any."""
    return _sum(torch.where(hole, values, 0.0)) / _sum(hole)


def artefact_score(output: Tensor, target: Tensor, hole: Tensor) -> Tensor:
    """Return the strength of patterns that repeat every 8 px inside holes, relative to the pictures' contrast, (B,).

    Periods of 4 and 2 px are harmonics of 8 px and count alike. 0 = no pattern; about 1 = nothing but pattern.

    Definition: let r = output - target, let x run along a row, a column or a diagonal, and g(x) = r(x + 1) - r(x). With
    the mean over the period around lag 8,

        m(x) = (g(x+4)/2 + g(x+5) + g(x+6) + g(x+7) + g(x+8) + g(x+9) + g(x+10) + g(x+11) + g(x+12)/2) / 8,

    the pattern's energy is E = mean[g(x) (g(x+8) - m(x))] over all x, channels and the four directions for which
    x .. x+13 lie in the hole. By the Wiener-Khinchin theorem that is the power spectrum of g integrated with the weight
    cos(16 pi f) (1 - D(f)), D(f) = (1 + 2 cos(2 pi f) + 2 cos(4 pi f) + 2 cos(6 pi f) + cos(8 pi f)) / 8: a comb with
    teeth of weight 1 on 1/8, 2/8, 3/8 and 4/8 cycles per px, below 0 between them. For whatever repeats every 8 px, E
    is exactly the energy of its g. The score is E / max(T, O, (4/255)^2), with T and O the mean over the same x
    of g^2 of the target and of the output.

    For output = target + a * pattern it is a^2 P / max(T, O), with P the mean of g^2 of the pattern: proportional to
    a^2 while the pattern is weak, and growing to about 1. A blurred fill has the same T, so the same weak pattern gives
    the same score on it. Blur alone, offsets, noise or missing texture have no such teeth in their spectrum, so their
    expected score is 0; single pictures scatter around that by some hundredths, also below. What repeats every 8 px in
    the target (JPEG blocks, a fence) and is missing in the output counts as a pattern, too.

    Unlike a Fourier transform this needs no window, so narrow, slanted holes count wherever they hold 14 px in a line;
    a pattern that varies only across a narrower hole can't be seen. NaN with fewer than 100 places to start a line.
    """
    output = output.clamp(0, 1)
    energy = of_target = of_output = places = torch.zeros(len(hole), device=hole.device)
    for direction in DIRECTIONS:
        inside = torch.stack([_at(hole, direction, shift) for shift in range(REACH + 1)]).all(dim=0)
        first, minus_mean = _steps(output - target, direction)
        energy = energy + _sum((first * minus_mean).mean(dim=1, keepdim=True) * inside)
        of_target, of_output = (
            before + _sum(_step(x, direction, 0).square().mean(dim=1, keepdim=True) * inside)
            for before, x in ((of_target, target), (of_output, output))
        )
        places = places + _sum(inside)
    contrast = torch.maximum(of_target, of_output).clamp(min=FLAT_CONTRAST**2 * places)
    return torch.where(places >= LEAST_PLACES, energy / contrast, torch.nan)


def _steps(x: Tensor, direction: tuple[int, int]) -> tuple[Tensor, Tensor]:
    """Return g(x) and g(x+8) - m(x) of `artefact_score` for all x that have `REACH` pixels after them."""
    half = PERIOD // 2
    mean = torch.zeros_like(_at(x, direction, 0))
    for lag in range(PERIOD - half, PERIOD + half + 1):
        mean += _step(x, direction, lag) * ((0.5 if abs(lag - PERIOD) == half else 1.0) / PERIOD)
    return _step(x, direction, 0), _step(x, direction, PERIOD) - mean


def _step(x: Tensor, direction: tuple[int, int], shift: int) -> Tensor:
    return _at(x, direction, shift + 1) - _at(x, direction, shift)


def _at(x: Tensor, direction: tuple[int, int], shift: int) -> Tensor:
    """Return what `x` holds `shift` px further in `direction`, for all places with `REACH` px after them."""
    for axis, along in zip((-2, -1), direction, strict=True):
        start = shift if along > 0 else REACH - shift
        x = x.narrow(axis, start, max(x.shape[axis] - REACH, 0)) if along else x
    return x


def _sum(x: Tensor) -> Tensor:
    return x.sum(dim=(1, 2, 3), dtype=torch.float32)
