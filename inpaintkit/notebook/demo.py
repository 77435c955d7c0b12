"""Run the whole chain on the shipped photos: four notebooks, one after the other, into one folder."""

import time
from pathlib import Path
from typing import Any

from inpaintkit.files import require_writable
from inpaintkit.notebook.html import write_html, write_page
from inpaintkit.notebook.parameters import PRESET
from inpaintkit.notebook.project import find_project
from inpaintkit.notebook.runs import RunReport, execute
from inpaintkit.training.run import RunFiles

STEPS = ("01_generate", "02_train", "03_finetune_gan", "04_inspect")
PICTURES = (
    ("01_generate/figures/one_photo.png", "A photo, its depth, and the hole: what the left eye can't see"),
    ("01_generate/figures/contact_sheet.png", "Records of the data set, holes in magenta"),
    ("02_train/figures/loss_curves.png", "Training"),
    ("03_finetune_gan/figures/before_after.png", "Evaluation holes before and after GAN fine-tuning"),
    ("04_inspect/figures/before_after.png", "The same holes filled by each method"),
    ("04_inspect/figures/metrics.png", "Inside-hole metrics with 95 % intervals"),
    ("04_inspect/figures/stereo.png", "What it is for: a stereo pair"),
)


def step_params(step: str, folder: Path, preset: str) -> dict[str, Any]:
    """Return the parameters of one step: its preset, and its paths inside `folder`."""
    data = str(folder / "data")
    trained, tuned = (RunFiles(folder / step).model for step in ("02_train", "03_finetune_gan"))
    paths: dict[str, dict[str, str]] = {
        "01_generate": {"output_dir": data, "run_dir": str(folder / step)},
        "02_train": {"data_dir": data, "model_dir": str(folder / step)},
        "03_finetune_gan": {"data_dir": data, "model_dir": str(folder / step), "checkpoint_file": str(trained)},
        "04_inspect": {
            "data_dir": data,
            "checkpoint": str(tuned),
            "compare_with": str(trained),
            "run_dir": str(folder / step),
        },
    }
    return {PRESET: preset, **paths[step]}


def run_demo(smoke: bool = False, folder: str | Path | None = None) -> list[RunReport]:
    """Run all four notebooks with the preset ``try`` (or ``smoke``) and write an overview beside them.

    All files go into `folder`, by default ``models/demo`` (or ``models/smoke``) of the project. Called again, an
    interrupted demo continues.
    """
    root = find_project()
    size = "smoke" if smoke else "demo"
    target = require_writable(folder or root / "models" / size, "run_dir").resolve()
    shown = target.relative_to(root) if target.is_relative_to(root) else target
    started = time.monotonic()
    reports = []
    for number, step in enumerate(STEPS, 1):
        print(f"\n=== {number} of {len(STEPS)}: {step} -> {shown / step}", flush=True)
        reports.append(execute(step, step_params(step, target, "smoke" if smoke else "try")))
    overview = _overview(reports, target)
    page = write_page(overview, target / "report.html")
    minutes = (time.monotonic() - started) / 60
    print(f"\n{_verdict(target)}\nDone in {minutes:.1f} minutes. Look at {shown / page.name}", flush=True)
    print(f"The checkpoint, ready for iw3: {RunFiles(shown / '03_finetune_gan').model}", flush=True)
    return reports


def _verdict(folder: Path) -> str:
    return (folder / "04_inspect" / "verdict.md").read_text(encoding="utf-8")


def _overview(reports: list[RunReport], folder: Path) -> str:
    lines = [
        "# What the demo made",
        "",
        "How well the model fills pictures that it was not trained on:",
        "",
        _verdict(folder),
    ]
    for path, caption in PICTURES:
        if (folder / path).is_file():
            lines += [f"## {caption}", "", f"![{caption}]({path})", ""]
    lines += ["## Step by step, with every table", "", "| step | seconds | its page |", "| --- | ---: | --- |"]
    for report in reports:
        page = write_html(report.executed).relative_to(folder).as_posix()
        lines.append(f"| {report.notebook} | {report.seconds:.0f} | [{page}]({page}) |")
    return "\n".join(lines)
