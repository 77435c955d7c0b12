"""How long the mask preview takes to answer a moved slider at 1920x1080, from the new value to the encoded pictures, depth
cached; and what each part of that takes.

Run on a quiet machine: python benchmarks/bench_widgets.py. "processor" is the time that all threads together were computing:
on a machine shared with others it says more than the clock does.
"""

from __future__ import annotations

import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import cv2
import torch
from PIL import Image
from torch.nn import functional as F

from inpaintkit.data import read_picture
from inpaintkit.depth import create_depth_model
from inpaintkit.notebook import MaskPreview
from inpaintkit.notebook.widgets import parts
from inpaintkit.synthesis import (
    HOLE_METHODS,
    close_hole,
    dilate_edge,
    forward_warp,
    prepare_depth,
    preview,
    split_ramps,
    warp_back_hole,
)
from inpaintkit.synthesis import hidden_hole as find_hidden
from inpaintkit.synthesis.preview import _painted, colour_depth
from inpaintkit.synthesis.warp import seen_from_left

PHOTO = Path(__file__).parents[1] / "data" / "samples" / "train" / "bird_lamp.jpg"
WIDTH, HEIGHT = 1920, 1080
MOVES = 15
GOAL_MS = 150
DIVERGENCE, CONVERGENCE = 4.0, 0.5
MAPPERS = ("mul_1", "mul_2", "mul_3", "inv_mul_1", "inv_mul_2", "inv_mul_3", "div_6", "div_4", "softplus", "pow2")


def measured(action: Callable[[int], object], times: int = MOVES) -> str:
    """Return median and slowest by the clock, and the median of all threads' time, in ms, as cells of a table."""
    clock, work = [], []
    for move in range(times + 1):
        started, busy = time.perf_counter(), time.process_time()
        action(move)
        clock.append(1000 * (time.perf_counter() - started))
        work.append(1000 * (time.process_time() - busy))
    return f"{statistics.median(clock[1:]):.0f} | {max(clock[1:]):.0f} | {statistics.median(work[1:]):.0f}"


def print_moves(widget: MaskPreview) -> None:
    """Print how long the widget takes to answer each kind of move."""
    controls = {control.description: control for control in widget.widget().children[0].children}

    def move(name: str, value: object) -> None:
        controls[name].value = value

    print("| moved | hole method | eye | median (ms) | slowest (ms) | processor (ms) |")
    print("| --- | --- | --- | ---: | ---: | ---: |")
    for method in HOLE_METHODS:
        for eye in ("left", "right"):
            controls["hole method"].value, controls["eye"].value = method, eye
            row = measured(lambda step: move("divergence %", 1.0 + 0.5 * step))
            print(f"| divergence | {method} | {eye} | {row} |", flush=True)
    controls["hole method"].value, controls["eye"].value = "occlusion", "left"
    row = measured(lambda step: move("mapper", MAPPERS[step]), len(MAPPERS) - 1)
    print(f"| mapper, not seen before | occlusion | left | {row} |")
    row = measured(lambda step: move("edge dilation", step), 4)
    print(f"| edge dilation, one more round | occlusion | left | {row} |")


def print_parts(widget: MaskPreview, photo: Path) -> None:
    """Print what the parts of an answer take."""
    name = widget.depth_model.name
    loaded, ready = widget._load(photo, name), widget._ready(photo, name, "left", "none", 0)
    small = loaded.small
    near = F.interpolate(ready, small.shape[:2], mode="nearest")
    hole = find_hidden(ready, DIVERGENCE, CONVERGENCE)
    shown = preview(small, ready, DIVERGENCE, CONVERGENCE, size=loaded.size)
    frames = (shown.depth, shown.view, shown.hole_overlay)
    steps: dict[str, Callable[[], object]] = {
        "grow edges, one round (kept)": lambda: dilate_edge(loaded.depth, 1),
        "map depth, picture's size (kept)": lambda: prepare_depth(loaded.depth, "mul_2", 0, loaded.size),
        "hole: occlusion": lambda: find_hidden(ready, DIVERGENCE, CONVERGENCE),
        "hole: ramps made steps": lambda: split_ramps(ready),
        "hole: warp back": lambda: warp_back_hole(ready, DIVERGENCE, CONVERGENCE),
        "hole: closing": lambda: close_hole(hole),
        "depth in colours": lambda: colour_depth(near[0, 0]),
        "view, where from": lambda: seen_from_left(near, DIVERGENCE, CONVERGENCE),
        "paint the hole": lambda: _painted(small, hole[0, 0].numpy()),
        "encode": lambda: [parts.encoded([frame]) for frame in frames],
        "for comparison: forward warp of one channel": lambda: forward_warp(
            ready, ready, DIVERGENCE, CONVERGENCE, "left"
        ),
    }
    print("\n| part | median (ms) | slowest (ms) | processor (ms) |\n| --- | ---: | ---: | ---: |")
    for part, step in steps.items():
        print(f"| {part} | {measured(lambda _, step=step: step())} |", flush=True)  # type: ignore[misc]


def main() -> None:
    with tempfile.TemporaryDirectory() as folder:
        photo = Path(folder) / "photo.png"
        pixels = cv2.resize(read_picture(PHOTO, HEIGHT), (WIDTH, HEIGHT), interpolation=cv2.INTER_AREA)
        Image.fromarray(pixels).save(photo)
        widget = MaskPreview([photo], create_depth_model("FastDepth"))
        print(f"{WIDTH}x{HEIGHT} px, {torch.get_num_threads()} threads, goal {GOAL_MS} ms\n")
        print_moves(widget)
        print_parts(widget, photo)


if __name__ == "__main__":
    main()
