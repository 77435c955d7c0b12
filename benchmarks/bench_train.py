"""Measure the time of a sample and of a training step, by its parts, at 1, 2, 4 and 8 times the samples.

    OMP_NUM_THREADS=2 python benchmarks/bench_train.py

Prints Markdown tables: first the processor time of one augmented sample from the pack (goal: 0.3 ms of clock time with
both cores at work); then, for each crop, the seconds per step of data, forward, loss (L1 and LPIPS), backward and
optimiser. For a GAN step see bench_gan.py. Pictures are noise, holes are upright bars. Each time is the best of
`--repeats` steps. Takes some two minutes on two quiet cores.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from PIL import Image

from inpaintkit.config import GanConfig, TrainConfig
from inpaintkit.data import InpaintDataset
from inpaintkit.data import sample_draw as augmentation
from inpaintkit.model import LightInpaintV1, save_model
from inpaintkit.seeds import numpy_rng, torch_rng
from inpaintkit.training import GanTrainer, Trainer

RECORDS, RECORD_SIZE, HOLE_WIDTH = 8, 512, 12  # px
PARTS = ("data", "forward", "L1 and LPIPS", "backward", "optimiser")
SAMPLES = 400


def write_records(root: Path) -> None:
    """Write records whose pictures are noise and whose holes are upright bars."""
    for split in ("train", "eval"):
        (root / split).mkdir(parents=True)
        for number in range(RECORDS):
            pixels = numpy_rng("bench", number).integers(0, 256, (RECORD_SIZE, RECORD_SIZE, 3), np.uint8)
            hole = np.zeros((RECORD_SIZE, RECORD_SIZE), np.uint8)
            hole[:, 40::128] = 255
            for shift in range(HOLE_WIDTH):
                hole[:, 40 + shift :: 128] = 255
            Image.fromarray(pixels).save(root / split / f"b_{number}_C.png")
            Image.fromarray(hole).save(root / split / f"b_{number}_M.png")


class Stopwatch:
    """Each `lap` waits for the device and returns the seconds since the last one."""

    def __init__(self, device: str) -> None:
        self.device, self.last = device, 0.0

    def lap(self) -> float:
        if self.device.startswith("cuda"):
            torch.cuda.synchronize()
        now = time.perf_counter()
        passed, self.last = now - self.last, now
        return passed


def plain_step(trainer: Trainer, number: int) -> dict[str, float]:
    """Run one step as the task does and return the seconds of each part."""
    setup, records = trainer.setup, trainer.train_set
    task, stopwatch = setup.task, Stopwatch(setup.task.device)
    stopwatch.lap()
    items = [(draw % len(records), number, draw) for draw in range(trainer.config.batch_size)]
    x, hole, y, _ = next(setup.feed.batches(items))
    parts = {"data": stopwatch.lap()}
    task.train_mode()
    output, _ = task.generate(x, hole)
    parts["forward"] = stopwatch.lap()
    total, _ = task.reconstruction(output, y, hole, torch_rng("bench", number))
    parts["L1 and LPIPS"] = stopwatch.lap()
    task.updater.scale(total).backward()
    parts["backward"] = stopwatch.lap()
    task.updater.update(number + 1)
    return parts | {"optimiser": stopwatch.lap()}


def sample_costs(root: Path, crop: int) -> tuple[float, float]:
    """Return the mean processor time of a sample in ms, as the recipe draws it and without colour jitter."""
    records = InpaintDataset(root / "train", training=True, crop_size=crop)
    usual, costs = augmentation.JITTER_CHANCE, []
    for chance in (usual, 0.0):
        augmentation.JITTER_CHANCE = chance
        started = time.process_time()
        for draw in range(SAMPLES):
            records[(draw % len(records), 1, draw)]
        costs.append(1000 * (time.process_time() - started) / SAMPLES)
    augmentation.JITTER_CHANCE = usual
    return costs[0], costs[1]


def make(folder: Path, options: argparse.Namespace, crop: int, batch: int, gan: bool = False) -> Trainer:
    """Return a trainer on the benchmark's records."""
    values = {
        "data_dir": str(folder / "data"), "model_dir": tempfile.mkdtemp(dir=folder), "crop_size": crop, "batch_size": batch,
        "backward_step": 1, "perceptual": options.perceptual, "device": options.device, "amp": options.amp,
        "compile": options.compile and not gan,
    }  # fmt: skip
    if not gan:
        return Trainer(TrainConfig.from_params(values), callbacks=[])
    start = str(save_model(LightInpaintV1(torch_rng(0), grey_start=True), folder / "start.pth"))
    more = {"checkpoint_file": start, "generator_warmup_iteration": 0, "discriminator": options.discriminator}
    return GanTrainer(GanConfig.from_params(values | more), callbacks=[])


def fastest(step: Callable[[int], dict[str, float]], repeats: int) -> dict[str, float]:
    """Return each part's shortest time over `repeats` steps, after one to warm up."""
    step(0)
    runs = [step(number) for number in range(1, repeats + 1)]
    return {part: min(run[part] for run in runs) for part in PARTS}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--crops", type=int, nargs="+", default=[128, 188, 252])
    parser.add_argument("--batches", type=int, nargs="+", default=[1, 2, 4, 8], help="1x to 8x; on a GPU 8 16 32 64")
    parser.add_argument("--perceptual", choices=("alex", "vgg"), default="vgg")
    parser.add_argument("--discriminator", default="l3cffce")
    parser.add_argument("--device", default="auto")
    parser.add_argument("--amp", default="auto")
    parser.add_argument("--compile", action="store_true")
    parser.add_argument("--repeats", type=int, default=3)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        write_records(folder / "data")
        print("| sample, crop | processor (ms) | without colour jitter |\n| --- | ---: | ---: |")
        for crop in options.crops:
            mean, plain = sample_costs(folder / "data", crop)
            print(f"| {crop} px | {mean:.2f} | {plain:.2f} |", flush=True)
        for crop in options.crops:
            print_steps(folder, options, crop)


def print_steps(folder: Path, options: argparse.Namespace, crop: int) -> None:
    """Print the table of one crop; its columns ``size`` and ``seconds`` are what run_all.py plots."""
    print(
        f"\nsteps on crops of {crop} px, LPIPS-{options.perceptual}, {torch.get_num_threads()} threads, size = samples:\n"
    )
    columns = ["size", "samples", *PARTS, "seconds", "samples/s"]
    print(f"| {' | '.join(columns)} |\n| --- |" + " ---: |" * (len(columns) - 1))
    for batch in options.batches:
        trainer = make(folder, options, crop, batch)
        parts = fastest(lambda number, t=trainer: plain_step(t, number), options.repeats)  # type: ignore[misc]
        whole = sum(parts.values())
        cells = [f"{batch // options.batches[0]}x", f"{batch}", *(f"{parts[part]:.3f}" for part in PARTS)]
        cells += [f"{whole:.3f}", f"{batch / whole:.1f}"]
        print(f"| {' | '.join(cells)} |", flush=True)


if __name__ == "__main__":
    main()
