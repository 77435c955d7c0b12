"""Measure what a GAN step costs compared with a plain one.

    OMP_NUM_THREADS=1 python benchmarks/bench_gan.py --sizes 8x256 4x188 --perceptual vgg alex

Prints a Markdown table with the processor seconds of a plain and of a GAN step and their ratio (goal: at most 2.2).
Processor seconds are least disturbed by other work on the machine. Each is the median of `--repeats` steps; members of
an ensemble are weighted by how often they are picked. The adversarial term is always on, as after the warm-up.
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
import time
from pathlib import Path

import torch
from bench_train import make, write_records

from inpaintkit.training import Trainer
from inpaintkit.training.amp import choose_amp
from inpaintkit.training.progress import StepPlace
from inpaintkit.training.tasks.gan import GanTask


def step_seconds(trainer: Trainer, repeats: int) -> float:
    """Return the median processor seconds of a whole step, without loading its data."""
    task, count = trainer.setup.task, trainer.config.batch_size
    batch = next(trainer.setup.feed.batches([(draw % len(trainer.train_set), 1, draw) for draw in range(count)]))
    task.train_mode()
    seconds = []
    for number in range(1, repeats + 2):
        place = StepPlace(seed=0, epoch=1, step=number, update=number, updates_done=number)
        start = time.process_time()
        losses = task.step(batch, place)
        task.update(place)
        losses.per_sample.tolist()
        seconds.append(time.process_time() - start)
    return statistics.median(seconds[1:])


def gan_seconds(trainer: Trainer, repeats: int) -> float:
    """Return the processor seconds of a GAN step, averaged over its ensemble by how often each member is picked."""
    task = trainer.setup.task
    assert isinstance(task, GanTask)
    mean = 0.0
    for member, share in enumerate(task.discriminator.probabilities):
        task.discriminator.pick = lambda u, chosen=member: chosen  # type: ignore[method-assign, misc]
        mean += share * step_seconds(trainer, repeats)
    return mean


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sizes", nargs="+", default=["8x256", "4x188"], help="crops per step x side of a crop in px")
    parser.add_argument("--perceptual", nargs="+", choices=("alex", "vgg"), default=["vgg", "alex"])
    parser.add_argument("--discriminator", default="l3cffce")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--amp", default="auto")
    parser.add_argument("--repeats", type=int, default=5)
    options = parser.parse_args()
    options.compile = False
    networks: list[str] = options.perceptual
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        write_records(folder / "data")
        arithmetic = choose_amp(options.amp, options.device)[0]
        print(
            f"threads {torch.get_num_threads()}, {options.discriminator}, amp {arithmetic}, processor seconds per step\n"
        )
        print("| crops | LPIPS | plain | GAN | ratio |")
        print("| ---: | --- | ---: | ---: | ---: |")
        for size in options.sizes:
            batch, crop = (int(part) for part in size.split("x"))
            for options.perceptual in networks:
                plain = step_seconds(make(folder, options, crop, batch), options.repeats)
                gan = gan_seconds(make(folder, options, crop, batch, gan=True), options.repeats)
                print(
                    f"| {batch} x {crop} px | {options.perceptual} | {plain:.2f} | {gan:.2f} | {gan / plain:.2f} |",
                    flush=True,
                )


if __name__ == "__main__":
    main()
