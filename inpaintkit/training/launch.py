"""Training in several processes from one: start torchrun, follow what it says, read what it leaves."""

import contextlib
import csv
import dataclasses
import os
import signal
import tempfile
from pathlib import Path

import yaml

from inpaintkit.config import TrainConfig
from inpaintkit.errors import InputError, RunFailed
from inpaintkit.files import atomic_write_text
from inpaintkit.processes import Child, follow
from inpaintkit.training.callbacks import PROGRESS_VARIABLE
from inpaintkit.training.progress import Row
from inpaintkit.training.run import Run
from inpaintkit.training.stopping import PARENT_VARIABLE

REFUSED = "inpaintkit: "
"""How a worker marks an error that a user can mend."""
LEADER = "leader: "
"""How the worker that leads tells its process number."""
FAILED = "failed: "
"""How a worker marks what ended its training."""
INTERRUPTED = "interrupted. "
"""How a worker begins to say, after `REFUSED`, where it was stopped."""


def fit_in_processes(config: TrainConfig, run: Run) -> None:
    """Train with ``config.processes`` processes, until they end.

    Lines of the workers reach the callbacks of `run` as messages, rows of the loss CSV as rows. Raises `InputError` or
    `RunFailed` with what a worker failed of, `KeyboardInterrupt` after a stop signal, once the workers have saved.
    """
    said = {LEADER: "", REFUSED: "", FAILED: ""}
    rows, stopping = RowFollower(run), False

    def look() -> None:
        nonlocal stopping
        rows.look()
        if not stopping and (run.stop.signal is not None or run.stop.asked):
            # torchrun would give its processes 30 s to save; the first of them agrees with the others and takes its time
            stopping = True
            with contextlib.suppress(ProcessLookupError):
                os.kill(int(said[LEADER] or torchrun.pid), signal.SIGTERM)

    with tempfile.TemporaryDirectory() as folder, _start(config, Path(folder)) as torchrun:
        for _, line in follow([torchrun], look):
            if line is None:
                continue
            mark = next((mark for mark in said if line.startswith(mark)), None)
            if mark is not None:
                said[mark] = line.removeprefix(mark)
            if mark != LEADER:
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
    # lines without rows of the CSV; one thread each, as torchrun itself would choose
    environment = {PROGRESS_VARIABLE: "steps", PARENT_VARIABLE: str(os.getpid())}
    return Child([*torchrun, "-m", "inpaintkit.training", "--config", str(params)], 1, environment)


class RowFollower:
    """Tells the callbacks of a run the rows that other processes add to its loss CSV."""

    def __init__(self, run: Run) -> None:
        self.run = run
        self._changed = self._time()
        self._known = self._read() if self._changed else []

    def _time(self) -> int:
        return self.run.csv_file.stat().st_mtime_ns if self.run.csv_file.exists() else 0

    def _read(self) -> list[dict[str, str]]:
        with self.run.csv_file.open(newline="", encoding="utf-8") as file:
            return [{name: value for name, value in row.items() if value} for row in csv.DictReader(file)]

    def look(self) -> None:
        """Report the rows that are new since the last look."""
        changed = self._time()
        if changed in (0, self._changed):  # 0: an old run is moved away
            return
        self._changed, before = changed, self._known
        self._known = self._read()
        for row in (typed_row(row) for row in self._known if row not in before):
            self.run.progress.steps_done = int(row["epoch"]) * self.run.plan.steps_per_epoch
            self.run.tell("on_row", row)


def typed_row(row: dict[str, str]) -> Row:
    """Return a row of a loss CSV with numbers for numbers."""
    kinds: dict[str, type] = {"epoch": int, "split": str}
    return {name: kinds.get(name, float)(value) for name, value in row.items()}
