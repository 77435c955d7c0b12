"""The parts of gpu.py: each takes a `Scope`, works within its time and returns its results."""

from __future__ import annotations

import dataclasses
import json
import math
import os
import subprocess
import sys
import time
import traceback
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import gpu_checks
import torch
from bench_train import fastest, plain_step
from PIL import Image

from inpaintkit.config import GanConfig, GenerateConfig, TrainConfig, resolve_device
from inpaintkit.data import InpaintDataset, generate_dataset
from inpaintkit.inspection import evaluate, make_fills, record_truth, scene_truth, tables
from inpaintkit.training import GanTrainer, ProgressLines, Trainer

ROOT = Path(__file__).resolve().parents[1]
RELEASED = ROOT / "models" / "released" / "light_inpaint_v1.pth"
SMALL_CROP = 96  # px; a discriminator judges 4 x 4 cells of it
MODEL = "inpaint.light_inpaint_v1.pth"


@dataclass(frozen=True)
class Scope:
    """What a part works with: `device`, folder `work`, deadline `until` (`time.monotonic`); `small`: a rehearsal."""

    device: str
    work: Path
    until: float
    small: bool

    @property
    def left(self) -> float:
        """Seconds left."""
        return self.until - time.monotonic()

    @property
    def data(self) -> Path:
        return self.work / "data"


@dataclass(frozen=True)
class Row:
    """One way to run a training step; `kind` is plain or gan."""

    batch: int = 32
    backward: int = 1
    amp: str = "bf16"
    compile: bool = False
    perceptual: str = "vgg"
    kind: str = "plain"


ROWS = (
    Row(), Row(perceptual="alex"), Row(8, 4), Row(kind="gan"), Row(64), Row(128), Row(compile=True), Row(64, compile=True),
    Row(64, perceptual="alex", compile=True), Row(amp="off"), Row(amp="fp16"), Row(8, 4, "off"), Row(256), Row(128, compile=True),
)  # fmt: skip
"""In order of interest, since time may be up before the last. 8 x 4 and 32 x 1 are mathematically the same."""

GOALS = "1500 samples/s with VGG16, 3000 with AlexNet; a GAN step at most 2.2 plain ones"
SMALL_ROWS = (Row(2, perceptual="alex", amp="off"), Row(2, perceptual="alex", amp="off", kind="gan"))


def generate(scope: Scope) -> dict[str, Any]:
    """Make records of the photos, FastDepth on the device, in as many passes as half of the time allows, up to 8."""
    photos = ROOT / "data" / "gpu_photos"
    photos = photos if photos.is_dir() else ROOT / "data" / "samples"
    if scope.small:
        photos = few_photos(photos, scope.work / "photos")
    cores = os.cpu_count() or 1
    workers = 1 if scope.small else min(16, cores)
    torch.set_num_threads(max(1, cores // workers))  # else each worker would split its work among all cores
    started, records, seconds = time.monotonic(), 0, 0.0
    for number in range(1 if scope.small else 8):
        if time.monotonic() - started > scope.left:
            break
        options = {
            "dataset_dir": str(photos), "output_dir": str(scope.data), "prefix": f"gpu{number}", "seed": number,
            "device": scope.device, "workers": workers, "size": 256 if scope.small else 512, "scenes": 0 if scope.small else 1,
        }  # fmt: skip
        report = generate_dataset(GenerateConfig.from_params(options))
        records, seconds = records + report.records, seconds + report.seconds
        speed = records / seconds
        note(scope, "generate", {"records": records, "seconds": seconds, "records/s": speed, "workers": workers})
    return {"records": records, "seconds": seconds, "records/s": speed, "workers": workers}


def few_photos(source: Path, folder: Path) -> Path:
    """Copy two photos to train on and one to evaluate, reduced in size, to `folder` and return it."""
    for split, count in (("train", 2), ("eval", 1)):
        (folder / split).mkdir(parents=True, exist_ok=True)
        for photo in sorted((source / split).glob("*.jpg"))[:count]:
            with Image.open(photo) as image:
                image.thumbnail((480, 480))
                image.save(folder / split / photo.name)
    return folder


def checks(scope: Scope) -> dict[str, Any]:
    """Compare the device with the CPU; a check that fails doesn't stop the next."""
    side = 96 if scope.small else 256
    device = resolve_device(scope.device)  # like all of the kit, computes float32 in float32
    place = gpu_checks.Place(device, scope.data, gpu_checks.start_model(scope.work, RELEASED), side)
    found: dict[str, Any] = {}
    for check in gpu_checks.CHECKS:
        try:
            figures = check(place)
            found |= {
                name: {"value": value, "judged": gpu_checks.judged(name, value)} for name, value in figures.items()
            }
        except Exception as error:
            traceback.print_exc()
            found[check.__name__] = {"value": None, "judged": f"FAILED: {type(error).__name__}: {error}"[:300]}
        note(scope, "checks", found)
    return found


def table(scope: Scope) -> dict[str, Any]:
    """Measure the rows of the table until time is up."""
    reserve, rows = scope.left / 10, []
    for row in SMALL_ROWS if scope.small else ROWS:
        if scope.left < reserve:
            break
        try:
            rows.append(dataclasses.asdict(row) | measured(scope, row))
        except Exception as error:  # too much for the memory, or for the compiler
            traceback.print_exc()
            rows.append(dataclasses.asdict(row) | {"failed": f"{type(error).__name__}: {error}"[:200]})
        note(scope, "table", {"goals": GOALS, "rows": rows})
    return {"goals": GOALS, "rows": rows}


def measured(scope: Scope, row: Row) -> dict[str, float]:
    """Return a row's samples per second (measured without stops in between), times of its parts, and peak memory."""
    options = run_options(scope, row.perceptual) | {
        "batch_size": row.batch, "backward_step": row.backward, "amp": row.amp, "compile": row.compile,
        "model_dir": str(scope.work / "table"), "overwrite": True, "resident": "on",
    }  # fmt: skip
    trainer = make_trainer(row.kind, options)
    print(row, *trainer.setup.messages, sep="\n", flush=True)  # why something wasn't compiled, for the log
    step, number = gpu_checks.one_step(trainer), 0
    for number in range(1, 4):
        step(number)
    synchronise(scope.device)
    if scope.device.startswith("cuda"):
        torch.cuda.reset_peak_memory_stats()
    started, first, length = time.perf_counter(), number, 0.5 if scope.small else 4.0
    while time.perf_counter() - started < length:
        for _ in range(row.backward):
            number += 1
            losses = step(number)
    losses.per_sample.tolist()
    seconds = time.perf_counter() - started
    figures: dict[str, float] = {"samples/s": (number - first) * row.batch / seconds}
    if scope.device.startswith("cuda"):
        figures["GiB"] = torch.cuda.max_memory_allocated() / 2**30
        figures["kernels"] = kernels(lambda: step(number + 1))
    if row.kind == "plain":
        figures["compile"] = trainer.setup.task.network is not trainer.model  # False if compiling failed
        parts = fastest(lambda n: plain_step(trainer, n), 1 if scope.small else 5)
        figures |= {f"{part} (ms)": 1000 * value for part, value in parts.items()}
    return figures


def kernels(work: Callable[[], object]) -> float:
    """Return how many kernels and copies `work` starts on the GPU, NaN if the profiler can't tell."""
    try:
        with torch.profiler.profile(activities=[torch.profiler.ProfilerActivity.CUDA]) as profile:
            work()
            torch.cuda.synchronize()
        return float(sum(event.device_type == torch.autograd.DeviceType.CUDA for event in profile.events() or ()))
    except Exception:  # not worth losing the table's row
        traceback.print_exc()
        return math.nan


def synchronise(device: str) -> None:
    if device.startswith("cuda"):
        torch.cuda.synchronize()


def run_options(scope: Scope, perceptual: str) -> dict[str, Any]:
    """Return the options that all runs of these parts have in common."""
    return {
        "data_dir": str(scope.data), "device": scope.device, "perceptual": perceptual, "crop_size": SMALL_CROP if scope.small else 256,
        "optimizer": "adamw", "hole_l1_weight": 10.0, "mixed_border": 0.5, "clip_grad_norm": 1.0,
        "thin_hole": 0.25, "border_hole": 0.2, "grid_weight": 10.0,
        "checkpoint_file": str(gpu_checks.start_model(scope.work, RELEASED)), "disable_hard_example": False,
    }  # fmt: skip


def make_trainer(kind: str, options: dict[str, Any]) -> Trainer:
    if kind == "gan":
        full = {
            "learning_rate": 1e-4,
            "generator_warmup_iteration": 0,
        }  # measured steps include the adversarial term
        return GanTrainer(GanConfig.from_params(full | options), [ProgressLines()])
    return Trainer(TrainConfig.from_params({"learning_rate": 3e-4, **options}), [ProgressLines()])


def best_row(scope: Scope, kind: str) -> dict[str, Any]:
    """Return the fastest row of the table with VGG16, or with AlexNet if that is missing.

    Without a table, the usual row is measured and returned.
    """
    file = scope.work / "table.json"
    rows = json.loads(file.read_text())["rows"] if file.is_file() else []
    rows = [row for row in rows if row["kind"] == kind and "samples/s" in row and row["batch"] * row["backward"] <= 64]
    rows = [row for row in rows if row["perceptual"] == "vgg"] or rows
    if rows:
        return max(rows, key=lambda row: row["samples/s"])  # type: ignore[no-any-return]
    usual = next(row for row in (SMALL_ROWS if scope.small else ROWS) if row.kind == kind)
    usual = usual if has_vgg() else dataclasses.replace(usual, perceptual="alex")
    return dataclasses.asdict(usual) | measured(scope, usual)


def has_vgg() -> bool:
    return (ROOT / "models" / "perceptual" / "vgg16_features.safetensors").is_file()


def planned(scope: Scope, kind: str, reserve: float) -> dict[str, Any]:
    """Return options with which a run ends `reserve` seconds before time is up, its learning rate at the lowest."""
    row, epochs = best_row(scope, kind), 2 if scope.small else 10
    seconds = max(scope.left - reserve, scope.left / 2)
    samples = max(row["batch"], int(row["samples/s"] * seconds / epochs))
    return run_options(scope, row["perceptual"]) | {name: row[name] for name in ("amp", "compile")} | {
        "batch_size": row["batch"], "backward_step": row["backward"], "max_epoch": epochs, "num_samples": samples,
        "learning_rate_cycles": 1, "eval_step": max(1, epochs // 5), "eval_records": 4 if scope.small else 64,
        "max_seconds": seconds * 1.1, "overwrite": True, "warmup_steps": 20, "checkpoint_seconds": 60.0,
    }  # fmt: skip


def train(scope: Scope) -> dict[str, Any]:
    """Train from the released checkpoint until time is up; the CPU evaluates it meanwhile, and the new one at the end."""
    options = planned(scope, "plain", 110)
    beside = start_evaluation(scope, Path(options["checkpoint_file"]), "before")
    trainer = make_trainer("plain", options | {"model_dir": str(scope.work / "plain"), "ema_decay": 0.998})
    report = trainer.fit()
    note(scope, "train", report.summary())
    after = start_evaluation(scope, report.model_file, "after")
    found = report.summary() | {"before": evaluation_of(beside)}
    note(scope, "train", found)
    return found | {"after": evaluation_of(after)}


def gan(scope: Scope) -> dict[str, Any]:
    """Fine-tune the trained model against a discriminator, after the whole warm-up; evaluate it as docs/gan.md does."""
    start = scope.work / "plain" / MODEL
    options = planned(scope, "gan", 30)
    options |= {"checkpoint_file": str(start)} if start.is_file() else {}
    options |= {
        "generator_warmup_iteration": 2 if scope.small else 500,
        "eval_step": 1,
        "model_dir": str(scope.work / "gan"),
        "ema_decay": 0.998,
    }
    trainer = make_trainer("gan", options)
    report = trainer.fit()
    assert isinstance(trainer, GanTrainer)
    losses = [row["discriminator"] for row in report.rows("train")]
    return report.summary() | {
        "discriminator": losses,
        "table": trainer.epoch_table(),
        "picked": trainer.picked_because(),
    }


def start_evaluation(scope: Scope, model: Path, name: str) -> tuple[subprocess.Popen[bytes], Path]:
    """Start evaluating a model on the CPU in a process of its own; return the process and the file that it will write.

    Two cores are left to a training, whose GPU would otherwise wait for them.
    """
    file = scope.work / f"judged_{name}.md"
    file.unlink(missing_ok=True)
    command = [
        sys.executable,
        str(Path(__file__).with_name("gpu.py")),
        "--evaluate",
        str(model),
        "--work",
        str(scope.work),
        "--result",
        str(file),
    ]
    command += ["--rehearsal"] if scope.small else []
    threads = str(max(1, (os.cpu_count() or 1) - 2))
    return subprocess.Popen(command, env={**os.environ, "CUDA_VISIBLE_DEVICES": "", "OMP_NUM_THREADS": threads}), file


def evaluation_of(started: tuple[subprocess.Popen[bytes], Path]) -> str:
    process, file = started
    process.wait()
    return file.read_text() if file.is_file() else "the evaluation failed"


def evaluate_model(model: Path, work: Path, small: bool, result: Path) -> None:
    """Evaluate `model` and simple fills on photos and scenes, on the CPU, and write the tables to `result`."""
    fills = make_fills(f"row, telea, navier_stokes, {model}", "cpu")
    photos = record_truth(InpaintDataset(work / "data" / "eval", training=False, crop_size=128 if small else 256))
    truths = [(photos, 2 if small else 64), (scene_truth(2 if small else 24), 1 if small else None)]
    results = [evaluate(fills, truth, ("alex",), count) for truth, count in truths]
    result.write_text("\n".join(tables(result) for result in results))


PARTS: dict[str, Callable[[Scope], dict[str, Any]]] = {
    "generate": generate, "checks": checks, "table": table, "train": train, "gan": gan,
}  # fmt: skip


def note(scope: Scope, part: str, result: Mapping[str, Any]) -> None:
    """Save a part's results so far."""
    (scope.work / f"{part}.json").write_text(json.dumps(result, indent=1, default=str))
