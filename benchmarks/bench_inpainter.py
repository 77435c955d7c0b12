"""Compare `Inpainter` with the generator on the whole frame, in speed and results, and measure what the network costs.

    python benchmarks/bench_inpainter.py [CHECKPOINT] [--sizes 720 1080 2160] [--device cpu] [--threads N]

Without a checkpoint, weights are random and only times make sense. Times are the best of some runs, taken in turns; on
a machine with other work to do, trust the CPU seconds. Memory is measured in a process of its own.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import torch
from memory import peak_mib, reset_peak
from torch import Tensor
from torch.nn import functional as F
from torch.utils.flop_counter import FlopCounterMode

from inpaintkit.data import read_picture
from inpaintkit.depth import create_depth_model
from inpaintkit.inspection import Inpainter
from inpaintkit.model import LightInpaintV1, load_model
from inpaintkit.seeds import numpy_rng, torch_rng
from inpaintkit.synthesis import close_hole, resize_depth, warp_back_hole

PHOTOS = Path(__file__).parent.parent / "data" / "samples"
LONG_SIDE = 16 / 9
RUNS = 3
LARGE_HEIGHT = 1440
"""From this height on, one run of the two cases most like real pictures is enough."""
EIGHT_K = 4320
DIVERGENCE = 4.0
REACHES = (32, 48, 64, 80, 96)


def photo(name: str, height: int) -> Tensor:
    """Return a shipped photo as (1, 3, height, 16/9 height)."""
    picture = torch.tensor(read_picture(PHOTOS / name)).permute(2, 0, 1)[None] / 255
    return F.interpolate(picture, (height, round(height * LONG_SIDE)), mode="bilinear", antialias=True)


def scattered_strips(picture: Tensor) -> Tensor:
    """Return a hole of 36 upright strips anywhere, 1.5 % of a 1080p picture: the least favourable case."""
    height, width = picture.shape[-2:]
    rng, unit = numpy_rng("scattered"), height / 1080
    hole = torch.zeros(1, 1, height, width, dtype=torch.bool)
    for _ in range(36):
        top, left = int(rng.integers(height)), int(rng.integers(width))
        hole[..., top : top + round(72 * unit), left : left + round(12 * unit)] = True
    return hole


def contour_strips(picture: Tensor) -> Tensor:
    """Return a hole of 36 strips along the sides of six objects, 1.5 % of a 1080p picture."""
    height, width = picture.shape[-2:]
    rng, unit = numpy_rng("contours"), height / 1080
    hole = torch.zeros(1, 1, height, width, dtype=torch.bool)
    for left, top in zip(rng.integers(50, 1800, 6) * unit, rng.integers(0, 380, 6) * unit, strict=True):
        y, x = int(top), float(left)
        for slope in rng.uniform(-0.6, 0.6, 6):
            for _ in range(round(108 * unit)):
                x, y = min(max(x + slope, 0.0), width - 1.0), y + 1
                hole[..., y : y + 1, int(x) : int(x) + round(8 * unit)] = True
            y += round(10 * unit)
    return hole


def depth_hole(picture: Tensor) -> Tensor:
    """Return the warp-back hole of the photo itself."""
    depth = resize_depth(create_depth_model("FastDepth").infer(picture), (picture.shape[-2], picture.shape[-1]))
    return close_hole(warp_back_hole(depth, DIVERGENCE, 0.5))


def cases(height: int) -> Iterator[tuple[str, Tensor, Tensor]]:
    meadow = photo("eval/dandelions.jpg", height)
    yield "36 strips on contours", meadow, contour_strips(meadow)
    yield "36 strips scattered", meadow, scattered_strips(meadow)
    for name in ("train/sunset_hill.jpg", "train/fig_bowl.jpg"):
        picture = photo(name, height)
        yield f"warp-back, {Path(name).stem}", picture, depth_hole(picture)


def best_of(works: list[Callable[[], Tensor]], device: str, runs: int = RUNS) -> list[tuple[float, float]]:
    """Return the (wall, CPU) seconds of each of `works`: the best of `runs`, taken in turns after one to warm up."""
    best = [(float("inf"), float("inf"))] * len(works)
    for run in range(runs + 1):
        for index, work in enumerate(works):
            wall, cpu = time.perf_counter(), time.process_time()
            work()
            if device.startswith("cuda"):
                torch.cuda.synchronize()
            took = (time.perf_counter() - wall, time.process_time() - cpu)
            if run:
                best[index] = (min(best[index][0], took[0]), min(best[index][1], took[1]))
    return best


def print_times(fill: Inpainter, sizes: list[int]) -> None:
    """Print the times of the whole frame and of windows for every size, in fp32 and in bf16."""
    print("| size | arithmetic | hole | % | whole frame: wall, CPU (s) | windows: wall, CPU (s) | faster: wall, CPU |")
    print("| --- | --- | --- | ---: | ---: | ---: | ---: |", flush=True)
    kind = torch.device(fill.device).type
    for height, half in [(height, half) for half in (False, True) for height in sizes]:
        large = height >= LARGE_HEIGHT
        for name, picture, hole in list(cases(height))[:: 2 if large else 1]:
            x, gap = picture.to(fill.device), hole.to(fill.device)
            works = [lambda x=x, gap=gap: fill.model.infer(x, gap, closing=True), lambda x=x, gap=gap: fill(x, gap)]
            with torch.autocast(kind, torch.bfloat16, enabled=half):
                (whole, whole_cpu), (tiles, tiles_cpu) = best_of(works, fill.device, 1 if large else RUNS)
            share = f"{float(hole.float().mean()):.2%} | {whole:.2f}, {whole_cpu:.2f} | {tiles:.2f}, {tiles_cpu:.2f}"
            faster = f"{whole / tiles:.1f}x, {whole_cpu / tiles_cpu:.1f}x"
            print(f"| {height}p | {'bf16' if half else 'fp32'} | {name} | {share} | {faster} |", flush=True)


def print_costs(fill: Inpainter) -> None:
    """Print the number of parameters, the operations per frame and the memory at 8K."""
    picture = torch.zeros(1, 3, 1080, 1920, device=fill.device)
    with FlopCounterMode(display=False) as counter:
        fill.model.infer(picture, picture[:, :1] > 0)
    parameters = sum(parameter.numel() for parameter in fill.model.parameters())
    operations = counter.get_total_flops() / 1e9
    command = [sys.executable, __file__, "--memory"]
    peak = int(subprocess.run(command, check=True, capture_output=True, text=True).stdout)
    print("\n| what | |\n| --- | ---: |")
    print(f"| parameters | {parameters:,} |")
    print(f"| whole 1080p frame | {operations:.0f} GFLOP (a multiply-add is two) |")
    print(f"| 8K (7680x4320), fp32, CPU, windows: memory beside the picture itself | {peak} MiB |")


def print_reaches(fill: Inpainter, height: int) -> None:
    """Print the largest differences from the whole frame by reach; this only makes sense with trained weights."""
    print("\nLargest difference to the whole frame inside holes, in 1/255, by how far the encoder computes:\n")
    print(f"| hole | {' | '.join(f'{reach} px' for reach in REACHES)} |\n| --- |{' ---: |' * len(REACHES)}")
    usual = fill.reach
    for name, picture, hole in cases(height):
        x, gap = picture.to(fill.device), hole.to(fill.device)
        whole_frame, cells = fill.model.infer(x, gap, closing=True), []
        for reach in REACHES:
            fill.reach = reach
            cells.append(f"{255 * float(((fill(x, gap) - whole_frame) * gap).abs().max()):.2f}")
        print(f"| {name} | {' | '.join(cells)} |", flush=True)
    fill.reach = usual


def print_peak_memory() -> None:
    """Print how many MiB filling an 8K picture needs beyond the memory held with the picture alone."""
    fill = Inpainter(LightInpaintV1(torch_rng("bench"), grey_start=True))
    picture = torch.rand(1, 3, EIGHT_K, round(EIGHT_K * LONG_SIDE), generator=torch_rng("8k"))
    hole = contour_strips(picture)
    before = reset_peak()
    fill(picture, hole)
    print(round(peak_mib() - before))


@torch.inference_mode()
def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("checkpoint", nargs="?", type=Path)
    parser.add_argument("--sizes", nargs="+", type=int, default=[720, 1080, 2160], help="heights of 16:9 pictures, px")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument("--memory", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    if options.memory:
        print_peak_memory()
        return
    model = (
        load_model(options.checkpoint)[0] if options.checkpoint else LightInpaintV1(torch_rng("bench"), grey_start=True)
    )
    fill = Inpainter(model, options.device)
    print_times(fill, options.sizes)
    print_costs(fill)
    if options.checkpoint is not None:
        print_reaches(fill, options.sizes[0])


if __name__ == "__main__":
    main()
