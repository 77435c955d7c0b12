"""Measure how long the widgets take to react to a moved slider, at 1920x1080, with depth already estimated.

``python benchmarks/bench_widgets.py`` measures in the kernel, from the new value to the message for the browser.
"processor" is the computing time of all threads together; on a shared machine it is more reliable than clock time.
``python benchmarks/bench_widgets.py --browser`` measures in a browser, from the key that moves a slider to the picture
on the screen (needs Chromium and playwright).
"""

from __future__ import annotations

import argparse
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import cv2
import ipywidgets as ipw
import nbformat
import torch
from PIL import Image

from inpaintkit.config import HOLE_METHODS
from inpaintkit.data import read_picture
from inpaintkit.depth import create_depth_model
from inpaintkit.inspection import FILLS
from inpaintkit.notebook import MaskPreview, StereoPreview
from inpaintkit.notebook.widgets import parts
from inpaintkit.synthesis import MAPPERS

ROOT = Path(__file__).parents[1]
PHOTO = ROOT / "data" / "samples" / "train" / "bird_lamp.jpg"
WIDTH, HEIGHT = 1920, 1080
MOVES, GOAL_MS = 12, 150

CELLS = """from pathlib import Path
from inpaintkit.depth import create_depth_model
from inpaintkit.inspection import FILLS
from inpaintkit.notebook import MaskPreview, StereoPreview
model = create_depth_model("FastDepth")
display(MaskPreview([Path({photo!r})], model).widget())
---
display(StereoPreview([Path({photo!r})], model, FILLS["row"]).widget())"""

TIMED = """cell => { window.times = []; let since = 0;
    cell.addEventListener('keydown', () => { since = performance.now(); }, true);
    new MutationObserver(changes => {
        if (since && changes.some(c => [...c.addedNodes].some(n => n.nodeName === 'IMG'))) {
            const start = since; since = 0;
            requestAnimationFrame(() => requestAnimationFrame(() => window.times.push(performance.now() - start)));
        }
    }).observe(cell, {childList: true, subtree: true});
}"""


def write_photo(folder: Path) -> Path:
    """Write a photo of 1920x1080 px."""
    pixels = cv2.resize(read_picture(PHOTO, HEIGHT), (WIDTH, HEIGHT), interpolation=cv2.INTER_AREA)
    Image.fromarray(pixels).save(folder / "photo.png")
    return folder / "photo.png"


def measured(action: Callable[[int], object], times: int = MOVES) -> str:
    """Return table cells in ms: median and slowest by the clock, and median of all threads' processor time."""
    clock, work = [], []
    for move in range(times + 1):
        started, busy = time.perf_counter(), time.process_time()
        action(move)
        clock.append(1000 * (time.perf_counter() - started))
        work.append(1000 * (time.process_time() - busy))
    return f"{statistics.median(clock[1:]):.0f} | {max(clock[1:]):.0f} | {statistics.median(work[1:]):.0f}"


def every(box: ipw.Widget) -> Iterator[Any]:
    """Yield `box` and all widgets in it."""
    yield box
    for child in getattr(box, "children", ()):
        yield from every(child)


def print_moves(name: str, box: ipw.Widget, moves: dict[str, Sequence[object]], note: str = "") -> None:
    """Print how long a widget takes to react as each control goes through its values in `moves`."""
    controls = {part.description: part for part in every(box) if getattr(part, "description", "") in moves}
    for control, values in moves.items():
        row = measured(lambda step, c=controls[control], v=values: setattr(c, "value", v[step]), len(values) - 1)
        print(f"| {name} | {control}{note} | {row} |", flush=True)


def in_the_kernel(photo: Path) -> None:
    model = create_depth_model("FastDepth")
    steps = [1.0 + 0.5 * step for step in range(MOVES + 1)]
    mask, stereo = MaskPreview([photo], model), StereoPreview([photo], model, FILLS["row"])
    print("| widget | moved | median (ms) | slowest (ms) | processor (ms) |\n| --- | --- | ---: | ---: | ---: |")
    box = mask.widget()
    method = next(part for part in every(box) if getattr(part, "description", "") == "hole method")
    for method.value in HOLE_METHODS:
        moves = {"divergence %": steps, "convergence": [step / 10 for step in range(11)]}
        print_moves("mask preview", box, moves, f", {method.value}")
    method.value = "occlusion"
    print_moves("mask preview", box, {"edge dilation": range(5), "mapper": list(MAPPERS[:10])}, ", not seen before")
    moves = {"divergence %": steps, "convergence": [step / 10 for step in range(11)]}
    print_moves("stereo preview", stereo.widget(), moves)
    shown = mask.compute(photo)
    pane = parts.Pane("view")
    print("\n| part | median (ms) | slowest (ms) | processor (ms) |\n| --- | ---: | ---: | ---: |")
    print(f"| pictures of the mask preview | {measured(lambda step: mask.compute(photo, 1.0 + step / 10))} |")
    print(f"| encoding and sending one of them | {measured(lambda step: pane.show([shown.view], f'view {step}'))} |")


def in_a_browser(photo: Path, folder: Path) -> None:
    sys.path.insert(0, str(ROOT / "tests" / "browser"))
    from lab import NotebookPage, named, open_browser, running_lab

    (folder / "lab").mkdir()
    (folder / "private").mkdir()
    cells = [nbformat.v4.new_code_cell(source) for source in CELLS.format(photo=str(photo)).split("\n---\n")]
    kernel = {"kernelspec": {"name": "python3", "display_name": "Python 3", "language": "python"}}
    nbformat.write(nbformat.v4.new_notebook(cells=cells, metadata=kernel), folder / "lab" / "widgets.ipynb")
    print("| widget | moved | median (ms) | slowest (ms) |\n| --- | --- | ---: | ---: |")
    with running_lab(folder / "lab", folder / "private") as address, open_browser(folder / "profile") as browser:
        page = NotebookPage(browser, address, "widgets.ipynb")
        page.run_all()
        sliders = {"mask preview": ("divergence %", "convergence", "edge dilation")}
        sliders["stereo preview"] = ("divergence %", "convergence")
        for number, (name, labels) in enumerate(sliders.items()):
            cell = page.page.locator(".jp-CodeCell").nth(number)
            cell.evaluate(TIMED)
            for slider in labels:
                handle = named(cell, slider).locator(".noUi-handle").first
                handle.focus()
                page.page.evaluate("() => { window.times = []; }")
                for step in range(4 if slider == "edge dilation" else MOVES):
                    handle.press("ArrowLeft" if step > 6 else "ArrowRight")
                    page.page.wait_for_timeout(900)
                times = page.page.evaluate("() => window.times")
                print(f"| {name} | {slider} | {statistics.median(times):.0f} | {max(times):.0f} |", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--browser", action="store_true", help="measure in JupyterLab, up to the picture on the screen")
    chosen = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        photo = write_photo(Path(folder))
        print(f"{WIDTH}x{HEIGHT} px, {torch.get_num_threads()} threads, goal {GOAL_MS} ms\n")
        if chosen.browser:
            in_a_browser(photo, Path(folder))
        else:
            in_the_kernel(photo)


if __name__ == "__main__":
    main()
