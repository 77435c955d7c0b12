"""Whether this processor computes faster in bf16 than in fp32: some gain several times, others lose.

Decided by what the processor says of itself, not by a measurement: on a busy machine that came out wrong now and then, and a
wrong answer costs a whole run twice its time and its reproducibility.
"""

import functools
from pathlib import Path

FAST_BF16 = ("amx_bf16", "avx512_bf16")
"""Processor features that multiply matrices in bf16, as Linux lists them. Measured with AVX-512 BF16: a training step takes
0.55 of its fp32 time."""


@functools.cache
def cpu_flags() -> frozenset[str]:
    """Return the features that this processor reports; none where the system doesn't list them (macOS)."""
    info = Path("/proc/cpuinfo")
    lines = info.read_text(encoding="utf-8", errors="replace").splitlines() if info.exists() else []
    flags = next((line for line in lines if line.startswith(("flags", "Features"))), "")
    return frozenset(flags.partition(":")[2].split())


def bf16_is_fast() -> bool:
    """Return whether bf16 is worth its rounding on this processor."""
    return any(name in cpu_flags() for name in FAST_BF16)
