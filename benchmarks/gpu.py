"""Check and measure everything on a GPU in one call: generation, checks against the CPU, speeds, a training, a GAN run.

    PYTHONPATH=. python benchmarks/gpu.py --seconds 600 --out OUT                          # everything
    PYTHONPATH=. python benchmarks/gpu.py generate checks table --seconds 150 --out OUT    # first a look ...
    PYTHONPATH=. python benchmarks/gpu.py train gan --seconds 540 --out OUT                # ... then the rest

It needs torch, torchvision, NumPy, Pillow, OpenCV, safetensors and PyYAML, no other package and no connection. Of the
files that git tracks it needs all but docs/, notebooks/, tests/ and models/README.md: 46 MiB, or 18 MiB without the
trunk of VGG16 (models/perceptual; then there are rows for AlexNet only). To make the records from photos other than
data/samples, put JPEGs in data/gpu_photos/, or in its train/ and eval/.

Each part runs in a process of its own, with its share of the time left, and a part that fails doesn't stop the next.
Records and runs are kept in models/gpu, where a second call finds them; missing records are made. OUT gets at most 8
files: results.md, results.json, log.txt (a second call adds to them), both models (9 MB each) and pictures. Without a
GPU, or with --rehearsal, everything runs at a small size on the CPU, in some two minutes.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import math
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from gpu_parts import MODEL, PARTS, ROOT, Scope, evaluate_model, note
from PIL import Image

SHARES = {"generate": 1.0, "checks": 2.0, "table": 2.5, "train": 8.0, "gan": 4.0}
SMALL_SHARES = {"generate": 2.0, "checks": 6.0, "table": 2.0, "train": 4.0, "gan": 3.0}
"""The parts in order, with their shares of the time; what one leaves goes to the next."""

GRACE = 10.0
"""Seconds beyond its limit in which a part may still end by itself; then the alarm that it has set ends it."""


def run_parts(names: Sequence[str], scope: Scope, out: Path) -> None:
    """Run the parts one after the other, each in a process with its share of the time left, and write all results."""
    out.mkdir(parents=True, exist_ok=True)
    scope.work.mkdir(parents=True, exist_ok=True)
    if "generate" not in names and not (scope.data / "eval").is_dir():
        names = ["generate", *names]  # not the machine of the first call
    shares = SMALL_SHARES if scope.small else SHARES
    with open(out / "log.txt", "ab") as log:
        for number, name in enumerate(names):
            left = max(scope.left - GRACE, 1.0)
            limit = left * shares[name] / sum(shares[other] for other in names[number:])
            (scope.work / f"{name}.json").unlink(missing_ok=True)
            started = time.monotonic()
            command = [sys.executable, str(Path(__file__)), "--part", name, "--work", str(scope.work)]
            command += ["--device", scope.device, "--limit", str(limit)]
            command += ["--rehearsal"] if scope.small else []
            process = subprocess.Popen(command, stdout=log, stderr=subprocess.STDOUT, start_new_session=True)
            ending = {0: "done", -signal.SIGALRM: "stopped at its limit"}.get(process.wait(), "FAILED, see log.txt")
            if ending != "done":
                with contextlib.suppress(ProcessLookupError):
                    os.killpg(process.pid, signal.SIGKILL)  # the processes that it started
            seconds = time.monotonic() - started
            file = scope.work / f"{name}.json"
            found = json.loads(file.read_text()) if file.is_file() else {}
            result = {"ending": ending, "seconds": round(seconds, 1), "limit": round(limit, 1), "result": found}
            print(f"{name}: {ending} after {seconds:.0f} of {limit:.0f} s", flush=True)
            add_result(name, result, scope, out)
    collect_files(scope, out)


def add_result(name: str, result: Mapping[str, Any], scope: Scope, out: Path) -> None:
    """Add the result of a part to those that `out` already holds from this machine."""
    gpu = torch.cuda.get_device_name(0) if scope.device.startswith("cuda") else "none"
    facts = {"gpu": gpu, "torch": torch.__version__, "cores": os.cpu_count(), "rehearsal": scope.small}
    file = out / "results.json"
    before = json.loads(file.read_text()) if file.is_file() else {}
    parts = (before["parts"] if before.get("facts") == facts else {}) | {name: result}
    file.write_text(json.dumps({"facts": facts, "parts": parts}, indent=1))
    lines = ["# Results on " + (gpu if gpu != "none" else "a CPU, at the small size"), "", f"{facts}"]
    for part_name, part in parts.items():
        heading = f"## {part_name}: {part['ending']}, {part['seconds']} of {part['limit']} s"
        lines += ["", heading, "", *shown(part["result"])]
    (out / "results.md").write_text("\n".join(lines) + "\n")


def shown(result: Mapping[str, Any]) -> list[str]:
    """Return a part's result as Markdown: rows as a table, texts as they are, one figure per line."""
    lines: list[str] = []
    for name, value in result.items():
        if name == "rows":
            columns = list(dict.fromkeys(column for row in value for column in row))
            lines += ["", f"| {' | '.join(columns)} |", "| --- |" + " ---: |" * (len(columns) - 1)]
            lines += [f"| {' | '.join(cell(row.get(column, '')) for column in columns)} |" for row in value]
        elif isinstance(value, dict):
            lines.append(f"- {name}: {cell(value['value'])} {value['judged']}")
        elif "\n" in str(value):
            lines += ["", f"**{name}**", "", str(value), ""]
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
    parser.add_argument("--seconds", type=float, help="for all parts together; default 600, or 120 at the small size")
    parser.add_argument("--out", type=Path, default=Path("gpu_results"))
    parser.add_argument("--rehearsal", action="store_true", help="run at a small size on the CPU")
    parser.add_argument("--limit", type=float, help=argparse.SUPPRESS)
    parser.add_argument("--work", type=Path, default=ROOT / "models" / "gpu", help=argparse.SUPPRESS)
    for name in ("part", "evaluate", "result", "device"):
        parser.add_argument(f"--{name}", help=argparse.SUPPRESS)
    options = parser.parse_args()
    small = options.rehearsal or not torch.cuda.is_available()
    device = options.device or ("cpu" if small else "cuda")
    seconds = options.limit or options.seconds or (120.0 if small else 600.0)
    scope = Scope(device, options.work, time.monotonic() + seconds, small)
    if options.evaluate:
        evaluate_model(Path(options.evaluate), options.work, small=options.rehearsal, result=Path(options.result))
    elif options.part:
        signal.alarm(math.ceil(options.limit + GRACE))  # counted from here: loading takes none of it
        note(scope, options.part, PARTS[options.part](scope))
    else:
        run_parts(options.parts or list(PARTS), scope, options.out)


if __name__ == "__main__":
    main()
