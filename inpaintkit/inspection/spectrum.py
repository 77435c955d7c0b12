"""Spectra of pictures inside holes.

A network's pixel grid of 4 px shows as peaks at 1/4 and 1/2 cycles per px, one of 8 px also at 1/8 and 3/8.
"""

import torch
from torch import Tensor

LAGS = 16  # px; also the resolution: 1 / (2 * LAGS) cycles per px
POINTS = 129
LEAST_POWER = 1e-9  # of values 0..1; keeps logarithms finite where rounding gives 0


def step_products(picture: Tensor, hole: Tensor) -> tuple[Tensor, Tensor]:
    """Return sums and counts, (LAGS + 1,) each, of products of steps `lag` px apart, both within holes.

    A step is the difference of two neighbouring pixels of a row or of a column. `picture` is (B, 3, H, W) in 0..1,
    `hole` (B, 1, H, W) bool, True = missing. The results of several batches can be added.
    """
    sums, counts = (torch.zeros(LAGS + 1, dtype=torch.float64) for _ in range(2))
    for axis in (-1, -2):
        size = picture.shape[axis] - 1
        steps = picture.clamp(0, 1).diff(dim=axis).double()
        known = hole.narrow(axis, 0, size) & hole.narrow(axis, 1, size)
        for lag in range(min(LAGS + 1, size)):
            first, second = (steps.narrow(axis, start, size - lag) for start in (0, lag))
            both = known.narrow(axis, 0, size - lag) & known.narrow(axis, lag, size - lag)
            sums[lag] += float((first * second * both).sum())
            counts[lag] += float(both.sum()) * picture.shape[1]
    return sums, counts


def spectrum(sums: Tensor, counts: Tensor) -> tuple[Tensor, Tensor]:
    """Return frequencies in cycles per px, 0..0.5, and the power of steps there, (POINTS,) each, from `step_products`.

    Method of Blackman and Tukey ("The Measurement of Power Spectra", 1958): the cosine transform of the autocovariance
    under a Hann window. It needs no rectangle of pixels, so all of a narrow, slanted hole can be used.
    """
    lags = torch.arange(len(sums), dtype=torch.float64)
    covariance = torch.where(counts > 0, sums / counts.clamp(min=1), 0.0)
    covariance = covariance * (0.5 + 0.5 * torch.cos(torch.pi * lags / len(sums)))
    covariance[1:] *= 2
    frequencies = torch.linspace(0, 0.5, POINTS, dtype=torch.float64)
    power = torch.cos(2 * torch.pi * frequencies[:, None] * lags) @ covariance
    return frequencies, power.clamp(min=LEAST_POWER)
