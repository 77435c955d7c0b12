"""Training in several processes from one: start torchrun, follow what it says, read what it leaves."""

import contextlib
import dataclasses
import os
import signal
import tempfile
from collections import deque
from pathlib import Path
from typing import Any

import yaml

from inpaintkit.config import TrainConfig
from inpaintkit.errors import InputError, RunFailed
from inpaintkit.files import atomic_write_text
from inpaintkit.processes import Child, follow, told
from inpaintkit.training.progress import Row
from inpaintkit.training.run import Run
from inpaintkit.training.stopping import ASKED_SIGNAL, PARENT_VARIABLE

TAIL_LINES = 200
"""Of a process that crashed, what it says comes before what the others and torchrun say of it."""

ENDS = {"refused", "failed", "stopped"}
"""What a process tells last, see `__main__`. Afterwards torchrun has a traceback of its own to tell."""


def fit_in_processes(config: TrainConfig, run: Run) -> None:
    """Train with ``config.processes`` processes, until they end.

    Lines of the workers reach the callbacks of `run` as messages, rows of the loss CSV as rows. Raises `InputError` or
    `RunFailed` with what a worker failed of, `KeyboardInterrupt` after a stop signal, once the workers have saved.
    """
    said: dict[str, Any] = {}
    tail: deque[str] = deque(maxlen=TAIL_LINES)
    passed_on = None

    def pass_stop_on() -> None:
        nonlocal passed_on
        wanted = signal.SIGTERM if run.stop.signal is not None else ASKED_SIGNAL if run.stop.asked else None
        if wanted is not None and wanted != passed_on:
            passed_on = wanted
            if "leader" in said:
                # torchrun would give its processes 30 s to save; the first of them agrees with the others and takes its time
                with contextlib.suppress(ProcessLookupError):
                    os.kill(said["leader"], wanted)
            else:
                torchrun.terminate()

    with tempfile.TemporaryDirectory() as folder, _start(config, Path(folder)) as torchrun:
        for _, line in follow([torchrun], pass_stop_on):
            if line is None:
                continue
            message = told(line)
            if message is None:
                tail.append(line)
                if not ENDS & said.keys():
                    run.say(line)
                continue
            said |= message
            if "row" in message:
                row: Row = message["row"]
                run.progress.steps_done = int(row["epoch"]) * run.plan.steps_per_epoch
                run.at_stop = (row,)
                run.tell("on_row", row)
        status = torchrun.wait()
    if "refused" in said:
        raise InputError(said["refused"])
    if "failed" in said:
        raise RunFailed(said["failed"])
    if run.stop.signal is not None:
        raise KeyboardInterrupt(said.get("stopped", f"stopped by {signal.Signals(run.stop.signal).name}"))
    if not status:
        return
    if run.stop.asked and ("stopped" in said or "leader" not in said):
        raise KeyboardInterrupt(said.get("stopped", "stopped before the first step"))
    if "stopped" in said:
        raise InputError(said["stopped"])
    raise RunFailed("a training process failed; its last lines:\n" + "\n".join(tail))


def _start(config: TrainConfig, folder: Path) -> Child:
    """Start torchrun with the processes of `config`, which lies in `folder` for them."""
    params = folder / "params.yaml"
    atomic_write_text(params, yaml.safe_dump(dataclasses.asdict(config), sort_keys=False, allow_unicode=True))
    torchrun = ["-m", "torch.distributed.run", "--standalone", f"--nproc-per-node={config.processes}"]
    arguments = [*torchrun, "-m", "inpaintkit.training", "--config", str(params)]
    environment = {PARENT_VARIABLE: str(os.getpid()), "PYTHONFAULTHANDLER": "1"}  # a crash says where it was
    return Child(arguments, 1, environment)  # one thread each, as torchrun itself would choose
