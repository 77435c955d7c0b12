"""All that a GPU has to show, in one call: generation, checks against the CPU, speeds, a training to the minute, a GAN trial.

    python benchmarks/gpu.py --seconds 600 --out OUT                          # everything
    python benchmarks/gpu.py generate checks table --seconds 150 --out OUT    # first a look ...
    python benchmarks/gpu.py train gan --seconds 540 --out OUT                # ... then the rest, by the best row of the table

It needs torch, torchvision, NumPy, Pillow, OpenCV, safetensors, PyYAML and tqdm, no other package and no connection. What has to
be there is what git tracks, of it neither docs/, notebooks/, tests/ nor models/README.md: 46 MiB, without the trunk of VGG16
(models/perceptual, then there are rows for AlexNet only) 18 MiB. Photos beside data/samples: JPEGs in data/gpu_photos/, or in
its train/ and eval/; records are made of them there.

Each part runs in a process of its own, with its share of the time that is left: none stops the next. Records and runs lie in
models/gpu, where a second call finds them. OUT gets at most 8 files: results.md, results.json, log.txt, both models (9 MB
each) and pictures. Without a GPU, and with --rehearsal, everything is done in small on the CPU, in some two minutes.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import os
import shutil
import subprocess
import sys
import time
import traceback
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from PIL import Image

from inpaintkit.config import GanConfig, GenerateConfig, TrainConfig
from inpaintkit.data import InpaintDataset, generate_dataset
from inpaintkit.inspection import evaluate, make_fills, record_truth, scene_truth, tables
from inpaintkit.training import GanTrainer, ProgressLines, Trainer

sys.path.insert(0, str(Path(__file__).parent))
import gpu_checks

ROOT = Path(__file__).resolve().parents[1]
RELEASED = ROOT / "models" / "released" / "light_inpaint_v1.pth"
SHARES = {"generate": 1.0, "checks": 2.0, "table": 2.5, "train": 8.0, "gan": 4.0}
SMALL_SHARES = {"generate": 2.0, "checks": 6.0, "table": 2.0, "train": 4.0, "gan": 3.0}
"""The parts in order, and what they get of the time; what one leaves goes to the next."""

SMALL_CROP = 96  # px; the least from which a discriminator judges anything
GRACE = 10.0  # seconds beyond its limit in which a part may still end by itself
MODEL = "inpaint.light_inpaint_v1.pth"


@dataclass(frozen=True)
class Scope:
    """What a part works with: `device`, folder `work`, `seconds` it has; `small`: a rehearsal."""

    device: str
    work: Path
    seconds: float
    small: bool

    @property
    def data(self) -> Path:
        return self.work / "data"


@dataclass(frozen=True)
class Row:
    """A way to do a training step; `kind`: plain or gan."""

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
"""In order of interest: the time may be up before the last. 8 x 4 and 32 x 1 are the same mathematics."""

SMALL_ROWS = (Row(2, perceptual="alex", amp="off"), Row(2, perceptual="alex", amp="off", kind="gan"))


def generate(scope: Scope) -> dict[str, Any]:
    """Make records of the photos, FastDepth on the device, in as many passes as half of the time allows, eight at most."""
    photos = ROOT / "data" / "gpu_photos"
    photos = photos if photos.is_dir() else ROOT / "data" / "samples"
    if scope.small:
        photos = few_photos(photos, scope.work / "photos")
    workers = 1 if scope.small else min(16, os.cpu_count() or 1)
    started, records, seconds = time.monotonic(), 0, 0.0
    for number in range(1 if scope.small else 8):
        if time.monotonic() - started > scope.seconds / 2:
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
    """Copy two photos to train on and one to judge, made small."""
    for split, count in (("train", 2), ("eval", 1)):
        (folder / split).mkdir(parents=True, exist_ok=True)
        for photo in sorted((source / split).glob("*.jpg"))[:count]:
            with Image.open(photo) as image:
                image.thumbnail((480, 480))
                image.save(folder / split / photo.name)
    return folder


def checks(scope: Scope) -> dict[str, Any]:
    """Compare the device with the CPU; one check that fails doesn't stop the next."""
    side = 96 if scope.small else 256
    place = gpu_checks.Place(scope.device, scope.data, gpu_checks.start_model(scope.work, RELEASED), side)
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
    """Measure rows until the time is up."""
    started, rows = time.monotonic(), []
    for row in SMALL_ROWS if scope.small else ROWS:
        if time.monotonic() - started > scope.seconds * 0.9:
            break
        try:
            rows.append(dataclasses.asdict(row) | measured(scope, row))
        except Exception as error:  # too much for the memory, or for the compiler
            traceback.print_exc()
            rows.append(dataclasses.asdict(row) | {"failed": f"{type(error).__name__}: {error}"[:200]})
        note(scope, "table", {"rows": rows})
    return {"rows": rows}


def measured(scope: Scope, row: Row) -> dict[str, float]:
    """Return samples per second of a row without a look at the clock in between, seconds of each part, and peak memory."""
    from bench_train import fastest, plain_step

    options = run_options(scope, row.perceptual) | {
        "batch_size": row.batch, "backward_step": row.backward, "amp": row.amp, "compile": row.compile,
        "model_dir": str(scope.work / "table"), "overwrite": True, "resident": "on",
    }  # fmt: skip
    trainer = make_trainer(row.kind, options)
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
    if row.kind == "plain":
        figures["compile"] = trainer.setup.plain.network is not trainer.model  # where compiling failed, it says so
        parts = fastest(lambda n: plain_step(trainer, n), 1 if scope.small else 5)
        figures |= {f"{part} (ms)": 1000 * value for part, value in parts.items()}
    return figures


def synchronise(device: str) -> None:
    if device.startswith("cuda"):
        torch.cuda.synchronize()


def run_options(scope: Scope, perceptual: str) -> dict[str, Any]:
    """Return what all runs of these parts have in common."""
    return {
        "data_dir": str(scope.data), "device": scope.device, "perceptual": perceptual, "crop_size": SMALL_CROP if scope.small else 256,
        "optimizer": "adamw", "hole_l1_weight": 10.0, "mixed_border": 0.5, "clip_grad_norm": 1.0,
        "checkpoint_file": str(gpu_checks.start_model(scope.work, RELEASED)), "disable_hard_example": False,
    }  # fmt: skip


def make_trainer(kind: str, options: Mapping[str, Any]) -> Trainer:
    if kind == "gan":
        return GanTrainer(GanConfig.from_params({"learning_rate": 1e-4, **options}), [ProgressLines()])
    return Trainer(TrainConfig.from_params({"learning_rate": 3e-4, **options}), [ProgressLines()])


def best_row(scope: Scope, kind: str) -> dict[str, Any]:
    """Return the fastest row of the table with VGG16, or AlexNet where that is missing; a guess without a table."""
    file = scope.work / "table.json"
    rows = json.loads(file.read_text())["rows"] if file.is_file() else []
    rows = [row for row in rows if row["kind"] == kind and "samples/s" in row and row["batch"] * row["backward"] <= 64]
    rows = [row for row in rows if row["perceptual"] == "vgg"] or rows
    guess = dataclasses.asdict(Row(perceptual="vgg" if has_vgg() else "alex", kind=kind)) | {"samples/s": 300.0}
    return max(rows, key=lambda row: row["samples/s"], default=guess)  # type: ignore[no-any-return]


def has_vgg() -> bool:
    return (ROOT / "models" / "perceptual" / "vgg16_features.safetensors").is_file()


def planned(scope: Scope, kind: str, reserve: float) -> dict[str, Any]:
    """Return options by which a run ends `reserve` seconds before the time is up, its learning rate at the lowest."""
    row, epochs = best_row(scope, kind), 2 if scope.small else 10
    seconds = max(scope.seconds - reserve, scope.seconds / 2)
    samples = max(row["batch"], int(row["samples/s"] * seconds / epochs))
    return {name: row[name] for name in ("amp", "compile")} | {
        "batch_size": row["batch"], "backward_step": row["backward"], "max_epoch": epochs, "num_samples": samples,
        "learning_rate_cycles": 1, "eval_step": max(1, epochs // 5), "eval_records": 4 if scope.small else 64,
        "max_seconds": seconds * 1.1, "overwrite": True, "warmup_steps": 20, "checkpoint_seconds": 60.0,
    }  # fmt: skip


def train(scope: Scope) -> dict[str, Any]:
    """Train from the released checkpoint until the time is up; the CPU judges that one meanwhile, and the new one in the end."""
    options = run_options(scope, best_row(scope, "plain")["perceptual"]) | planned(scope, "plain", 110)
    beside = start_judging(scope, Path(options["checkpoint_file"]), "before")
    trainer = make_trainer("plain", options | {"model_dir": str(scope.work / "plain"), "ema_decay": 0.998})
    report = trainer.fit()
    note(scope, "train", report.summary())
    after = start_judging(scope, report.model_file, "after")
    return report.summary() | {"before": judged_by(beside), "after": judged_by(after)}


def gan(scope: Scope) -> dict[str, Any]:
    """Fine-tune the trained model against a discriminator, the whole warm-up first; judged as docs/gan.md does."""
    start = scope.work / "plain" / MODEL
    options = run_options(scope, best_row(scope, "gan")["perceptual"]) | planned(scope, "gan", 30)
    options |= {"checkpoint_file": str(start)} if start.is_file() else {}
    steps = 2 if scope.small else 500
    options |= {
        "generator_warmup_iteration": steps,
        "eval_step": 1,
        "model_dir": str(scope.work / "gan"),
        "ema_decay": 0.998,
    }
    trainer = make_trainer("gan", options)
    report = trainer.fit()
    assert isinstance(trainer, GanTrainer)
    hinge = [row["discriminator"] for row in report.rows("train")]
    return report.summary() | {"hinge": hinge, "table": trainer.epoch_table(), "picked": trainer.picked_because()}


def start_judging(scope: Scope, model: Path, name: str) -> tuple[subprocess.Popen[bytes], Path]:
    """Start judging a model on the CPU, in a process of its own."""
    file = scope.work / f"judged_{name}.md"
    file.unlink(missing_ok=True)
    command = [
        sys.executable,
        str(Path(__file__)),
        "--judge",
        str(model),
        "--work",
        str(scope.work),
        "--result",
        str(file),
    ]
    command += ["--rehearsal"] if scope.small else []
    return subprocess.Popen(command, env={**os.environ, "CUDA_VISIBLE_DEVICES": ""}), file


def judged_by(started: tuple[subprocess.Popen[bytes], Path]) -> str:
    process, file = started
    process.wait()
    return file.read_text() if file.is_file() else "judging failed"


def judge(model: Path, work: Path, small: bool, result: Path) -> None:
    """Write what `model` and simple fills are worth on photos and scenes, on the CPU."""
    fills = make_fills(f"row, telea, navier_stokes, {model}", "cpu")
    photos = record_truth(InpaintDataset(work / "data" / "eval", training=False, crop_size=128 if small else 256))
    truths = [(photos, 2 if small else 64), (scene_truth(2 if small else 24), 1 if small else None)]
    results = [evaluate(fills, truth, ("alex",), count) for truth, count in truths]
    result.write_text("\n".join(tables(result) for result in results))


PARTS: dict[str, Callable[[Scope], dict[str, Any]]] = {
    "generate": generate, "checks": checks, "table": table, "train": train, "gan": gan,
}  # fmt: skip


def note(scope: Scope, part: str, result: Mapping[str, Any]) -> None:
    """Keep what a part has found so far."""
    (scope.work / f"{part}.json").write_text(json.dumps(result, indent=1, default=str))


def run_parts(names: Sequence[str], scope: Scope, out: Path) -> None:
    """Run the parts one after the other, each in a process with its share of what is left, and write all results."""
    out.mkdir(parents=True, exist_ok=True)
    scope.work.mkdir(parents=True, exist_ok=True)
    ends, results, shares = time.monotonic() + scope.seconds, {}, SMALL_SHARES if scope.small else SHARES
    with open(out / "log.txt", "wb") as log:
        for number, name in enumerate(names):
            left = max(ends - time.monotonic() - GRACE, 1.0)
            limit = left * shares[name] / sum(shares[other] for other in names[number:])
            (scope.work / f"{name}.json").unlink(missing_ok=True)
            command = [sys.executable, str(Path(__file__)), "--part", name, "--work", str(scope.work)]
            command += ["--device", scope.device, "--seconds", str(limit), *(["--rehearsal"] if scope.small else [])]
            started = time.monotonic()
            process = subprocess.Popen(command, stdout=log, stderr=subprocess.STDOUT, start_new_session=True)
            try:
                ending = "done" if process.wait(limit + GRACE) == 0 else "FAILED, see log.txt"
            except subprocess.TimeoutExpired:
                os.killpg(process.pid, 9)
                ending = "stopped at its limit"
            seconds = time.monotonic() - started
            file = scope.work / f"{name}.json"
            found = json.loads(file.read_text()) if file.is_file() else {}
            results[name] = {"ending": ending, "seconds": round(seconds, 1), "limit": round(limit, 1), "result": found}
            print(f"{name}: {ending} after {seconds:.0f} of {limit:.0f} s", flush=True)
            write_results(results, scope, out)
    collect_files(scope, out)


def write_results(results: Mapping[str, Any], scope: Scope, out: Path) -> None:
    gpu = torch.cuda.get_device_name(0) if scope.device.startswith("cuda") else "none"
    facts = {"gpu": gpu, "torch": torch.__version__, "cores": os.cpu_count(), "rehearsal": scope.small}
    (out / "results.json").write_text(json.dumps({"facts": facts, "parts": results}, indent=1))
    lines = ["# Results on " + (gpu if gpu != "none" else "a CPU, in small"), "", f"{facts}"]
    for name, part in results.items():
        lines += [
            "",
            f"## {name}: {part['ending']}, {part['seconds']} of {part['limit']} s",
            "",
            *shown(part["result"]),
        ]
    (out / "results.md").write_text("\n".join(lines) + "\n")


def shown(result: Mapping[str, Any]) -> list[str]:
    """Return a part's result as Markdown: rows as a table, texts as they are, figures one a line."""
    lines: list[str] = []
    for name, value in result.items():
        if name == "rows":
            columns = list(dict.fromkeys(column for row in value for column in row))
            lines += [f"| {' | '.join(columns)} |", "| --- |" + " ---: |" * (len(columns) - 1)]
            lines += [f"| {' | '.join(cell(row.get(column, '')) for column in columns)} |" for row in value]
        elif isinstance(value, dict):
            lines.append(f"- {name}: {cell(value['value'])} {value['judged']}")
        elif "\n" in str(value):
            lines += ["", f"**{name}**", "", str(value)]
        else:
            lines.append(f"- {name}: {cell(value)}")
    return lines


def cell(value: object) -> str:
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def collect_files(scope: Scope, out: Path) -> None:
    """Copy the models and the last pictures of both runs."""
    for kind in ("plain", "gan"):
        run = scope.work / kind
        if (run / MODEL).is_file():
            shutil.copyfile(run / MODEL, out / f"{kind}.pth")
        strips = sorted((run / "eval").glob("*.png"))
        if strips:
            with Image.open(strips[-1]) as image:
                image.crop((0, 0, image.width, min(image.height, 4096))).save(out / f"{kind}.jpg", quality=88)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "parts", nargs="*", choices=[*PARTS, []], metavar="PART", help=f"of {', '.join(PARTS)}; none: all"
    )
    parser.add_argument("--seconds", type=float, help="for all parts together; else 600, or 120 in small")
    parser.add_argument("--out", type=Path, default=Path("gpu_results"))
    parser.add_argument("--rehearsal", action="store_true", help="in small, on the CPU")
    parser.add_argument("--work", type=Path, default=ROOT / "models" / "gpu", help=argparse.SUPPRESS)
    for name in ("part", "judge", "result", "device"):
        parser.add_argument(f"--{name}", help=argparse.SUPPRESS)
    options = parser.parse_args()
    small = options.rehearsal or not torch.cuda.is_available()
    device = options.device or ("cpu" if small else "cuda")
    scope = Scope(device, options.work, options.seconds or (120.0 if small else 600.0), small)
    if options.judge:
        judge(Path(options.judge), options.work, small=options.rehearsal, result=Path(options.result))
    elif options.part:
        note(scope, options.part, PARTS[options.part](scope))
    else:
        run_parts(options.parts or list(PARTS), scope, options.out)


if __name__ == "__main__":
    main()
