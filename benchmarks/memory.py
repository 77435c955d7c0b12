"""Measure the memory of this process (Linux only): what it holds now, and its peak since a chosen moment."""

from __future__ import annotations

from pathlib import Path

SELF = Path("/proc/self")


def reset_peak() -> float:
    """Reset the peak (imports have a high one) and return what the process holds now, in MiB."""
    (SELF / "clear_refs").write_text("5")
    return _status("VmRSS")


def peak_mib() -> float:
    """Return the most that the process held since `reset_peak`, in MiB."""
    return _status("VmHWM")


def _status(name: str) -> float:
    lines = (SELF / "status").read_text().splitlines()
    return next(int(line.split()[1]) / 1024 for line in lines if line.startswith(f"{name}:"))
