"""The weights to use where they aren't those being trained: schedule-free optimisers, moving averages."""

import contextlib
from collections.abc import Iterator

import torch
from torch import nn
from torch.optim.swa_utils import AveragedModel


class MovingAverage(AveragedModel):
    """Exponential moving average of the weights of `model`.

    It is torch's own, without its copy of a counter to the device. Call ``update_parameters(model)`` after each
    optimiser step; the first call copies the weights.
    """

    def __init__(self, model: nn.Module, decay: float) -> None:
        super().__init__(model)
        self.decay = decay

    @torch.no_grad()
    def update_parameters(self, model: nn.Module) -> None:
        share = 1 - self.decay if self.n_averaged else 1.0
        torch._foreach_lerp_(list(self.module.parameters()), list(model.parameters()), share)
        self.n_averaged += 1


@contextlib.contextmanager
def averaged_weights(
    optimizer: torch.optim.Optimizer, model: nn.Module, average: AveragedModel | None
) -> Iterator[None]:
    """Within the context, `model` holds the weights to use: the `average`, or those of a schedule-free `optimizer`.

    Without either, they are the training weights. After the context the training weights are restored bit by bit:
    `optimizer.eval()` and `.train()` alone would round them, and a run that saves more often would end with other
    weights.
    """
    schedule_free = hasattr(optimizer, "eval")
    kept = [(parameter, parameter.detach().clone()) for parameter in model.parameters()]
    if average is not None:
        with torch.no_grad():
            for parameter, mean in zip(model.parameters(), average.module.parameters(), strict=True):
                parameter.copy_(mean)
    elif schedule_free:
        optimizer.eval()  # type: ignore[attr-defined]
    try:
        yield
    finally:
        if schedule_free:
            optimizer.train()  # type: ignore[attr-defined]
        with torch.no_grad():
            for parameter, value in kept:
                parameter.copy_(value)
