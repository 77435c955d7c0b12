"""Training in several processes from one: start torchrun, follow what it says, read what it leaves."""

import contextlib
import csv
import dataclasses
import os
import queue
import signal
import subprocess
import sys
import threading
from collections import deque
from collections.abc import Iterator
from typing import IO

import yaml

from inpaintkit.config import TrainConfig
from inpaintkit.errors import InputError, RunFailed
from inpaintkit.files import atomic_write_text
from inpaintkit.training.callbacks import PROGRESS_VARIABLE
from inpaintkit.training.progress import Row
from inpaintkit.training.run import Run
from inpaintkit.training.stopping import PARENT_VARIABLE, StopRequest

LOOK_SECONDS = 0.5
TAIL_LINES = 20
REFUSED = "inpaintkit: "
"""How a worker marks an error that a user can mend."""
FAILED = "failed: "
"""How a worker marks what ended its training."""
INTERRUPTED = "interrupted. "
"""How a worker begins to say, after `REFUSED`, where it was stopped."""


def fit_in_processes(config: TrainConfig, run: Run) -> None:
    """Train with ``config.processes`` processes, until they end.

    Lines of the workers reach the callbacks of `run` as messages, rows of the loss CSV as rows. Raises `InputError` or
    `RunFailed` with what a worker failed of, `KeyboardInterrupt` after a stop signal, once the workers have saved.
    """
    config_file = run.folder / "processes.yaml"
    values = dataclasses.asdict(config)
    atomic_write_text(config_file, yaml.safe_dump(values, sort_keys=False, allow_unicode=True))
    torchrun = [sys.executable, "-m", "torch.distributed.run", "--standalone", f"--nproc-per-node={config.processes}"]
    tail: deque[str] = deque(maxlen=TAIL_LINES)
    said = {REFUSED: "", FAILED: ""}
    rows = RowFollower(run)
    with _started([*torchrun, "-m", "inpaintkit.training", "--config", str(config_file)]) as process:
        for line in _lines(process, run.stop):
            if line is not None:
                tail.append(line)
                for mark in said:
                    said[mark] = line.removeprefix(mark) if line.startswith(mark) else said[mark]
                run.say(line)
            rows.look()
    status = process.wait()
    rows.look()
    if run.stop.signal is not None:
        where = said[REFUSED].removeprefix(INTERRUPTED)
        raise KeyboardInterrupt(where or f"stopped by {signal.Signals(run.stop.signal).name}")
    if run.stop.asked:
        return
    if status and said[REFUSED]:
        raise InputError(said[REFUSED])
    if status:
        raise RunFailed(said[FAILED] or "a training process failed; its last lines:\n" + "\n".join(tail))


class RowFollower:
    """Tells the callbacks of a run the rows that other processes add to its loss CSV."""

    def __init__(self, run: Run) -> None:
        self.run = run
        self._known = len(run.progress.history)
        self._changed = self._time()

    def _time(self) -> int:
        return self.run.csv_file.stat().st_mtime_ns if self.run.csv_file.exists() else 0

    def look(self) -> None:
        """Report the rows that are new since the last look."""
        if self._time() == self._changed:
            return
        self._changed = self._time()
        with self.run.csv_file.open(newline="", encoding="utf-8") as file:
            rows = [typed_row(row) for row in csv.DictReader(file)]
        for row in rows[self._known :]:
            self.run.tell("on_row", row)
        self._known = len(rows)


def typed_row(row: dict[str, str]) -> Row:
    """Return a row of a loss CSV with numbers for numbers, without the columns that are empty in it."""
    kinds: dict[str, type] = {"epoch": int, "split": str}
    return {name: kinds.get(name, float)(value) for name, value in row.items() if value}


@contextlib.contextmanager
def _started(command: list[str]) -> Iterator[subprocess.Popen[str]]:
    """Run `command`; whatever happens here, it doesn't outlive the context."""
    # lines without rows of the CSV; one thread each, as torchrun itself would choose, unless told otherwise
    environment = {"OMP_NUM_THREADS": "1", **os.environ, PROGRESS_VARIABLE: "steps", "PYTHONUNBUFFERED": "1"}
    environment[PARENT_VARIABLE] = str(os.getpid())
    with subprocess.Popen(
        command,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        env=environment,
        start_new_session=True,  # an interrupt of a notebook must reach this process alone, which passes it on
    ) as process:
        try:
            yield process
        finally:
            if process.poll() is None:
                process.terminate()
                process.wait()


def _lines(process: subprocess.Popen[str], stop: StopRequest) -> Iterator[str | None]:
    """Yield the lines of `process` as they come, None while there are none; pass a stop signal on once."""
    assert process.stdout is not None
    lines: queue.Queue[str | None] = queue.Queue()
    threading.Thread(target=_read, args=(process.stdout, lines), daemon=True).start()
    passed_on = False
    while True:
        if (stop.signal is not None or stop.asked) and not passed_on:
            process.send_signal(signal.SIGTERM)
            passed_on = True
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
