"""Compiling the generator, where the machine can; where it can't, saying so and going on without."""

import time
from collections.abc import Callable

import torch
from torch import Tensor

from inpaintkit.config import TrainConfig
from inpaintkit.model import LightInpaintV1
from inpaintkit.training import amp

Network = Callable[[Tensor, Tensor], Tensor]


def compiled(model: LightInpaintV1, config: TrainConfig, device: str, arithmetic: str) -> tuple[Network, str]:
    """Return the compiled `model` and what to tell the user; the model itself where compiling fails.

    It is compiled here and now, with a batch of the size and in the `arithmetic` it will get, so that a failure shows
    before the run.
    """
    started = time.monotonic()
    network: Network = torch.compile(model)
    training = model.training
    try:
        model.train()
        x = torch.zeros(config.batch_size, 3, config.crop_size, config.crop_size, device=device)
        with amp.autocast(arithmetic, device):
            output = network(x, x[:, :1])
        output.sum().backward()  # type: ignore[no-untyped-call]
    except Exception as error:  # whatever the compiler stumbles over, the run needn't
        reason = (str(error).strip().splitlines() or [type(error).__name__])[0]
        return model, f"compile: not possible here ({reason}); going on without"
    finally:
        model.train(training)
        model.zero_grad(set_to_none=True)
    return network, f"compile: the generator was compiled in {time.monotonic() - started:.0f} s"
