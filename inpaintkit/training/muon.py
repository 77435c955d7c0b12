"""The optimiser Muon: momentum with its singular values brought near 1, for the weight matrices inside a network.

Jordan et al. (2024); the length of a step is that of Liu et al., "Muon is scalable for LLM training" (2025), so that a
learning rate that suits AdamW suits Muon, too. torch's own Muon takes two-dimensional weights only and leaves out the
convolutions, which are half of the generator.
"""

from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import torch
from torch import Tensor

MOMENTUM = 0.95
ROUNDS = 5
COEFFICIENTS = (3.4445, -4.7750, 2.0315)
"""Coefficients of the quintic that pulls singular values towards 1.

All but tiny ones end between about 0.7 and 1.2, which is near enough.
"""
STEP_LENGTH = 0.2
"""Root mean square of an update at learning rate 1, about that of AdamW."""
BETAS, EPSILON = (0.9, 0.999), 1e-8  # of AdamW
TINY = 1e-7

Groups = Iterable[dict[str, Any]]


class Muon(torch.optim.Optimizer):
    """Muon for groups with ``"matrices": True``, AdamW for the others.

    A weight with more than two axes counts as the matrix (first axis, all others). Both decay weights as AdamW does: by
    learning rate times `weight_decay`. Directions are computed in `dtype`; bfloat16 is exact enough, where it is fast.
    """

    def __init__(self, groups: Groups, lr: float, dtype: torch.dtype = torch.float32) -> None:
        super().__init__(groups, {"lr": lr, "weight_decay": 0.0, "matrices": False})
        self.dtype = dtype

    @torch.no_grad()
    def step(self, closure: Callable[[], float] | None = None) -> None:  # type: ignore[override]
        for group in self.param_groups:
            weights = [weight for weight in group["params"] if weight.grad is not None]
            update = self._update_muon if group["matrices"] else self._update_adamw
            if weights:
                torch._foreach_mul_(weights, 1 - group["lr"] * group["weight_decay"])
                update(weights, group["lr"])

    def _update_muon(self, weights: Sequence[Tensor], rate: float) -> None:
        equal: dict[tuple[int, int], list[Tensor]] = defaultdict(list)
        for weight in weights:
            equal[len(weight), weight[0].numel()].append(weight)
        for shape, of_shape in equal.items():
            directions = torch.stack([self._momentum(weight).view(shape) for weight in of_shape])
            updates = orthogonal(directions.to(self.dtype))
            length = rate * STEP_LENGTH * max(shape) ** 0.5
            for weight, update in zip(of_shape, updates, strict=True):
                weight.sub_(update.view_as(weight), alpha=length)

    def _momentum(self, weight: Tensor) -> Tensor:
        """Update the weight's momentum with its gradient and return Nesterov's momentum."""
        assert weight.grad is not None
        state = self.state[weight]
        if not state:
            state["momentum"] = torch.zeros_like(weight)
        momentum = state["momentum"].lerp_(weight.grad, 1 - MOMENTUM)
        return weight.grad.lerp(momentum, MOMENTUM).contiguous()

    def _update_adamw(self, weights: Sequence[Tensor], rate: float) -> None:
        for weight in weights:
            state, gradient = self.state[weight], weight.grad
            assert gradient is not None
            if not state:
                state |= {"moves": 0, "mean": torch.zeros_like(weight), "square": torch.zeros_like(weight)}
            state["moves"] += 1
            mean = state["mean"].lerp_(gradient, 1 - BETAS[0])
            square = state["square"].lerp_(gradient.square(), 1 - BETAS[1])
            first, second = (1 - beta ** state["moves"] for beta in BETAS)
            weight.addcdiv_(mean, (square / second).sqrt_().add_(EPSILON), value=-rate / first)


def orthogonal(matrices: Tensor) -> Tensor:
    """Return `matrices` (N, rows, columns) with singular values brought near 1, computed in their dtype.

    The Newton-Schulz iteration does this with matrix products alone.
    """
    a, b, c = COEFFICIENTS
    tall = matrices.shape[-2] > matrices.shape[-1]
    x: Tensor = matrices.mT if tall else matrices
    x = x / (torch.linalg.matrix_norm(x, keepdim=True) + TINY)
    for _ in range(ROUNDS):
        square = x @ x.mT
        x = a * x + (b * square + c * square @ square) @ x
    return x.mT if tall else x
