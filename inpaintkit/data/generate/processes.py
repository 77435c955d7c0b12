"""Make one data set in several processes of a machine; the one that starts them reports their progress."""

import contextlib
import dataclasses
import json
import signal
from collections.abc import Callable

import torch

from inpaintkit.config import GenerateConfig, parse_shard
from inpaintkit.errors import InputError, RunFailed
from inpaintkit.processes import Child, follow, told

AGAIN = "run the same again to continue"


def generate_in_processes(config: GenerateConfig, tell: Callable[[int, int, str], None]) -> int:
    """Make the records of `config` in ``config.processes`` processes and return how many passes they worked on.

    `tell` is called with the sums of their progress. However this ends, no process outlives it. Raises `InputError`
    with the message of a process that raised one, and `RunFailed` if a process failed or was killed.
    """
    worked = 0
    progress = dict[int, tuple[int, int]]()
    with contextlib.ExitStack() as stack:
        threads = max(1, torch.get_num_threads() // config.processes)
        children = [stack.enter_context(_start(share, rank, threads)) for rank, share in enumerate(shares(config))]
        for rank, line in follow(children):
            process = f"process {rank + 1} of {len(children)}"
            if line is None:
                _check(children[rank], process)
                continue
            message = told(line)
            if message is None:
                children[rank].tail.append(line)
            elif "refused" in message:
                raise InputError(message["refused"])
            else:
                worked += message.get("worked", 0)
                if message.get("total"):  # 0: not known yet
                    progress[rank] = message["done"], message["total"]
                elif "worked" in message:  # its last message, and perhaps the only one
                    progress.setdefault(rank, (0, 0))
                done, total = (sum(part) for part in zip((0, 0), *progress.values(), strict=True))
                tell(done if len(progress) == len(children) else 0, total, message.get("text", f"{process} is done"))
    return worked


def shares(config: GenerateConfig) -> list[GenerateConfig]:
    """Return the configuration of each process: together they cover the pictures of `config`, none of them twice."""
    index, count = parse_shard(config.shard)
    parts = [f"{index + count * rank}/{count * config.processes}" for rank in range(config.processes)]
    return [dataclasses.replace(config, processes=1, shard=part) for part in parts]


def _start(config: GenerateConfig, rank: int, threads: int) -> Child:
    arguments = ["-m", "inpaintkit.data.generate", json.dumps(dataclasses.asdict(config))]
    return Child(arguments, threads, {"LOCAL_RANK": str(rank)})


def _check(child: Child, process: str) -> None:
    status = child.wait()
    if status < 0:
        name = signal.Signals(-status).name
        raise RunFailed(f"{process} was killed ({name}), perhaps for lack of memory: take fewer processes; {AGAIN}")
    if status:
        reason = next((line for line in reversed(child.tail) if line.strip()), f"it ended with status {status}")
        raise RunFailed(f"{process} failed: {reason}; {AGAIN}. Its last lines:\n" + "\n".join(child.tail))
