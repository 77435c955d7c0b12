"""Measure which parts of the quick recipe matter: one run per part left out, all with the same number of samples.

    python benchmarks/bench_recipe.py DATA_DIR --samples 12000 --out /tmp/recipes

DATA_DIR holds records of 01_generate (train/ and eval/). Each run changes one part of `params/02_train.quick.yaml`; the
first row is the reference's recipe with the same samples, crop and perceptual network. Finished runs are kept, so an
interrupted benchmark can continue. Prints a Markdown table; PSNR and LPIPS are inside holes of the evaluation records.
"""

from __future__ import annotations

import argparse
import csv
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

from inpaintkit.config import TrainConfig
from inpaintkit.files import atomic_write_text
from inpaintkit.training import Lpips, ProgressLines, Trainer, metrics

QUICK = Path(__file__).parents[1] / "params" / "02_train.quick.yaml"
REFERENCE = {  # the reference's values of what the quick recipe changes
    "backward_step": 4,
    "optimizer": "adamw",
    "learning_rate": 1e-4,
    "scheduler": "cosine_wd",
    "learning_rate_cycles": 5,
    "hole_l1_weight": 1.0,
    "clip_grad_norm": 0.0,
    "grey_start": False,
    "ema_decay": 0.0,
}
VARIANTS: dict[str, dict[str, Any]] = {
    "reference": REFERENCE,
    "quick": {},
    "without grey_start": {"grey_start": False},
    "without clip_grad_norm": {"clip_grad_norm": 0.0},
    "without hole_l1_weight": {"hole_l1_weight": 1.0},
    "without ema_decay": {"ema_decay": 0.0},
    "constant learning rate": {"scheduler": "none"},
    "learning_rate 1e-4": {"learning_rate": 1e-4},
    "learning_rate 1e-3": {"learning_rate": 1e-3},
    "learning_rate 2e-3": {"learning_rate": 2e-3},
    "backward_step 4": {"backward_step": 4},
    "five cycles": {"learning_rate_cycles": 5},
    "amp off": {"amp": "off"},
    "amp bf16": {"amp": "bf16"},
    "adamw": {"optimizer": "adamw"},
}
EPOCHS = 20
COLUMNS = ("hole PSNR (dB)", "row fill (dB)", "hole LPIPS", "evaluation L1", "s / 1000 samples")


def train(name: str, changes: Mapping[str, Any], options: argparse.Namespace, seed: int) -> dict[str, float]:
    """Return the figures of one variant: train it, or read them if that was done before."""
    folder = options.out / f"{name.replace(' ', '_')}_{seed}"
    done = folder / "figures.csv"
    if done.exists():
        with done.open(encoding="utf-8") as file:
            return {row["name"]: float(row["value"]) for row in csv.DictReader(file)}
    sizes = {"max_epoch": EPOCHS, "num_samples": max(options.samples // EPOCHS, 1), "eval_step": EPOCHS}
    common = {"data_dir": str(options.data_dir), "crop_size": options.crop_size, "perceptual": options.perceptual}
    places = {"model_dir": str(folder), "device": options.device, "seed": seed}
    values = yaml.safe_load(QUICK.read_text(encoding="utf-8")) | common | sizes | dict(changes) | places
    trainer = Trainer(TrainConfig.from_params(values), [ProgressLines()])
    report = trainer.fit()
    last = report.rows("eval")[-1]
    figures = {
        "hole PSNR (dB)": float(last["hole_psnr"]),
        "row fill (dB)": float(last["hole_psnr_row_fill"]),
        "hole LPIPS": lpips_in_holes(trainer, options),
        "evaluation L1": float(last["l1"]),
        "s / 1000 samples": 1000 * report.seconds / max(options.samples, 1),
    }
    atomic_write_text(done, "name,value\n" + "".join(f"{key},{value}\n" for key, value in figures.items()))
    return figures


def lpips_in_holes(trainer: Trainer, options: argparse.Namespace) -> float:
    """Return the mean LPIPS inside holes of the last weights (not the best ones), on all evaluation records."""
    setup = trainer.setup
    judge = Lpips("alex").to(setup.task.device)
    with setup.task.evaluating():
        values = []
        for x, hole, _, _ in setup.eval_feed.batches(setup.eval_records):
            filled = trainer.model.infer(x, hole).detach()
            values += metrics.hole_lpips(filled, x, hole, judge).tolist()
    finite = [value for value in values if value == value]
    return sum(finite) / max(len(finite), 1)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data_dir", type=Path)
    parser.add_argument("--samples", type=int, default=12000, help="training samples per run (default: %(default)s)")
    parser.add_argument("--out", type=Path, required=True, help="folder for the runs")
    parser.add_argument("--only", nargs="*", choices=VARIANTS, default=list(VARIANTS), help="some of the variants")
    parser.add_argument("--seeds", type=int, default=1, help="runs per variant; the table shows mean and range")
    parser.add_argument("--crop-size", type=int, default=128)
    parser.add_argument("--perceptual", choices=("alex", "vgg"), default="alex")
    parser.add_argument("--device", default="auto")
    options = parser.parse_args()
    found = {
        name: [train(name, VARIANTS[name], options, seed) for seed in range(options.seeds)] for name in options.only
    }
    print(f"\n{options.samples} samples, crops of {options.crop_size} px, LPIPS-{options.perceptual}, ", end="")
    print(f"{options.seeds} run(s) each\n\n| recipe | {' | '.join(COLUMNS)} |\n| --- |{' ---: |' * len(COLUMNS)}")
    for name, runs in found.items():
        print(f"| {name} | {' | '.join(spread([run[column] for run in runs]) for column in COLUMNS)} |")


def spread(values: list[float]) -> str:
    """Return the mean, with the range if there are several values."""
    mean = f"{sum(values) / len(values):.4g}"
    return mean if len(values) == 1 else f"{mean} ({min(values):.4g} to {max(values):.4g})"


if __name__ == "__main__":
    main()
