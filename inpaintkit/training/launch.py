"""Training in several processes from one: start torchrun, follow what it says, read what it leaves."""

import contextlib
import csv
import dataclasses
import os
import queue
import signal
import subprocess
import sys
import tempfile
import threading
from collections import deque
from collections.abc import Iterator
from pathlib import Path
from typing import IO

import yaml

from inpaintkit.config import TrainConfig
from inpaintkit.errors import InputError, RunFailed
from inpaintkit.files import atomic_write_text
from inpaintkit.training.callbacks import PROGRESS_VARIABLE
from inpaintkit.training.progress import Row
from inpaintkit.training.run import Run
from inpaintkit.training.stopping import PARENT_VARIABLE

LOOK_SECONDS = 0.5
TAIL_LINES = 20
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
    tail: deque[str] = deque(maxlen=TAIL_LINES)
    said = {LEADER: "", REFUSED: "", FAILED: ""}
    rows, stopping = RowFollower(run), False
    with _started(config) as process:
        for line in _lines(process):
            mark = next((mark for mark in said if line is not None and line.startswith(mark)), None)
            if mark is not None and line is not None:
                said[mark] = line.removeprefix(mark)
            if line is not None and mark != LEADER:
                tail.append(line)
                run.say(line)
            rows.look()
            if not stopping and (run.stop.signal is not None or run.stop.asked):
                # torchrun would give its processes 30 s to save; the first of them agrees with the others and takes its time
                stopping = True
                with contextlib.suppress(ProcessLookupError):
                    os.kill(int(said[LEADER] or process.pid), signal.SIGTERM)
    status = process.wait()
    rows.look()
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
        raise RunFailed(said[FAILED] or "a training process failed; its last lines:\n" + "\n".join(tail))


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


@contextlib.contextmanager
def _started(config: TrainConfig) -> Iterator[subprocess.Popen[str]]:
    """Start torchrun with the processes of `config`; whatever happens here, it doesn't outlive the context."""
    torchrun = [sys.executable, "-m", "torch.distributed.run", "--standalone", f"--nproc-per-node={config.processes}"]
    # lines without rows of the CSV; one thread each, as torchrun itself would choose, unless told otherwise
    environment = {"OMP_NUM_THREADS": "1", **os.environ, PROGRESS_VARIABLE: "steps", "PYTHONUNBUFFERED": "1"}
    environment[PARENT_VARIABLE] = str(os.getpid())
    with (
        tempfile.TemporaryDirectory() as folder,
        subprocess.Popen(
            [*torchrun, "-m", "inpaintkit.training", "--config", _written(config, Path(folder))],
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            env=environment,
            start_new_session=True,  # an interrupt of a notebook must reach this process alone, which passes it on
        ) as process,
    ):
        try:
            yield process
        finally:
            if process.poll() is None:
                process.terminate()
                process.wait()


def _written(config: TrainConfig, folder: Path) -> str:
    file = folder / "params.yaml"
    atomic_write_text(file, yaml.safe_dump(dataclasses.asdict(config), sort_keys=False, allow_unicode=True))
    return str(file)


def _lines(process: subprocess.Popen[str]) -> Iterator[str | None]:
    """Yield the lines of `process` as they come, None while there are none."""
    assert process.stdout is not None
    lines: queue.Queue[str | None] = queue.Queue()
    threading.Thread(target=_read, args=(process.stdout, lines), daemon=True).start()
    while True:
        try:
            line = lines.get(timeout=LOOK_SECONDS)
        except queue.Empty:
            yield None
            continue
        if line is None:
            return
        yield line


def _read(stream: IO[str], lines: queue.Queue[str | None]) -> None:
    for line in stream:
        lines.put(line.rstrip("\n"))
    lines.put(None)
