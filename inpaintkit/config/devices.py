"""Devices by name."""

from __future__ import annotations

from inpaintkit.errors import InputError


def resolve_device(name: str) -> str:
    """Return the torch device for `name`; ``auto`` takes CUDA, else MPS, else the CPU. Raises `InputError`."""
    import torch

    if name == "auto":
        return "cuda" if torch.cuda.is_available() else "mps" if torch.backends.mps.is_available() else "cpu"
    kind, _, index = name.partition(":")
    available = {"cpu": True, "cuda": torch.cuda.is_available(), "mps": torch.backends.mps.is_available()}
    if kind not in available or (index and not index.isdecimal()):
        raise InputError(f"device: {name!r} is unknown; use auto, cpu, cuda, cuda:N or mps")
    if not available[kind] or (kind == "cuda" and index and int(index) >= torch.cuda.device_count()):
        raise InputError(f"device: {name} is not available on this machine; use device=auto or device=cpu")
    return name
