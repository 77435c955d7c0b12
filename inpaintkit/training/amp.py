"""Mixed precision: the choice of the fastest arithmetic on this machine, and the contexts that use it."""

import contextlib

import torch

from inpaintkit.arithmetic import bf16_is_fast

NEVER = 2**31 - 1  # optimiser steps before the scale grows


def choose_amp(mode: str, device: str) -> tuple[str, str]:
    """Return the arithmetic (``off``, ``bf16`` or ``fp16``) for the option `mode` on `device`, and why in words.

    ``auto`` takes bf16 on a CUDA GPU that supports it in hardware, else fp16; on a CPU it takes bf16 if the processor
    has instructions for it, else fp32 (``off``); on any other device fp32.
    """
    if mode != "auto":
        return mode, f"arithmetic: {mode}, as asked"
    if device.startswith("cuda"):
        with torch.cuda.device(device):  # the GPUs of a machine may differ
            chosen = "bf16" if torch.cuda.is_bf16_supported(including_emulation=False) else "fp16"
            return chosen, f"arithmetic: {chosen} on {torch.cuda.get_device_name()}"
    if device != "cpu":
        return "off", f"arithmetic: fp32 on {device}"
    if bf16_is_fast():
        return "bf16", "arithmetic: bf16, which this processor multiplies fast (amp=off: fp32)"
    return "off", "arithmetic: fp32, as this processor has no fast bf16 (amp=bf16 would use it anyway)"


def gradient_scaler(mode: str, device: str) -> torch.amp.GradScaler:
    """Return the gradient scaler for a resolved `mode` on `device`.

    In every arithmetic it skips optimiser steps whose gradients are NaN or infinite. With fused AdamW the host needn't
    wait for the device; other optimisers make it wait. In fp16 the scaler also keeps small gradients in range;
    otherwise its scale is 1 before every step, and 1/2 after a skipped one.
    """
    kind = device.partition(":")[0]
    if mode == "fp16":
        return torch.amp.GradScaler(kind)
    return torch.amp.GradScaler(kind, init_scale=1.0, backoff_factor=0.5, growth_interval=NEVER)


def autocast(mode: str, device: str) -> contextlib.AbstractContextManager[object]:
    """Return the autocast context for a resolved `mode`."""
    if mode == "off":
        return contextlib.nullcontext()
    dtype = torch.bfloat16 if mode == "bf16" else torch.float16
    return torch.autocast(device.partition(":")[0], dtype=dtype)
