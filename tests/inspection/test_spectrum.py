"""Spectra inside holes: a grid of 4 px stands out at 1/4 cycles per px, and only what lies in the hole counts."""

from __future__ import annotations

import torch

from inpaintkit.inspection.spectrum import spectrum, step_products
from inpaintkit.seeds import torch_rng

SIZE = 96


def noise(seed: int) -> torch.Tensor:
    return 0.5 + 0.1 * torch.randn(2, 3, SIZE, SIZE, generator=torch_rng("noise", seed))


def slanted_hole() -> torch.Tensor:
    y, x = torch.meshgrid(torch.arange(SIZE), torch.arange(SIZE), indexing="ij")
    return ((x - y // 3 > 20) & (x - y // 3 < 44)).expand(2, 1, SIZE, SIZE)


def power_at(picture: torch.Tensor, frequency: float) -> float:
    frequencies, power = spectrum(*step_products(picture, slanted_hole()))
    return float(power[(frequencies - frequency).abs().argmin()])


def test_a_grid_of_four_px_stands_out_at_a_quarter() -> None:
    flat = torch.full((2, 3, SIZE, SIZE), 0.5)
    grid = flat + 0.05 * (torch.arange(SIZE) % 4 == 0)
    assert power_at(grid, 0.25) > 20 * power_at(grid, 0.15)
    assert power_at(flat, 0.25) < 1e-8


def test_steps_of_white_noise_have_their_known_spectrum() -> None:
    """White noise of standard deviation s has steps of power 2 s^2 (1 - cos 2 pi f)."""
    for frequency, expected in ((0.25, 0.02), (0.5, 0.04)):
        assert abs(power_at(noise(1), frequency) / expected - 1) < 0.15


def test_only_the_hole_counts() -> None:
    outside = torch.where(slanted_hole(), noise(1), noise(2))
    assert power_at(outside, 0.25) == power_at(noise(1), 0.25)


def test_batches_add_up() -> None:
    whole = step_products(noise(1), slanted_hole())
    parts = [step_products(noise(1)[i : i + 1], slanted_hole()[i : i + 1]) for i in (0, 1)]
    for total, first, second in zip(whole, *parts, strict=True):
        torch.testing.assert_close(total, first + second)


def test_without_a_hole_the_power_is_0() -> None:
    frequencies, power = spectrum(*step_products(noise(1), torch.zeros(2, 1, SIZE, SIZE, dtype=torch.bool)))
    assert (power < 1e-8).all()
    assert (frequencies[0], frequencies[-1]) == (0, 0.5)
