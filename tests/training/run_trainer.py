"""Run a trainer in a process of its own; optionally send it a signal after a number of steps.

Usage: run_trainer.py CONFIG.json [STEP SIGNAL [group]], where ``group`` signals the whole process group.
"""

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import torch

from inpaintkit.config import GanConfig, TrainConfig
from inpaintkit.training import GanTrainer, Trainer
from inpaintkit.training.callbacks import Callback, RunView, StepInfo


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
        # from outside, as a batch system does: loader workers take a signal of their parent's for its wish to end them
        outside = f"import os; os.killpg({os.getpgrp()}, {int(self.number)})"
        subprocess.run([sys.executable, "-S", "-c", outside], start_new_session=True)


def main() -> None:
    torch.set_num_threads(1)
    params = json.loads(Path(sys.argv[1]).read_text())
    callbacks = [SendSignal(int(sys.argv[2]), *sys.argv[3:])] if len(sys.argv) > 2 else []
    if "discriminator" in params:
        GanTrainer(GanConfig.from_params(params), callbacks).fit()
    else:
        Trainer(TrainConfig.from_params(params), callbacks).fit()


if __name__ == "__main__":
    main()
