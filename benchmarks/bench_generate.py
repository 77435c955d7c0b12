"""Speed and memory of generating and feeding records, as tables: ``python benchmarks/bench_generate.py [--pictures 10 100 1000]``.

Run it on an idle machine, with as many torch threads as it has cores, or with OMP_NUM_THREADS=1 to see the workers alone.
"Depth from memory" leaves the depth network out: a first run fills the memory. Pictures are seen at a short side of 720
or 1080 px, one to two, as in a real run; "at 1080 px" takes 1080 px always. The memory table takes a process of
its own for each number of pictures; 1000 of them take some ten minutes.
"""

from __future__ import annotations

import argparse
import io
import resource
import shutil
import subprocess
import sys
import tempfile
import time
import zlib
from collections.abc import Callable
from pathlib import Path

import av
import numpy as np
import torch
from PIL import Image

from inpaintkit.config import GenerateConfig
from inpaintkit.data import InpaintDataset, generate
from inpaintkit.data import records as records_module
from inpaintkit.data.dataset import grow_hole, jitter_colours
from inpaintkit.data.frame_choice import choose_frames
from inpaintkit.data.packed import read_record
from inpaintkit.data.sampling import hard_random_crop
from inpaintkit.data.video import VideoReaders, frame_picture, survey
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


def run(folder: Path, workers: int, repeats: int, model: object | None) -> tuple[float, float, int, float]:
    """Return records and pictures per second, records and CPU use (1 = one core) of one run over the shipped photos."""
    config = GenerateConfig(
        dataset_dir=str(SAMPLES), output_dir=str(folder), prefix="bench", workers=workers, repeats=repeats, device="cpu",
        depth_cache_gb=0.0,
    )  # fmt: skip
    original = generate.depth_model
    if model is not None:
        generate.depth_model = lambda config: model  # type: ignore[assignment, return-value]
    try:
        cpu = time.process_time()
        report = generate.generate_dataset(config)
    finally:
        generate.depth_model = original
    cores = (time.process_time() - cpu) / report.seconds
    return report.records / report.seconds, report.pictures / report.seconds, report.records, cores


def bench_generation(root: Path, repeats: int) -> None:
    print("\n| pictures | depth | workers | records | records/s | pictures/s | cores used |")
    print("|---|---|---|---|---|---|---|")
    sides = records_module.SHORT_SIDES
    for size, drawn in (("as drawn", sides), ("at 1080 px", (1080,))):
        records_module.SHORT_SIDES = drawn  # type: ignore[assignment]
        memory = RememberedDepth()
        run(root / f"fill {size}", 2, repeats, memory)
        for label, model in (("from memory", memory), ("FastDepth", None)):
            for workers in (0, 1, 2, 4):
                speed, pictures, records, cores = run(root / f"{label}{workers} {size}", workers, repeats, model)
                row = f"{records} | {speed:.2f} | {pictures:.2f} | {cores:.2f}"
                print(f"| {size} | {label} | {workers} | {row} |", flush=True)
    records_module.SHORT_SIDES = sides


def bench_memory(root: Path, counts: list[int]) -> None:
    print("\n| pictures | records | records/s | peak memory (MiB) | of it before the run |\n|---|---|---|---|---|")
    for count in counts:
        command = [sys.executable, __file__, "--child", str(count), str(root / f"memory{count}")]
        print(subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip(), flush=True)


def child(count: int, folder: Path) -> None:
    """Print one row of the memory table."""
    photos = sorted(SAMPLES.glob("*/*.jpg"))
    (folder / "eval").mkdir(parents=True)
    for number in range(count):  # bytes after a JPEG's end change its hash and nothing else
        content = photos[number % len(photos)].read_bytes() + number.to_bytes(4, "little")
        (folder / "eval" / f"{number:05d}.jpg").write_bytes(content)
    config = GenerateConfig(
        dataset_dir=str(folder), output_dir=str(folder / "out"), prefix="bench", eval_only=True, device="cpu",
        size=256, num_samples=1, resolution=224, depth_cache_gb=0.0,
    )  # fmt: skip
    before = peak_mib()
    report = generate.generate_dataset(config)
    speed = report.records / report.seconds
    print(f"| {count} | {report.records} | {speed:.2f} | {peak_mib()} | {before} |")


def peak_mib() -> int:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024


def bench_survey(root: Path, seconds: int = 20, rate: int = 24) -> None:
    """Time the choice of a 1080p video's frames, and the reading of one chosen frame."""
    path = root / "clip.mp4"
    with Image.open(SAMPLES / "train" / "fig_bowl.jpg") as image:
        pixels = np.asarray(image.convert("RGB").resize((2400, 1350)))
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=rate, options={"preset": "veryfast"})
        stream.width, stream.height, stream.pix_fmt = 1920, 1080, "yuv420p"
        for number in range(seconds * rate):
            left, top = number % 480, number % 270
            frame = av.VideoFrame.from_ndarray(
                np.ascontiguousarray(pixels[top : top + 1080, left : left + 1920]), "rgb24"
            )
            container.mux(stream.encode(frame))
        container.mux(stream.encode())
    start = time.perf_counter()
    looks, moments = survey(path, 8.0, 0.0)
    chosen = choose_frames(looks, 2.0, None).taken
    surveyed, readers, start = time.perf_counter() - start, VideoReaders(2), time.perf_counter()
    for index in chosen:
        frame_picture(readers.read(path, moments[index]), 1080)
    reading = (time.perf_counter() - start) / len(chosen)
    print(f"\n1080p H.264, {seconds} s: surveyed at {seconds * rate / surveyed:.0f} frames/s, {peak_mib()} MiB peak;")
    print(f"{len(chosen)} chosen frames read in {reading * 1e3:.0f} ms each")


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
    parser.add_argument("--pictures", type=int, nargs="*", default=[10, 100], help="rows of the memory table")
    parser.add_argument("--child", nargs=2, metavar=("PICTURES", "FOLDER"), help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.child:
        child(int(arguments.child[0]), Path(arguments.child[1]))
        return
    root = Path(tempfile.mkdtemp())
    try:
        print(f"Python {sys.version.split()[0]}, torch {torch.__version__}, {torch.get_num_threads()} threads")
        bench_generation(root, arguments.repeats)
        bench_memory(root, arguments.pictures)
        bench_survey(root)
        bench_png(root / "FastDepth2 as drawn")
        bench_samples(root / "FastDepth2 as drawn")
    finally:
        shutil.rmtree(root)


if __name__ == "__main__":
    main()
