"""Train in several processes: start torchrun, follow its output, and turn its end into a result or an error."""

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
"""Number of output lines kept for an error message.

So many, because after a crashed process's own lines come those of the other processes and of torchrun.
"""

ENDS = {"refused", "failed", "stopped"}
"""Keys of a process's last message, see `__main__`. Afterwards torchrun only prints a traceback of its own."""


def fit_in_processes(config: TrainConfig, run: Run) -> None:
    """Train with ``config.processes`` processes until they end.

    The workers' output reaches the callbacks of `run` line by line as messages, rows of the loss CSV as rows. Raises
    `InputError` or `RunFailed` with the error of a worker; `KeyboardInterrupt` after a stop signal, once the workers
    have saved, or if a user asked to stop before the first step.
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
                # torchrun would kill its processes after 30 s; the leader stops all of them once the run is saved
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
                run.call_hooks("on_row", row)
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
    """Start torchrun with the processes of `config`, which they read from a file in `folder`."""
    params = folder / "params.yaml"
    atomic_write_text(params, yaml.safe_dump(dataclasses.asdict(config), sort_keys=False, allow_unicode=True))
    torchrun = ["-m", "torch.distributed.run", "--standalone", f"--nproc-per-node={config.processes}"]
    arguments = [*torchrun, "-m", "inpaintkit.training", "--config", str(params)]
    environment = {PARENT_VARIABLE: str(os.getpid()), "PYTHONFAULTHANDLER": "1"}  # a crash prints a traceback
    return Child(arguments, 1, environment)  # one thread each, as torchrun itself would choose
