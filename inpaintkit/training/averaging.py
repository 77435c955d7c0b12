"""The weights to use: schedule-free optimisers train on one set of weights and mean another."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

import torch
from torch import nn


@contextlib.contextmanager
def averaged_weights(optimizer: torch.optim.Optimizer, model: nn.Module) -> Iterator[None]:
    """For the time of the context `model` holds the averaged weights of a schedule-free `optimizer`.

    Afterwards the training weights are back bit by bit: `optimizer.eval()` and `.train()` alone would round, and a
    run that saves more often would end elsewhere. Other optimisers: nothing happens.
    """
    if not hasattr(optimizer, "eval"):
        yield
        return
    kept = [(parameter, parameter.detach().clone()) for parameter in model.parameters()]
    optimizer.eval()
    try:
        yield
    finally:
        optimizer.train()  # type: ignore[attr-defined]
        with torch.no_grad():
            for parameter, value in kept:
                parameter.copy_(value)
