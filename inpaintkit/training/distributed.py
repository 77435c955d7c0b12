"""Training in several processes: their ranks, and the few values that they exchange.

torchrun starts the processes. Each one trains on its share of every step; gradients are averaged once per optimiser
step, right before the weights are updated. That is what DistributedDataParallel does, but without hooks on the backward
pass: GAN fine-tuning runs several backward passes through parts of both networks, an ensemble uses other members in
each step, and a step whose losses aren't finite has no backward pass there at all. With 9 MB of gradients, overlapping
the exchange with the backward pass gains nothing.
"""

import contextlib
import os
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, TypeVar

import torch
import torch.distributed as dist

# Its functions keep the default group at the time of import as a default argument. If torch's compiler imports it
# (with the first optimiser) while a group exists, that group stays alive after its end, and its threads sometimes
# abort Python's exit.
import torch.distributed.nn.functional
from torch import Tensor, nn

from inpaintkit.config import check_processes, resolve_device

_T = TypeVar("_T")

PATIENCE = timedelta(hours=2)
"""How long a process waits for the others: evaluation pictures and checkpoints take their time on a slow disk."""


@dataclass(frozen=True)
class Group:
    """The processes of a run as seen by one of them; a group of one unless `join_group` was entered."""

    rank: int = 0
    size: int = 1
    local_rank: int = 0
    gradients: Any = None

    @property
    def leads(self) -> bool:
        """Whether this is the one process that writes files and shows progress."""
        return self.rank == 0

    def share(self, items: Sequence[_T], chunk: int) -> list[_T]:
        """Return this process's part of `items`; each step takes `chunk` consecutive items per process.

        The last step may be smaller; the length of `items` must be a multiple of `size`.
        """
        mine: list[_T] = []
        for start in range(0, len(items), chunk * self.size):
            step = items[start : start + chunk * self.size]
            part = len(step) // self.size
            mine += step[self.rank * part : (self.rank + 1) * part]
        return mine

    def gather(self, value: _T) -> list[_T]:
        """Return the `value` of every process, in order of rank; every process must call it."""
        if self.size == 1:
            return [value]
        values: list[Any] = [None] * self.size
        dist.all_gather_object(values, value)
        return values

    def mean(self, tensor: Tensor) -> Tensor:
        """Return the mean of `tensor` over all processes; with several, it is detached."""
        if self.size == 1:
            return tensor
        total = tensor.detach().clone()
        dist.all_reduce(total, group=self.gradients if total.is_cuda else None)
        return total / self.size

    def average_gradients(self, parameters: Iterable[nn.Parameter]) -> None:
        """Replace each gradient by its mean over all processes.

        The same parameters have gradients in all of them, because a step is skipped by all processes or by none.
        """
        used = [(parameter, parameter.grad) for parameter in parameters if parameter.grad is not None]
        if self.size == 1 or not used:
            return
        flat = self.mean(torch.cat([gradient.flatten() for _, gradient in used]))
        for (parameter, _), mean in zip(used, flat.split([gradient.numel() for _, gradient in used]), strict=True):
            parameter.grad = mean.view_as(parameter).clone()

    @contextlib.contextmanager
    def leader_first(self) -> Iterator[None]:
        """Let the first process of each machine run the context before the others (one builds, all use)."""
        if self.size > 1 and self.local_rank > 0:
            dist.barrier()
        yield
        if self.size > 1 and self.local_rank == 0:
            dist.barrier()


@contextlib.contextmanager
def join_group(device: str) -> Iterator[Group]:
    """Within the context, join the processes that torchrun started; without torchrun, yield a group of one.

    On the `device` ``cuda`` each process of a machine gets its own GPU; raises `InputError` if there are too few. Small
    messages go through gloo, so that they don't make a GPU wait; gradients on GPUs go through NCCL.
    """
    if int(os.environ.get("WORLD_SIZE", "1")) == 1:
        yield Group()
        return
    local_rank = int(os.environ["LOCAL_RANK"])
    device = resolve_device(device)
    check_processes(device, int(os.environ["LOCAL_WORLD_SIZE"]))
    dist.init_process_group("gloo", timeout=PATIENCE)
    gradients: Any = None
    if device.startswith("cuda"):
        torch.cuda.set_device(local_rank)
        gradients = dist.new_group(backend="nccl", timeout=PATIENCE)
    try:
        yield Group(dist.get_rank(), dist.get_world_size(), local_rank, gradients)
    except BaseException:
        # NCCL's regular shutdown waits for the others, and they wait for this process: nobody would see the error
        if gradients is not None:
            gradients.abort()
        raise
    finally:
        dist.destroy_process_group()
