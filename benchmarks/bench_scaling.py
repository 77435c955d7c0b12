"""Measure cost against size: time and memory at 1, 2, 4 and 8 times the work, each in a process of its own.

Usage: ``python benchmarks/bench_scaling.py [--device cpu]``. Memory is the peak of the process during the work, minus
what it held before; on a GPU it is the most that torch allocated there.
"""

from __future__ import annotations

import argparse
import json
import math
import subprocess
import sys
import time
from collections.abc import Callable

import torch
from memory import peak_mib, reset_peak

from inpaintkit.inspection import Inpainter
from inpaintkit.model import LightInpaintV1
from inpaintkit.seeds import torch_rng
from inpaintkit.synthesis import close_hole, hidden_hole
from inpaintkit.training import create_loss

FACTORS = (1, 2, 4, 8)
PIXELS = 640 * 480
BATCH = 2
CROP = 128
RUNS = 3
STRIPS = 4  # holes at size 1; their number grows with the size


def picture_size(factor: int) -> tuple[int, int]:
    """Return (H, W), multiples of 8, of a 4:3 picture with `factor` times the pixels."""
    height = math.sqrt(PIXELS * factor * 3 / 4)
    return round(height / 8) * 8, round(height * 4 / 3 / 8) * 8


def hole_of(factor: int) -> torch.Tensor:
    """Return a hole of upright strips that takes the same share of the picture at every factor."""
    height, width = picture_size(factor)
    hole = torch.zeros(1, 1, height, width, dtype=torch.bool)
    places = torch.rand(STRIPS * factor, 2, generator=torch_rng("places", factor))
    for down, across in places.tolist():
        top, left = int(down * (height - 64)), int(across * (width - 12))
        hole[..., top : top + 64, left : left + 12] = True
    return hole


def hole_synthesis(factor: int, device: str) -> Callable[[], object]:
    height, width = picture_size(factor)
    depth = torch.rand(1, 1, height // 16, width // 16, generator=torch_rng("depth")).to(device)
    depth = torch.nn.functional.interpolate(depth, (height, width), mode="bilinear")
    return lambda: close_hole(hidden_hole(depth, 4.0, 0.5))


def whole_frame(factor: int, device: str) -> Callable[[], object]:
    fill, picture, hole = generator(factor, device)
    return lambda: fill.model.infer(picture, hole, closing=True)


def windows(factor: int, device: str) -> Callable[[], object]:
    fill, picture, hole = generator(factor, device)
    return lambda: fill(picture, hole)


def training_step(factor: int, device: str) -> Callable[[], object]:
    model = LightInpaintV1(torch_rng("bench"), grey_start=True).to(device).train()
    loss = create_loss("l1lpips", "alex").to(device)
    optimiser = torch.optim.AdamW(model.parameters(), lr=1e-4)
    x = torch.rand(BATCH * factor, 3, CROP, CROP, generator=torch_rng("samples")).to(device)
    hole = torch.zeros_like(x[:, :1], dtype=torch.bool)
    hole[..., 40:80, 50:62] = True

    def step() -> None:
        optimiser.zero_grad()
        picture, soft = model.preprocess(x, hole)
        margin = model.i2i_offset
        loss(model(picture, soft), x[..., margin:-margin, margin:-margin])[0].backward()
        optimiser.step()

    return step


def generator(factor: int, device: str) -> tuple[Inpainter, torch.Tensor, torch.Tensor]:
    fill = Inpainter(LightInpaintV1(torch_rng("bench"), grey_start=True), device)
    hole = hole_of(factor)
    picture = torch.rand(1, 3, *hole.shape[-2:], generator=torch_rng("picture"))
    return fill, picture.to(device), hole.to(device)


WORKS = {
    "hole with closing": (hole_synthesis, "pixels"),
    "filling, whole frame": (whole_frame, "pixels"),
    "filling, windows": (windows, "pixels and holes"),
    "training step": (training_step, "samples"),
}


def measure(name: str, factor: int, device: str) -> None:
    """Print the seconds and MiB of one kind of work at one size, as JSON."""
    work = WORKS[name][0](factor, device)
    before = reset_peak()
    seconds = []
    with torch.inference_mode(name != "training step"):
        for _ in range(RUNS):
            started = time.perf_counter()
            work()
            if device.startswith("cuda"):
                torch.cuda.synchronize()
            seconds.append(time.perf_counter() - started)
    on_gpu = torch.cuda.max_memory_allocated() / 2**20 if device.startswith("cuda") else 0.0
    print(json.dumps([min(seconds), on_gpu or peak_mib() - before]))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--child", nargs=2, metavar=("WORK", "FACTOR"), help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.child:
        measure(options.child[0], int(options.child[1]), options.device)
        return
    for name, (_, what) in WORKS.items():
        print(f"\n{name}, size = {what}:\n\n| size | seconds | s per size | MiB |\n| --- | ---: | ---: | ---: |")
        for factor in FACTORS:
            command = [sys.executable, __file__, "--device", options.device, "--child", name, str(factor)]
            answer = subprocess.run(command, check=True, capture_output=True, text=True).stdout
            seconds, mib = json.loads(answer.strip().splitlines()[-1])
            print(f"| {factor}x | {seconds:.4f} | {seconds / factor:.4f} | {mib:.0f} |", flush=True)


if __name__ == "__main__":
    main()
