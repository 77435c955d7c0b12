"""Decide whether this processor computes faster in bf16 than in fp32: some get several times faster, others slower.

The decision is based on CPU flags, not on a measurement: on a busy machine measurements were sometimes wrong, and a
wrong answer doubles the time of a whole run and costs its reproducibility.
"""

import functools
from pathlib import Path

FAST_BF16 = ("amx_bf16", "avx512_bf16")
"""CPU flags, as Linux names them, of instructions that multiply matrices in bf16. With AVX-512 BF16 a training step was
measured to take 0.55 of its fp32 time."""


@functools.cache
def cpu_flags() -> frozenset[str]:
    """Return the flags of this processor; empty where the system doesn't list them (macOS)."""
    info = Path("/proc/cpuinfo")
    lines = info.read_text(encoding="utf-8", errors="replace").splitlines() if info.exists() else []
    flags = next((line for line in lines if line.startswith(("flags", "Features"))), "")
    return frozenset(flags.partition(":")[2].split())


def bf16_is_fast() -> bool:
    """Return whether bf16 is worth its rounding errors on this processor."""
    return any(name in cpu_flags() for name in FAST_BF16)
