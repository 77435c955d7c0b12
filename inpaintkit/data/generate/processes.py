"""One data set made by several processes of a machine: each makes its share, the one that started them tells their progress."""

import contextlib
import dataclasses
import json
import os
import queue
import signal
import subprocess
import sys
import threading
from collections import deque
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from inpaintkit.config import GenerateConfig, parse_shard
from inpaintkit.errors import InputError, RunFailed

TAIL_LINES = 20
AGAIN = "run the same again to continue"


def generate_in_processes(config: GenerateConfig, tell: Callable[[int, int, str], None]) -> int:
    """Make the records of `config` in ``config.processes`` processes and return on how many passes they worked.

    `tell` gets the sums of their progress. However this ends, none of them outlives it. Raises `InputError` with what one of them was
    refused, `RunFailed` if one of them failed or was killed.
    """
    lines: queue.Queue[tuple[int, str | None]] = queue.Queue()
    with contextlib.ExitStack() as stack:
        children = [stack.enter_context(_started(share, rank)) for rank, share in enumerate(shares(config))]
        for rank, child in enumerate(children):
            threading.Thread(target=_read, args=(rank, child, lines), daemon=True).start()
        return _follow(children, lines, tell)


def shares(config: GenerateConfig) -> list[GenerateConfig]:
    """Return what each process of `config` makes: together the same pictures, none of them twice."""
    index, count = parse_shard(config.shard)
    parts = [f"{index + count * rank}/{count * config.processes}" for rank in range(config.processes)]
    return [dataclasses.replace(config, processes=1, shard=part) for part in parts]


def _follow(
    children: list[subprocess.Popen[str]],
    lines: queue.Queue[tuple[int, str | None]],
    tell: Callable[[int, int, str], None],
) -> int:
    progress: dict[int, tuple[int, int]] = {}
    worked, ended, tails = 0, 0, [deque[str](maxlen=TAIL_LINES) for _ in children]
    while ended < len(children):
        rank, line = lines.get()
        if line is None:
            ended += 1
            _check(children[rank].wait(), _name(rank, children), tails[rank])
            continue
        said = _message(line)
        if said is None:
            tails[rank].append(line)
        elif "refused" in said:
            raise InputError(said["refused"])
        else:
            worked += said.get("worked", 0)
            # A process without a picture tells nothing but its end; without it the sum would stay at 0.
            known = progress.get(rank, (0, 0))
            progress[rank] = said.get("done", known[0]), said.get("total", known[1])
            done, total = (sum(part) for part in zip(*progress.values(), strict=True))
            text = said.get("text", f"{_name(rank, children)} is done")
            tell(done if len(progress) == len(children) else 0, total, text)
    return worked


def _name(rank: int, children: list[subprocess.Popen[str]]) -> str:
    return f"process {rank + 1} of {len(children)}"


def _message(line: str) -> dict[str, Any] | None:
    """Return what a child has told about its work, None for lines that it or a library just printed."""
    with contextlib.suppress(ValueError):
        said = json.loads(line)
        if isinstance(said, dict):
            return said
    return None


def _check(status: int, process: str, tail: deque[str]) -> None:
    if status < 0:
        name = signal.Signals(-status).name
        raise RunFailed(f"{process} was killed ({name}), perhaps for lack of memory: take fewer processes; {AGAIN}")
    if status:
        reason = next((line for line in reversed(tail) if line.strip()), f"it ended with status {status}")
        raise RunFailed(f"{process} failed: {reason}; {AGAIN}. Its last lines:\n" + "\n".join(tail))


@contextlib.contextmanager
def _started(config: GenerateConfig, rank: int) -> Iterator[subprocess.Popen[str]]:
    threads = max(1, (os.cpu_count() or 1) // parse_shard(config.shard)[1])
    environment = {"OMP_NUM_THREADS": str(threads), **os.environ, "LOCAL_RANK": str(rank), "PYTHONUNBUFFERED": "1"}
    root = str(Path(__file__).parents[3])
    environment["PYTHONPATH"] = os.pathsep.join(filter(None, [root, os.environ.get("PYTHONPATH")]))
    with subprocess.Popen(
        [sys.executable, "-m", "inpaintkit.data.generate", json.dumps(dataclasses.asdict(config))],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        env=environment,
        start_new_session=True,  # an interrupt must reach the process that tells about it, which ends the others
    ) as process:
        try:
            yield process
        finally:
            if process.poll() is None:
                process.terminate()


def _read(rank: int, child: subprocess.Popen[str], lines: queue.Queue[tuple[int, str | None]]) -> None:
    assert child.stdout is not None
    for line in child.stdout:
        lines.put((rank, line.rstrip("\n")))
    lines.put((rank, None))
