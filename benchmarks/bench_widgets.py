"""How long the mask preview takes to answer a moved slider, from the new value to the encoded pictures, depth cached.

Run on a quiet machine: python benchmarks/bench_widgets.py
"""

from __future__ import annotations

import statistics
import time
from pathlib import Path

import torch

from inpaintkit.depth import create_depth_model
from inpaintkit.notebook import MaskPreview
from inpaintkit.synthesis import HOLE_METHODS

PHOTO = Path(__file__).parents[1] / "data" / "samples" / "train" / "bird_lamp.jpg"
MOVES = 15
GOAL_MS = 150


def main() -> None:
    preview = MaskPreview([PHOTO], create_depth_model("FastDepth"))
    box = preview.widget()
    controls = {control.description: control for control in box.children[0].children}
    shown = preview.compute(PHOTO)
    print(f"{shown.view.shape[1]}x{shown.view.shape[0]} px, {torch.get_num_threads()} threads, goal {GOAL_MS} ms\n")
    print("| hole method | eye | median (ms) | slowest (ms) |\n| --- | --- | ---: | ---: |")
    for method in HOLE_METHODS:
        for eye in ("left", "right"):
            controls["hole method"].value, controls["eye"].value = method, eye
            times = []
            for move in range(MOVES):
                started = time.perf_counter()
                controls["divergence %"].value = 1.0 + 0.5 * move
                times.append(1000 * (time.perf_counter() - started))
            print(f"| {method} | {eye} | {statistics.median(times[1:]):.0f} | {max(times[1:]):.0f} |")


if __name__ == "__main__":
    main()
