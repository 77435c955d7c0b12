"""Train in a process of its own, which may send itself a signal after a number of steps."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Mapping
from typing import Any

import torch
from own_process import OwnProcess

from inpaintkit.config import GanConfig, TrainConfig
from inpaintkit.training import GanTrainer, Trainer
from inpaintkit.training.callbacks import Callback, RunView, StepInfo

SECONDS = 300


class SendSignal(Callback):
    def __init__(self, step: int, name: str, whom: str = "process") -> None:
        self.step, self.number = step, signal.Signals[name]
        self.whom = whom

    def on_step(self, run: RunView, info: StepInfo) -> None:
        if run.steps_done == self.step:
            self.send()

    def send(self) -> None:
        if self.whom != "group":
            os.kill(os.getpid(), self.number)
            return
        # from outside, as a batch system does: a signal sent by their parent would end loader workers
        outside = f"import os; os.killpg({os.getpgrp()}, {int(self.number)})"
        subprocess.run([sys.executable, "-S", "-c", outside], start_new_session=True)


def train(params: dict[str, Any], *signal_at: Any) -> None:
    """Train here; `signal_at`: the step after which to send a signal, the signal, and "group" for the process group."""
    torch.set_num_threads(1)
    callbacks = [SendSignal(*signal_at)] if signal_at else []
    if "discriminator" in params:
        GanTrainer(GanConfig.from_params(params), callbacks).fit()
    else:
        Trainer(TrainConfig.from_params(params), callbacks).fit()


def start_training(params: dict[str, Any], *signal_at: Any, environment: Mapping[str, str] | None = None) -> OwnProcess:
    """Start `train` in a process of its own."""
    return OwnProcess(train, params, *signal_at, environment=environment, leads="group" in signal_at)


def run_training(params: dict[str, Any], *signal_at: Any) -> tuple[int, str]:
    """Return the exit status and standard error of such a process."""
    return start_training(params, *signal_at).wait(SECONDS)
