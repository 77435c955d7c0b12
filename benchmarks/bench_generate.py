"""Speed of generating and feeding records, as tables: ``python benchmarks/bench_generate.py [--repeats N]``.

Run it on an idle machine. "Depth from memory" leaves the depth network out: a first run fills the memory.
"""

from __future__ import annotations

import argparse
import io
import resource
import shutil
import sys
import tempfile
import time
import zlib
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from PIL import Image

from inpaintkit.config import GenerateConfig
from inpaintkit.data import InpaintDataset, generate
from inpaintkit.data.dataset import grow_hole, jitter_colours
from inpaintkit.data.packed import read_record
from inpaintkit.data.sampling import hard_random_crop
from inpaintkit.depth import create_depth_model
from inpaintkit.seeds import numpy_rng

SAMPLES = Path(__file__).parents[1] / "data" / "samples"


class RememberedDepth:
    """FastDepth that answers from memory where it saw a picture before."""

    name, metric = "FastDepth", False

    def __init__(self) -> None:
        self.model = create_depth_model("FastDepth", "cpu", None)
        self.version, self.resolution = self.model.version, self.model.resolution
        self.seen: dict[int, torch.Tensor] = {}

    def infer(self, pictures: torch.Tensor) -> torch.Tensor:
        key = zlib.crc32(pictures[..., ::64].numpy().tobytes())
        if key not in self.seen:
            self.seen[key] = self.model.infer(pictures)
        return self.seen[key]


def run(folder: Path, workers: int, repeats: int, model: object | None) -> tuple[float, int, float]:
    """Return records per second, records and CPU use (1 = one core) of one run over the shipped photos."""
    config = GenerateConfig(
        dataset_dir=str(SAMPLES), output_dir=str(folder), prefix="bench", workers=workers, repeats=repeats, device="cpu"
    )
    original = generate.create_depth_model
    if model is not None:
        generate.create_depth_model = lambda *_: model  # type: ignore[assignment, return-value]
    try:
        cpu = time.process_time()
        report = generate.generate_dataset(config)
    finally:
        generate.create_depth_model = original
    return report.records / report.seconds, report.records, (time.process_time() - cpu) / report.seconds


def bench_generation(root: Path, repeats: int) -> None:
    memory = RememberedDepth()
    run(root / "fill", 2, repeats, memory)
    print("\n| depth | workers | records | records/s | cores used | peak memory (MiB) |\n|---|---|---|---|---|---|")
    for label, model in (("from memory", memory), ("FastDepth", None)):
        for workers in (0, 1, 2, 4):
            folder = root / f"{label}{workers}"
            speed, records, cores = run(folder, workers, repeats, model)
            peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024
            print(f"| {label} | {workers} | {records} | {speed:.2f} | {cores:.2f} | {peak} |", flush=True)


def milliseconds(work: Callable[[], object], times: int = 200) -> float:
    work()
    start = time.perf_counter()
    for _ in range(times):
        work()
    return (time.perf_counter() - start) / times * 1e3


def bench_png(folder: Path) -> None:
    crops = []
    for path in sorted((folder / "train").glob("*_C.png"))[:8]:
        with Image.open(path) as image:
            crops.append(image.copy())
    print("\n| PNG level | matching | ms per crop | KiB per crop |\n|---|---|---|---|")
    for level in (1, 3, 6):
        for matching, name in ((0, "default"), (2, "Huffman only"), (3, "run length")):
            sizes, start = [], time.perf_counter()
            for crop in crops:
                buffer = io.BytesIO()
                crop.save(buffer, "PNG", compress_level=level, compress_type=matching)
                sizes.append(buffer.tell())
            elapsed = (time.perf_counter() - start) / len(crops) * 1e3
            print(f"| {level} | {name} | {elapsed:.1f} | {np.mean(sizes) / 1024:.0f} |")


def bench_samples(folder: Path) -> None:
    start = time.perf_counter()
    data = InpaintDataset(folder / "train", training=True)
    built, start = time.perf_counter() - start, time.perf_counter()
    InpaintDataset(folder / "train", training=True)
    opened = time.perf_counter() - start
    records, packed = len(data), data._packed
    assert packed is not None
    pixels, rng = packed[0], numpy_rng(0)
    hole = pixels[3] > 0
    tensor, picture = torch.from_numpy(hole)[None], data._cut(pixels, hole, 50, 50)[0]
    count = iter(range(10**9))
    print(
        f"\npack of {records} records: built in {built * 1e3 / records:.1f} ms per record, opened in {opened * 1e3:.1f} ms"
    )
    print("\n| step of a sample | ms |\n|---|---|")
    steps: dict[str, Callable[[], object]] = {
        "PNG files instead of the pack": lambda: read_record(*data._pairs[next(count) % records]),
        "from the pack, cut, no augmentation": lambda: data._cut(p := packed[next(count) % records], p[3] > 0, 50, 50),
        "grow the hole by 10 px": lambda: grow_hole(hole, 10, 0),
        "best crop of 4": lambda: hard_random_crop(tensor, 256, rng),
        "colour jitter (one sample of 4)": lambda: jitter_colours(picture, rng),
        "whole training sample": lambda: data[(next(count) % records, 0, next(count))],
    }
    for name, work in steps.items():
        print(f"| {name} | {milliseconds(work):.3f} |")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--repeats", type=int, default=2, help="passes over the 14 photos")
    arguments = parser.parse_args()
    root = Path(tempfile.mkdtemp())
    try:
        print(f"Python {sys.version.split()[0]}, torch {torch.__version__}, {torch.get_num_threads()} threads")
        bench_generation(root, arguments.repeats)
        bench_png(root / "FastDepth2")
        bench_samples(root / "FastDepth2")
    finally:
        shutil.rmtree(root)


if __name__ == "__main__":
    main()
