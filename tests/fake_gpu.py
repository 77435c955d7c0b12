"""A fake GPU for machines without one: finds tensors left on the CPU, and counts what makes the host wait.

Tensors on ``cuda`` are torch's fake ones, which have shape, type and device but no content; on the CPU all is real.
Gradients are zeros, since torch's engine needs a real device, and numbers read from the device are ones.
"""

from __future__ import annotations

import contextlib
import functools
import inspect
import warnings
from collections import Counter
from collections.abc import Iterator, Sequence
from typing import Any
from unittest.mock import patch

import torch
from torch import Tensor, nn
from torch._subclasses.fake_tensor import FakeTensor, FakeTensorMode
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

COPIES = ("aten::_to_copy", "aten::copy_")
READ = "aten::_local_scalar_dense"
AT_ONCE = 1 << 16
"""Bytes up to which CUDA stages copies from pageable memory; for more the host waits, even with `non_blocking`."""


@functools.cache
def fakes() -> FakeTensorMode:
    """Return the one mode of all fake tensors: two modes can't be mixed, and the kit keeps constants on the device."""
    return FakeTensorMode(allow_non_fake_inputs=True)


class FakeGpu(TorchDispatchMode):
    """Mode that redirects operations on ``cuda`` to fake tensors.

    `waits` counts, by place in the kit, how often the host had to wait for the device: to read a number, or to copy a
    tensor to or from it, in pinned memory or not. `float64` holds the places that computed in float64, which Apple's
    devices lack.
    """

    def __init__(self) -> None:
        super().__init__()
        self.fake = fakes()
        self.waits: Counter[str] = Counter()
        self.float64: Counter[str] = Counter()

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        name = func.name().split(".")[0]
        leaves = tree_leaves((args, kwargs))
        tensors = [leaf for leaf in leaves if isinstance(leaf, Tensor)]
        wanted = any(leaf.type == "cuda" for leaf in leaves if isinstance(leaf, torch.device))
        fakes = [x for x in tensors if isinstance(x, FakeTensor)]
        if not fakes and not wanted:
            return func(*args, **kwargs)
        if name == READ:
            if tensors[0].is_cuda:
                self.waits[place()] += 1
            return 1.0 if tensors[0].is_floating_point() else 1
        kinds = {x.device.type for x in tensors if x.dim()}
        assert len(kinds) < 2 or name in COPIES, f"{name} at {place()} gets tensors of the CPU and of the GPU"
        with self.fake:
            result = func(*args, **kwargs)
        if any(x.is_cuda and x.dtype == torch.float64 for x in tree_leaves(result) if isinstance(x, Tensor)):
            self.float64[place()] += 1
        if name in COPIES and tensors[-1].is_cuda != result.is_cuda:
            aside = tensors[-1].nbytes <= AT_ONCE or hasattr(tensors[-1], "pinned")
            if not (aside and (kwargs.get("non_blocking") or args[2:])):
                self.waits[place()] += 1
        return result


def place() -> str:
    """Return the file and line of the kit that is running."""
    frame = inspect.currentframe()
    while frame is not None and "/inpaintkit/" not in frame.f_code.co_filename:
        frame = frame.f_back
    return "outside the kit" if frame is None else f"{frame.f_code.co_filename.rpartition('/')[2]}:{frame.f_lineno}"


@contextlib.contextmanager
def fake_gpu() -> Iterator[FakeGpu]:
    """Give this machine a fake GPU, ``cuda``, within the context."""
    gpu = FakeGpu()
    torch._C._ensureCUDADeviceGuardSet()  # type: ignore[attr-defined]
    torch._C._set_only_lift_cpu_tensors(True)
    with (
        warnings.catch_warnings(action="ignore", category=UserWarning),  # from deep copies of fake tensors
        patch("torch.cuda._lazy_init", lambda: None),
        patch("torch.cuda.amp.common.amp_definitely_not_available", lambda: False),
        patch("torch.cuda.is_bf16_supported", lambda *args, **options: True),
        patch("torch.nn.Module._apply", replace_weights),
        patch("torch.autograd.grad", no_gradients),
        patch("torch.Tensor.backward", no_backward),
        patch("torch.Generator", AnyGenerator),
        patch("torch.Tensor.pin_memory", pinned),
        gpu,
    ):
        try:
            yield gpu
        finally:
            torch._C._set_only_lift_cpu_tensors(False)


def replace_weights(module: nn.Module, fn: Any, recurse: bool = True) -> nn.Module:
    """Replace ``nn.Module._apply`` by one that makes new parameters, since real ones can't become fake."""
    for child in module.children():
        child._apply(fn)
    for name, parameter in module._parameters.items():
        if parameter is not None:
            module._parameters[name] = nn.Parameter(fn(parameter.detach()), parameter.requires_grad)
    for name, buffer in module._buffers.items():
        module._buffers[name] = None if buffer is None else fn(buffer)
    return module


def no_gradients(outputs: Any, inputs: Any, *args: Any, **options: Any) -> Sequence[Tensor]:
    """Return zeros in place of ``torch.autograd.grad``."""
    return [torch.zeros_like(x) for x in ([inputs] if isinstance(inputs, Tensor) else inputs)]


def no_backward(loss: Tensor, *args: Any, **options: Any) -> None:
    """Replace the backward pass, which fake tensors can't run, by nothing."""
    assert loss.requires_grad


def pinned(values: Tensor) -> Tensor:
    """Return a stand-in for `values` in pinned memory."""
    copy = values.clone()
    copy.pinned = True  # type: ignore[attr-defined]
    return copy


class AnyGenerator(torch.Generator):
    """A generator on the CPU that claims to be on the requested device."""

    def __new__(cls, device: Any = "cpu") -> AnyGenerator:
        return super().__new__(cls)

    def __init__(self, device: Any = "cpu") -> None:
        self.named = torch.device(device)

    @property
    def device(self) -> torch.device:
        return self.named


def zero_gradients(network: nn.Module) -> None:
    """Set every parameter's gradient to zeros."""
    for parameter in network.parameters():
        parameter.grad = torch.zeros_like(parameter)
