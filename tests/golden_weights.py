"""The weights of the golden vectors: computed from the names of the state-dict entries rather than stored."""

from __future__ import annotations

import zlib

import numpy as np
import torch
from torch import nn

MATRIX_SUFFIXES = ("weight", ".original", ".original0", ".original1")


def golden_value(name: str, shape: tuple[int, ...]) -> np.ndarray:
    """Return the float32 array for the state-dict entry `name` of `shape`."""
    a = np.random.default_rng(zlib.crc32(name.encode())).standard_normal(shape)
    if name.endswith(MATRIX_SUFFIXES) and len(shape) >= 2:
        a = a / np.sqrt(np.prod(shape[1:]))
    elif name.endswith("weight") and len(shape) == 1:
        a = 1 + 0.1 * a
    elif name.endswith(("_u", "_v")):
        a = a / np.linalg.norm(a)
    else:
        a = 0.1 * a
    return a.astype(np.float32)


def golden_state(shapes: dict[str, tuple[int, ...]]) -> dict[str, torch.Tensor]:
    """Return the golden tensor of every entry of a state dict, given by its shapes."""
    return {name: torch.from_numpy(golden_value(name, tuple(shape))) for name, shape in shapes.items()}


def load_golden_weights(model: nn.Module) -> nn.Module:
    """Load the golden value of every entry of `model.state_dict()` and return `model`."""
    model.load_state_dict(golden_state({name: tuple(t.shape) for name, t in model.state_dict().items()}))
    return model
