"""What a GAN step costs beside a plain one, and where its time goes.

    OMP_NUM_THREADS=1 python benchmarks/bench_gan.py --sizes 8x256 4x188 --perceptual vgg alex

Prints Markdown tables: processor seconds (which other work on the machine disturbs least) of a plain and a GAN step with their
ratio (goal: at most 2.2), and the parts of a GAN step. Members of an ensemble count as often as each is picked. Median of
`--repeats` steps each; adversarial term always on, as after the warm-up.
"""

from __future__ import annotations

import argparse
import itertools
import statistics
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import torch
from bench_train import make, write_records

from inpaintkit.data.resident import Batch
from inpaintkit.seeds import torch_rng
from inpaintkit.training import GanTrainer, Trainer

PARTS = (
    "generator forward",
    "reconstruction loss",
    "discriminator looks",
    "gradient of reconstruction at output",
    "gradient of adversarial at output",
    "both at the last layer",
    "generator backward",
    "discriminator backward",
    "optimisers",
)


def batch_of(trainer: Trainer) -> Batch:
    items = [(draw % len(trainer.train_set), 1, draw) for draw in range(trainer.config.batch_size)]
    return next(trainer.feed.batches(items))


def step_seconds(trainer: Trainer, repeats: int) -> float:
    """Return the median processor seconds of a whole step, data left out."""
    trainer._set_mode(training=True)
    batch, seconds = batch_of(trainer), []
    for number in range(repeats + 1):
        trainer.progress.step = number  # so that ensembles draw their members anew
        start = time.process_time()
        trainer._train_batch(batch)
        trainer._move_weights()
        seconds.append(time.process_time() - start)
        trainer.losses.take(trainer.group)
    return statistics.median(seconds[1:])


def member_seconds(trainer: GanTrainer, repeats: int) -> list[float]:
    """Return the processor seconds of a step with each member of the discriminator."""
    members, pick = len(trainer.discriminator.probabilities), trainer.discriminator.pick
    seconds = []
    for member in range(members):
        trainer.discriminator.pick = lambda u, chosen=member: chosen  # type: ignore[method-assign, misc]
        seconds.append(step_seconds(trainer, repeats))
    trainer.discriminator.pick = pick  # type: ignore[method-assign]
    return seconds


def part_seconds(trainer: GanTrainer, member: int, number: int) -> list[float]:
    """Do one step as `GanTrainer` does it, with one member judging; return the processor seconds of each of `PARTS`."""
    trainer._set_mode(training=True)
    x, hole, y, _ = batch_of(trainer)
    config, last_layer = trainer.config, trainer.last_layer
    adversarial_weight = config.discriminator_weight
    looks = [time.process_time()]

    def done() -> None:
        looks.append(time.process_time())

    output, mask = trainer._generate(x, hole)
    done()
    total, _, _ = trainer._loss(output, y, hole, torch_rng("bench", number))
    done()
    trainer.discriminator.pick = lambda u: member  # type: ignore[method-assign]
    adversarial, discriminator_loss = trainer._discriminate(output, y, mask, torch_rng("bench", number))
    done()
    gradient = torch.autograd.grad(total, output)[0]
    done()
    towards_real = torch.autograd.grad(adversarial, output, retain_graph=True)[0]
    done()
    for arriving in (gradient, towards_real):
        torch.autograd.grad(output, last_layer, arriving, retain_graph=True)
    done()
    output.backward(gradient + adversarial_weight * towards_real, retain_graph=True)
    done()
    discriminator_loss.backward(inputs=list(trainer.discriminator.parameters()))
    done()
    trainer._move_weights()
    done()
    return [end - start for start, end in itertools.pairwise(looks)]


def expected(values: Sequence[float], trainer: GanTrainer) -> float:
    """Return the mean of one value per member, each counting as often as it is picked."""
    return sum(value * share for value, share in zip(values, trainer.discriminator.probabilities, strict=True))


def parts_table(trainer: GanTrainer, repeats: int) -> list[str]:
    """Return the rows of the table of a GAN step's parts."""
    of_members = []
    for member in range(len(trainer.discriminator.probabilities)):
        runs = [part_seconds(trainer, member, number) for number in range(repeats + 1)][1:]
        of_members.append([statistics.median(part) for part in zip(*runs, strict=True)])
    means = [expected(values, trainer) for values in zip(*of_members, strict=True)]
    rows = [f"| {name} | {value:.3f} | {value / sum(means):.0%} |" for name, value in zip(PARTS, means, strict=True)]
    return ["| part | s | share |", "| --- | ---: | ---: |", *rows]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sizes", nargs="+", default=["8x256", "4x188"], help="crops per step x side of a crop in px")
    parser.add_argument("--perceptual", nargs="+", choices=("alex", "vgg"), default=["vgg", "alex"])
    parser.add_argument("--discriminator", default="l3cffce")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--amp", default="off")
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--no-parts", action="store_true")
    options = parser.parse_args()
    options.compile = False
    networks: list[str] = options.perceptual
    after: list[Callable[[], list[str]]] = []
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        write_records(folder / "data")
        print(f"threads {torch.get_num_threads()}, {options.discriminator}, processor seconds per step\n")
        print("| crops | LPIPS | plain | GAN | ratio |")
        print("| ---: | --- | ---: | ---: | ---: |")
        for size in options.sizes:
            batch, crop = (int(part) for part in size.split("x"))
            for options.perceptual in networks:
                plain = step_seconds(make(folder, options, crop, batch), options.repeats)
                trainer = make(folder, options, crop, batch, gan=True)
                assert isinstance(trainer, GanTrainer)
                gan = expected(member_seconds(trainer, options.repeats), trainer)
                print(
                    f"| {batch} x {crop} px | {options.perceptual} | {plain:.2f} | {gan:.2f} | {gan / plain:.2f} |",
                    flush=True,
                )
                after.append(
                    lambda t=trainer, title=f"{size}, {options.perceptual}": [  # type: ignore[misc]
                        f"\n{title}\n",
                        *parts_table(t, options.repeats),
                    ]
                )
        for table in [] if options.no_parts else after:
            print("\n".join(table()), flush=True)


if __name__ == "__main__":
    main()
