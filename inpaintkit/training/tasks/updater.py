"""One network's optimiser with all that belongs to it: schedule, gradient scale, clipping, warm-up, skipped steps."""

import math
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from inpaintkit.config import TrainConfig
from inpaintkit.training.amp import gradient_scaler
from inpaintkit.training.distributed import Group
from inpaintkit.training.iw3_state import BY_NAME, ORDER_KEY, from_name_order, to_name_order
from inpaintkit.training.schedule import create_optimizer, create_scheduler, warmed_up


class Updater:
    """The optimiser of `network` as `config` describes it; `amp` is the resolved arithmetic."""

    def __init__(self, config: TrainConfig, network: nn.Module, amp: str, device: str, group: Group) -> None:
        self.config, self.network, self.amp, self.group = config, network, amp, group
        self.optimizer = create_optimizer(config, network, amp)
        self.scheduler = create_scheduler(config, self.optimizer)
        self.scaler = gradient_scaler(amp, device)
        self._one = torch.ones((), device=device)
        self._skipped = torch.zeros((), dtype=torch.int64, device=device)

    def scale(self, loss: Tensor, summed: int = 1) -> Tensor:
        """Return `loss`, divided by the number of `summed` steps, scaled for its backward pass."""
        scaled: Tensor = self.scaler.scale(loss / summed)
        return scaled

    def update(self, number: int) -> None:
        """Do optimiser step `number` (from 1) with the gradients summed so far, averaged over all processes."""
        parameters = [p for group in self.optimizer.param_groups for p in group["params"]]
        self.group.average_gradients(parameters)
        if all(parameter.grad is None for parameter in parameters):
            return  # every step since the last update was skipped
        if self.config.clip_grad_norm > 0:
            self.scaler.unscale_(self.optimizer)
            nn.utils.clip_grad_norm_(parameters, self.config.clip_grad_norm)
        before = self.scaler.scale(self._one)
        with warmed_up(self.optimizer, self.config, number):
            self.scaler.step(self.optimizer)
        self.scaler.update()
        self._count_skipped(before)
        self.optimizer.zero_grad(set_to_none=True)

    def _count_skipped(self, before: Tensor) -> None:
        """Count the step if the scaler skipped it, which lowers its scale; the host doesn't wait for the device.

        A scale that falls from above 1, as in fp16, doesn't count: the scaler is searching for one that fits.
        """
        self._skipped += (self.scaler.scale(self._one) < before) & (before <= 1)
        if self.amp != "fp16":
            self.scaler.update(self._one)

    def skipped(self) -> int:
        """Return how many optimiser steps were skipped so far because a gradient was NaN or infinite."""
        return int(self._skipped)

    def train_mode(self) -> None:
        """Put a schedule-free optimiser into training mode."""
        if self.config.schedule_free:
            self.optimizer.train()  # type: ignore[attr-defined]

    def rates(self) -> dict[str, float]:
        """Return learning rate and weight decay, as the loss CSV shows them."""
        group = self.optimizer.param_groups[0]
        return {"learning_rate": group["lr"], "weight_decay": float(group["weight_decay"])}

    def next_epoch(self) -> None:
        if self.scheduler is not None:
            self.scheduler.step()

    def load_state(self, state: Mapping[str, Any], number: int) -> None:
        """Restore the state of updater `number` from a checkpoint, see `updater_state`.

        The checkpoint may come from an earlier version.
        """
        optimizer = state["optimizer_state_dict"][number]
        if state.get(ORDER_KEY) == BY_NAME:
            optimizer = from_name_order(optimizer, self.optimizer, self.network)
        # `fused` belongs to this machine, not to the run, and decides where torch keeps the step counts; iw3 and Macs
        # use another value
        own = [{"fused": group["fused"]} if "fused" in group else {} for group in self.optimizer.param_groups]
        groups = [{**group, **mine} for group, mine in zip(optimizer["param_groups"], own, strict=True)]
        self.optimizer.load_state_dict({**optimizer, "param_groups": groups})
        self.train_mode()  # iw3 saves a schedule-free optimiser in evaluation mode
        if self.scheduler is not None:
            self.scheduler.load_state_dict(state["scheduler_state_dict"][number])
        skipped = state.get("inpaintkit_skipped_updates", (0, 0))[number]
        if scaler := state["grad_scaler_state_dict"][number]:  # empty in checkpoints of early versions
            self.scaler.load_state_dict(scaler)
            if self.amp != "fp16":  # later versions halved the scale for each skipped step
                skipped += round(-math.log2(self.scaler.get_scale()))
                self.scaler.scale(self._one)  # creates the scale, which the next line sets
                self.scaler.update(self._one)
        self._skipped.fill_(skipped)


def updater_state(updaters: Sequence[Updater]) -> dict[str, Any]:
    """Return the states of `updaters` under the names of iw3's checkpoints, without schedules where there are none.

    The optimisers' parameters are in iw3's order.
    """
    return {
        "optimizer_state_dict": [to_name_order(each.optimizer, each.network) for each in updaters],
        "scheduler_state_dict": [each.scheduler.state_dict() for each in updaters if each.scheduler is not None],
        "grad_scaler_state_dict": [each.scaler.state_dict() for each in updaters],
        "inpaintkit_skipped_updates": [each.skipped() for each in updaters],
        ORDER_KEY: BY_NAME,
    }
