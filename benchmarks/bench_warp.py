"""Measure time and memory of the hole methods, closing included, as a Markdown table.

Usage: ``python benchmarks/bench_warp.py [--device cuda] [--repeats N]``.

Depth maps are random layers with soft slopes. "processor" is the computing time of all threads together; on a shared
machine it is more reliable than clock time.
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable

import torch
from torch import Tensor
from torch.nn import functional as F
from torch.profiler import ProfilerActivity, profile

from inpaintkit.config import HOLE_METHODS
from inpaintkit.seeds import torch_rng
from inpaintkit.synthesis import find_hole

DIVERGENCE = 4.0
CONVERGENCE = 0.5
SIZES = [(540, 810), (1080, 810), (1080, 1620), (2160, 1620), (2160, 3240)]
LAYERS = 12

FindHole = Callable[[Tensor], Tensor]


def layered_depth(height: int, width: int) -> Tensor:
    """Return depth (1, 1, H, W): slanted rectangles of random place, size and depth, nearer ones on top."""
    rng = torch_rng("bench_warp", height, width)
    y, x = torch.meshgrid(torch.linspace(0, 1, height), torch.linspace(0, 1, width), indexing="ij")
    depth = 0.2 * y
    for layer in range(LAYERS):
        left, top, wide, high, slope = torch.rand(5, generator=rng).tolist()
        inside = (x > left) & (x < left + wide / 3) & (y > top) & (y < top + high / 2)
        depth = torch.where(inside, (layer + 1) / (LAYERS + 1) + 0.05 * slope * (x - left), depth)
    soft = F.avg_pool2d(depth[None, None], 3, stride=1, padding=1, count_include_pad=False)
    return soft.clamp(0, 1)


def measure(find_hole: FindHole, depth: Tensor, repeats: int) -> tuple[list[float], list[float]]:
    """Return the clock seconds and all threads' processor seconds of each run; the first run doesn't count."""
    clock, work = [], []
    for _ in range(repeats + 1):
        started, busy = time.perf_counter(), time.process_time()
        find_hole(depth)
        if depth.is_cuda:
            torch.cuda.synchronize()
        clock.append(time.perf_counter() - started)
        work.append(time.process_time() - busy)
    return clock[1:], work[1:]


def peak_bytes(find_hole: FindHole, depth: Tensor) -> int:
    """Return the largest number of bytes held at one time beyond the input, with one thread on the CPU."""
    if depth.is_cuda:
        torch.cuda.reset_peak_memory_stats()
        before = torch.cuda.memory_allocated()
        find_hole(depth)
        return torch.cuda.max_memory_allocated() - before
    threads = torch.get_num_threads()
    torch.set_num_threads(1)  # the profiler only sees its own thread; each further one adds a block of rows
    with profile(activities=[ProfilerActivity.CPU], profile_memory=True) as log:
        find_hole(depth)
    torch.set_num_threads(threads)
    held = peak = 0
    for event in log.profiler.kineto_results.events():
        if event.name() == "[memory]":
            held += event.nbytes()
            peak = max(peak, held)
    return peak


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--repeats", type=int, default=15)
    options = parser.parse_args()
    print(f"torch {torch.__version__}, {options.device}, {torch.get_num_threads()} threads\n")
    print("| method | pixels | size | fastest | median | processor | ns per pixel | extra bytes per pixel | hole |")
    print("| --- | --- | --- | --- | --- | --- | --- | --- | --- |")
    for name in HOLE_METHODS:
        for height, width in SIZES:
            print_row(name, lambda depth, m=name: find_hole(m, depth, DIVERGENCE, CONVERGENCE), height, width, options)


def print_row(name: str, find: FindHole, height: int, width: int, options: argparse.Namespace) -> None:
    depth = layered_depth(height, width).to(options.device)
    clock, work = measure(find, depth, options.repeats)
    pixels = depth.numel()
    hole = find(depth).float().mean().item()
    print(
        f"| `{name}` | {pixels // (SIZES[0][0] * SIZES[0][1])}x | {height}x{width} | {min(clock) * 1e3:.1f} ms "
        f"| {statistics.median(clock) * 1e3:.1f} ms | {min(work) * 1e3:.1f} ms | {min(clock) / pixels * 1e9:.0f} "
        f"| {peak_bytes(find, depth) / pixels:.1f} | {hole:.1%} |",
        flush=True,
    )


if __name__ == "__main__":
    main()
