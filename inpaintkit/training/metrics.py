"""How good a fill is, judged inside holes only: outside, every method is perfect and hides the differences.

All pictures are (B, 3, H, W) in 0..1, holes (B, 1, H, W) bool with True = missing. Every figure comes back as (B,), one
per picture, NaN where a picture has nothing to judge (no hole): average with `torch.nanmean`. Values of the output
outside 0..1 count as clamped, as they would be in a file. Pass a `hole_ring` instead of the hole to judge its
surroundings.
"""

import math

import cv2
import numpy as np
import torch
from torch import Tensor

from inpaintkit.neighbours import local_max, nearest_known
from inpaintkit.training.perceptual import Lpips

# Wang et al., "Image Quality Assessment: From Error Visibility to Structural Similarity", 2004; values in 0..1.
SSIM_SIGMA = 1.5
SSIM_RADIUS = 5
SSIM_C1, SSIM_C2 = 0.01**2, 0.03**2
# The generator writes cells of 4 px (pixel shuffle by 4) in pairs (by 2 before), so what it repeats has a period of 8 px,
# or one that 8 is a multiple of.
PERIOD = 8
# Rows, columns and both diagonals, as (rows, columns) per step: narrow holes are long in one of them, however they lie.
DIRECTIONS = ((0, 1), (1, 0), (1, 1), (1, -1))
# Longest distance of two steps that are compared; the line of pixels needed for it is longer by one.
REACH = PERIOD + PERIOD // 2 + 1
# With fewer places in a hole chance makes up most of an artefact score.
LEAST_PLACES = 100
# Patterns on pictures flatter than this per-pixel contrast are judged as on this one (4 steps of 8 bit).
FLAT_CONTRAST = 4 / 255
RING_WIDTH = 8
HIGHEST_PSNR = 60.0
"""What an equal fill, whose PSNR is infinite, counts as in a mean, in dB: rounding to 8 bit alone leaves 58.9 dB."""

# Yu et al., "Mono2Stereo: A Benchmark and Empirical Study for Stereo Conversion", CVPR 2025; the numbers are those of the
# authors' published evaluation code (song2yu/Mono2Stereo, compute_siou), in steps of 8 bit.
SIOU_CANNY = (100, 200)
SIOU_LEAST_CHANGE = 5
SIOU_EDGE_SHARE = 0.75


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


def ssim_map(output: Tensor, target: Tensor) -> Tensor:
    """Return the structural similarity per pixel and channel, (B, C, H, W), 1 = equal; borders mirror the edge pixels.

    The windows are Gaussian, sigma 1.5 px, 11 px wide; H, W >= 11.
    """
    mean_x, mean_y = _blur(output), _blur(target)
    variance_x = _blur(output * output) - mean_x * mean_x
    variance_y = _blur(target * target) - mean_y * mean_y
    covariance = _blur(output * target) - mean_x * mean_y
    similarity = (2 * mean_x * mean_y + SSIM_C1) * (2 * covariance + SSIM_C2)
    return similarity / ((mean_x * mean_x + mean_y * mean_y + SSIM_C1) * (variance_x + variance_y + SSIM_C2))


def artefact_score(output: Tensor, target: Tensor, hole: Tensor) -> Tensor:
    """Return the strength of patterns that repeat every 8 px inside holes, relative to the pictures' contrast, (B,).

    Periods of 4 and 2 px are harmonics of 8 px and count alike. 0 = no pattern; about 1 = nothing but pattern.

    Definition: let r = output - target, let x run along a row, a column or a diagonal, and g(x) = r(x + 1) - r(x). With
    the mean over the period around lag 8,

        m(x) = (g(x+4)/2 + g(x+5) + g(x+6) + g(x+7) + g(x+8) + g(x+9) + g(x+10) + g(x+11) + g(x+12)/2) / 8,

    the pattern's energy is E = mean[g(x) (g(x+8) - m(x))] over all x, channels and the four directions for which
    x .. x+13 lie in the hole. By the Wiener-Khinchin theorem that is the power spectrum of g integrated with the weight
    cos(16 pi f) (1 - D(f)), D(f) = (1 + 2 cos(2 pi f) + 2 cos(4 pi f) + 2 cos(6 pi f) + cos(8 pi f)) / 8: a comb with
    teeth of weight 1 on 1/8, 2/8, 3/8 and 4/8 cycles per px, below 0 between them. For whatever repeats every 8 px, E is
    exactly the energy of its g. The score is E / max(T, O, (4/255)^2), with T and O the mean over the same x
    of g^2 of the target and of the output.

    For output = target + a * pattern it is a^2 P / max(T, O): proportional to a^2 while the pattern is weak, and growing
    to about 1. A blurred fill has the same T, so the same weak pattern gives the same score on it. Blur alone, offsets,
    noise or missing texture have no teeth in their spectrum and are expected at 0; single pictures scatter around that
    by some hundredths, also below. What repeats every 8 px in the target (JPEG blocks, a fence) and is missing in the
    output counts as a pattern, too.

    Unlike a Fourier transform this needs no window, so narrow, slanted holes count as far as they hold 14 px in a line;
    what changes only across a hole narrower than that can't be seen. NaN with fewer than 100 places to start a line.
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
    """Return x `shift` px further in `direction`, for all places from which `REACH` px exist that way."""
    for axis, along in zip((-2, -1), direction, strict=True):
        start = shift if along > 0 else REACH - shift
        x = x.narrow(axis, start, max(x.shape[axis] - REACH, 0)) if along else x
    return x


def hole_widths(hole: Tensor) -> Tensor:
    """Return for each hole pixel how many hole pixels lie side by side in its row there, (B, 1, H, W) int64; 0 outside.

    >>> hole_widths(torch.tensor([[[[1, 0, 1, 1, 1]]]], dtype=torch.bool)).flatten().tolist()
    [1, 0, 3, 3, 3]
    """
    previous, following = nearest_known(hole)
    return torch.where(hole, following - previous - 1, 0)


def hole_ring(hole: Tensor, width: int = RING_WIDTH) -> Tensor:
    """Return the known pixels at most `width` px (the larger of dx, dy) from the hole, (B, 1, H, W) bool."""
    return local_max(hole, width) & ~hole


def hole_iou(predicted: Tensor, exact: Tensor) -> Tensor:
    """Return intersection over union of two holes, (B,); 1 = equal, NaN where both are empty."""
    return _sum(predicted & exact) / _sum(predicted | exact)


def stray_pixels(predicted: Tensor, exact: Tensor) -> Tensor:
    """Return how many pixels of `predicted` touch no pixel of `exact`, diagonals included, (B,) px."""
    return _sum(predicted & ~exact & ~hole_ring(exact, 1))


def siou(output: Tensor, target: Tensor, other_view: Tensor) -> Tensor:
    """Return the Stereo Intersection-over-Union of whole right views, (B,); 1 = equal.

    0.75 of it is the intersection over union of Canny's edges in `output` and `target`, 0.25 that of the pixels in which
    they differ from `other_view`, the left view, by more than 5 of 255. One `target` and `other_view` serve a whole
    batch of outputs. NaN where there is no edge or no such pixel at all.

    Source: Yu et al., CVPR 2025, by the code that its authors published, except for two slips in that: it subtracts
    unsigned 8-bit numbers, so that darker by 1 counts as brighter by 255, and takes red for blue when turning grey.
    """
    eyes = [list(_levels(x).expand(len(output), -1, -1, -1)) for x in (output, target, other_view)]
    values = [_siou(*(eye.numpy() for eye in views)) for views in zip(*eyes, strict=True)]
    return torch.tensor(values, device=output.device)


def _siou(output: np.ndarray, target: np.ndarray, other_view: np.ndarray) -> float:
    edges = [cv2.Canny(cv2.cvtColor(view, cv2.COLOR_RGB2GRAY), *SIOU_CANNY) > 0 for view in (output, target)]
    changes = [cv2.cvtColor(cv2.absdiff(view, other_view), cv2.COLOR_RGB2GRAY) for view in (output, target)]
    shares = [
        np.float64(np.sum(one & two)) / (np.sum(one | two) or np.nan)
        for one, two in (edges, [change > SIOU_LEAST_CHANGE for change in changes])
    ]
    return float(SIOU_EDGE_SHARE * shares[0] + (1 - SIOU_EDGE_SHARE) * shares[1])


def _levels(x: Tensor) -> Tensor:
    """Return pictures (B, 3, H, W), 0..1, as 8-bit levels (B, H, W, 3)."""
    return (x.clamp(0, 1) * 255).round().to(torch.uint8).permute(0, 2, 3, 1).contiguous().cpu()


def _sum(x: Tensor) -> Tensor:
    return x.sum(dim=(1, 2, 3), dtype=torch.float32)


def _blur(x: Tensor) -> Tensor:
    """Return (B, C, H, W) blurred by SSIM's Gaussian: shifted pictures added up.

    On a CPU that takes a quarter of a convolution's time.
    """
    weights = [math.exp(-0.5 * (offset / SSIM_SIGMA) ** 2) for offset in range(SSIM_RADIUS + 1)]
    total = weights[0] + 2 * sum(weights[1:])
    padded = _mirror_pad(x, SSIM_RADIUS)
    for axis in (-1, -2):
        size = x.shape[axis]
        blurred = padded.narrow(axis, SSIM_RADIUS, size) * (weights[0] / total)
        for offset in range(1, SSIM_RADIUS + 1):
            both = padded.narrow(axis, SSIM_RADIUS - offset, size) + padded.narrow(axis, SSIM_RADIUS + offset, size)
            blurred.add_(both, alpha=weights[offset] / total)
        padded = blurred
    return padded


def _mirror_pad(x: Tensor, pad: int) -> Tensor:
    """Pad the last two axes by mirroring with the edge pixel repeated (which torch's padding modes lack)."""
    for axis in (-1, -2):
        size = x.shape[axis]
        positions = torch.arange(-pad, size + pad, device=x.device)
        positions = torch.where(positions < 0, -1 - positions, positions)
        positions = torch.where(positions >= size, 2 * size - 1 - positions, positions)
        x = x.index_select(axis, positions)
    return x
