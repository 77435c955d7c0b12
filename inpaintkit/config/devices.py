"""Resolve and check devices given by name, and recognise their errors."""

import contextlib
import os
import traceback
from collections.abc import Callable, Iterator

from inpaintkit.errors import InputError, RunFailed


def resolve_device(name: str) -> str:
    """Return the torch device for `name`; ``auto`` takes CUDA, else MPS, else the CPU. Raises `InputError`.

    Also disables TF32 for convolutions on CUDA. With TF32, torch's default, the soft mask has only 10 bits and a
    structural similarity can be wrong by several hundredths. Training doesn't slow down, because it uses bf16 or fp16.
    """
    import torch

    torch.backends.cudnn.allow_tf32 = False
    if name == "auto":
        cuda = torch.cuda.is_available() and _has_code("cuda")
        return "cuda" if cuda else "mps" if torch.backends.mps.is_available() else "cpu"
    kind, _, index = name.partition(":")
    available = {"cpu": True, "cuda": torch.cuda.is_available(), "mps": torch.backends.mps.is_available()}
    if kind not in available or (index and not index.isdecimal()):
        raise InputError(f"device: {name!r} is unknown; use auto, cpu, cuda, cuda:N or mps")
    if not available[kind] or (kind == "cuda" and index and int(index) >= torch.cuda.device_count()):
        raise InputError(f"device: {name} is not available on this machine; use device=auto or device=cpu")
    if kind == "cuda" and not _has_code(name):
        raise InputError(
            f"device: this build of torch has no code for {name}, a {torch.cuda.get_device_name(name)}; install one for CUDA 12.6, "
            "which serves older cards, or use device=cpu"
        )
    return name


def _has_code(device: str) -> bool:
    """Return whether this build of torch has code for the GPU `device`: recent builds leave out old cards."""
    import torch

    built = [int("".join(filter(str.isdigit, name))) for name in torch.cuda.get_arch_list() if name.startswith("sm_")]
    major, minor = torch.cuda.get_device_capability(device)
    return not built or 10 * major + minor >= min(built)


def device_of_process(device: str) -> str:
    """Return `device` (resolved); for ``cuda``, this process's GPU if several run side by side (``LOCAL_RANK``)."""
    import torch

    rank = os.environ.get("LOCAL_RANK")
    return f"cuda:{int(rank) % torch.cuda.device_count()}" if device == "cuda" and rank is not None else device


def check_processes(device: str, processes: int) -> None:
    """Raise `InputError` if `device` (resolved) can't serve that many `processes`.

    Any device serves one, ``cpu`` any number, and ``cuda`` as many as there are GPUs.
    """
    import torch

    if processes == 1 or device == "cpu":
        return
    if device != "cuda":
        way = "processes=1 or device=cpu" if device == "mps" else "device=cuda, which gives each its own GPU"
        raise InputError(f"device: {device} can't serve {processes} processes; use {way}")
    gpus = torch.cuda.device_count()
    if gpus < processes:
        raise InputError(
            f"processes: {processes} need a GPU each, and this machine has {gpus}; use processes={gpus} or device=cpu"
        )


@contextlib.contextmanager
def enough_memory(device: str, advice: Callable[[], str]) -> Iterator[None]:
    """Turn an out-of-memory error of `device` within the context into a `RunFailed` that gives `advice`."""
    try:
        yield
    except RuntimeError as error:
        if not _lacks_memory(error):
            raise
        # a notebook keeps the error, and its frames would keep tensors whose memory the next try needs
        traceback.clear_frames(error.__traceback__)
        name = device_of_process(resolve_device(device))
        raise RunFailed(f"{name} is out of memory; {advice()}") from error


def _lacks_memory(error: RuntimeError) -> bool:
    import torch

    # MPS, and a GPU filled by other processes, raise a plain RuntimeError
    return isinstance(error, torch.OutOfMemoryError) or "out of memory" in str(error)


def is_of_device(error: Exception) -> bool:
    """Return whether an error comes from the GPU itself, not from the data that were computed there."""
    import torch

    # `load_state_dict` turns the GPU's error into one of its own
    failed = isinstance(error, torch.AcceleratorError) or "CUDA error" in str(error)
    return failed or (isinstance(error, RuntimeError) and _lacks_memory(error))
