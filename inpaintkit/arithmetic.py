"""Whether a processor computes faster in bf16 than in fp32: some gain several times, others lose."""

from __future__ import annotations

import time

import torch

CALIBRATION_SIZE = 1024
CALIBRATION_ROUNDS = 5
WORTHWHILE = 1.5
"""bf16 must be so many times faster at a matrix product before it is worth its rounding on a CPU."""


def _product_seconds(dtype: torch.dtype) -> float:
    a = torch.ones(CALIBRATION_SIZE, CALIBRATION_SIZE, dtype=dtype)
    best = float("inf")
    for _ in range(CALIBRATION_ROUNDS):
        started = time.perf_counter()
        a @ a
        best = min(best, time.perf_counter() - started)
    return best


def bf16_speedup() -> float:
    """Return how many times faster this CPU multiplies matrices in bf16 than in fp32; measures for about 0.2 s."""
    return _product_seconds(torch.float32) / _product_seconds(torch.bfloat16)
