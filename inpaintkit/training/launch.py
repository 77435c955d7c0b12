"""Training in several processes from one: start torchrun, follow what it says, read what it leaves."""

import contextlib
import dataclasses
import json
import os
import signal
import tempfile
from pathlib import Path

import yaml

from inpaintkit.config import TrainConfig
from inpaintkit.errors import InputError, RunFailed
from inpaintkit.files import atomic_write_text
from inpaintkit.processes import Child, follow
from inpaintkit.training.progress import Row
from inpaintkit.training.run import Run
from inpaintkit.training.stopping import PARENT_VARIABLE

REFUSED = "inpaintkit: "
"""How a worker marks an error that a user can mend."""
LEADER = "leader: "
"""How the worker that leads tells its process number."""
ROW = "row: "
"""How the worker that leads tells a row of the loss CSV, as JSON."""
FAILED = "failed: "
"""How a worker marks what ended its training."""
INTERRUPTED = "interrupted. "
"""How a worker begins to say, after `REFUSED`, where it was stopped."""


def fit_in_processes(config: TrainConfig, run: Run) -> None:
    """Train with ``config.processes`` processes, until they end.

    Lines of the workers reach the callbacks of `run` as messages, rows of the loss CSV as rows. Raises `InputError` or
    `RunFailed` with what a worker failed of, `KeyboardInterrupt` after a stop signal, once the workers have saved.
    """
    said = {LEADER: "", REFUSED: "", FAILED: "", ROW: ""}
    stopping = False

    def pass_stop_on() -> None:
        nonlocal stopping
        if not stopping and (run.stop.signal is not None or run.stop.asked):
            # torchrun would give its processes 30 s to save; the first of them agrees with the others and takes its time
            stopping = True
            with contextlib.suppress(ProcessLookupError):
                os.kill(int(said[LEADER] or torchrun.pid), signal.SIGTERM)

    with tempfile.TemporaryDirectory() as folder, _start(config, Path(folder)) as torchrun:
        for _, line in follow([torchrun], pass_stop_on):
            if line is None:
                continue
            mark = next((mark for mark in said if line.startswith(mark)), None)
            if mark is not None:
                said[mark] = line.removeprefix(mark)
            if mark == ROW:
                row: Row = json.loads(said[ROW])
                run.progress.steps_done = int(row["epoch"]) * run.plan.steps_per_epoch
                run.tell("on_row", row)
            elif mark != LEADER:
                torchrun.tail.append(line)
                run.say(line)
        status = torchrun.wait()
    if run.stop.signal is not None:
        where = said[REFUSED].removeprefix(INTERRUPTED)
        raise KeyboardInterrupt(where or f"stopped by {signal.Signals(run.stop.signal).name}")
    if run.stop.asked and run.files.state.exists():
        return
    if run.stop.asked:
        raise KeyboardInterrupt("stopped before the first step; nothing was kept")
    if status and said[REFUSED]:
        raise InputError(said[REFUSED])
    if status:
        raise RunFailed(said[FAILED] or "a training process failed; its last lines:\n" + "\n".join(torchrun.tail))


def _start(config: TrainConfig, folder: Path) -> Child:
    """Start torchrun with the processes of `config`, which lies in `folder` for them."""
    params = folder / "params.yaml"
    atomic_write_text(params, yaml.safe_dump(dataclasses.asdict(config), sort_keys=False, allow_unicode=True))
    torchrun = ["-m", "torch.distributed.run", "--standalone", f"--nproc-per-node={config.processes}"]
    arguments = [*torchrun, "-m", "inpaintkit.training", "--config", str(params)]
    return Child(arguments, 1, {PARENT_VARIABLE: str(os.getpid())})  # one thread each, as torchrun itself would choose
