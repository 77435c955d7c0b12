"""Estimate how long a training will take on this machine, from a step that is timed before it starts."""

import time

import torch

from inpaintkit.config import GanConfig, TrainConfig, resolve_device
from inpaintkit.model import LightInpaintV1
from inpaintkit.seeds import torch_rng
from inpaintkit.training.amp import choose_amp
from inpaintkit.training.distributed import Group
from inpaintkit.training.progress import StepPlace
from inpaintkit.training.schedule import last_epoch
from inpaintkit.training.tasks.plain import PlainTask

TIMED_SAMPLES = 2
GAN_STEP = 2.2
"""Duration of a GAN step in plain steps: between those in bf16 and in fp32, see docs/gan.md."""

HOLE_SHARE = 8  # the hole takes 1/8 of the crop's width


def estimate_seconds(config: TrainConfig) -> float:
    """Return how many seconds the training of `config` takes on this machine, without evaluation and loading.

    Times a step on `TIMED_SAMPLES` samples of noise and the update after it, following a first one as warm-up: some
    seconds on a CPU. A GPU with larger batches is faster than estimated.
    """
    device = resolve_device(config.device)
    task = PlainTask(config, LightInpaintV1(torch_rng(0)), choose_amp(config.amp, device)[0], device, Group())
    side, margin = config.crop_size, task.model.i2i_offset
    x = torch.rand(TIMED_SAMPLES, 3, side, side, generator=torch_rng("estimate")).to(device)
    hole = torch.zeros(TIMED_SAMPLES, 1, side, side, dtype=torch.bool, device=device)
    hole[..., : side // HOLE_SHARE] = True
    batch = (x, hole, x[..., margin:-margin, margin:-margin], torch.arange(TIMED_SAMPLES))
    task.train_mode()
    for number in (1, 2):  # the first one warms up
        place = StepPlace(0, 1, number, number, number)
        started = time.perf_counter()
        task.step(batch, place)
        stepped = _now(task)
        task.update(place)
        moved = _now(task)
    moves = 1 / (config.batch_size * config.backward_step)  # per sample
    per_sample = (stepped - started) / TIMED_SAMPLES + (moved - stepped) * moves
    if isinstance(config, GanConfig):
        per_sample *= GAN_STEP
    return per_sample * config.num_samples * last_epoch(config) / config.processes


def _now(task: PlainTask) -> float:
    """Return the time once the device has finished all its work."""
    task.last_layer.detach().flatten()[0].item()
    return time.perf_counter()
