"""Measure speed and memory of generating and feeding records: ``python benchmarks/bench_generate.py``, six minutes.

Run it on an idle machine with two cores or more; ``--pictures 10`` is the short version. Pictures are JPEG files of
1620 x 1080 px, each cut from another place of a shipped photo and every second one mirrored, so that no two are equal;
views are always 1080 px high. A *view* is a picture or its mirror image: reading, resizing, one hole, two crops, four
PNG files. *records* are the pairs that are kept. Generating only uses threads, so one process shows all processor time
and memory; each row runs in a process of its own, and memory is its peak since the imports.
"""

from __future__ import annotations

import argparse
import io
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from unittest.mock import patch

import av
import cv2
import numpy as np
import torch
from memory import peak_mib, reset_peak
from PIL import Image, ImageOps
from torch import Tensor, nn

from inpaintkit.config import GenerateConfig
from inpaintkit.data import InpaintDataset, generate
from inpaintkit.data import records as records_module
from inpaintkit.data.colours import change_colours, draw_jitter
from inpaintkit.data.frame_choice import choose_frames
from inpaintkit.data.generate import pipeline
from inpaintkit.data.hole_changes import grow_hole
from inpaintkit.data.packed import read_record
from inpaintkit.data.picture_depth import as_batch
from inpaintkit.data.records import IMAGES_PER_VIEW
from inpaintkit.data.sampling import best_crop, crop_candidates
from inpaintkit.data.video import frame_picture, survey
from inpaintkit.data.video_readers import VideoReaders
from inpaintkit.depth import DEPTH_MODELS, create_depth_model
from inpaintkit.depth.network_model import NetworkDepthModel
from inpaintkit.seeds import numpy_rng

SAMPLES = Path(__file__).parents[1] / "data" / "samples"
WIDTH, HEIGHT = 1620, 1080
ROOM = 1.1  # a photo is scaled to this many times the picture cut from it
MAP_SHARE = 2  # a depth map has 1/2 of the picture's side
JPEG_QUALITY = 90
NETWORK_PICTURES, NETWORK_SECONDS = 20, 0.5
MOST = {"File": 10**9, "FastDepth": 100}  # pictures in a row of the table with two workers ...
MOST_ALONE = {"File": 100, "FastDepth": 10}  # ... and with one


def cut_pictures(count: int) -> Iterator[tuple[Image.Image, Image.Image]]:
    """Yield `count` different pictures, cut from the shipped photos, with their depth as 8-bit maps."""
    photos = [photo_with_depth(path) for path in sorted(SAMPLES.glob("*/*.jpg"))]
    for number in range(count):
        pair, rng = photos[number % len(photos)], numpy_rng("bench", number)
        left, top = (
            int(rng.integers(0, side - wanted + 1)) for side, wanted in zip(pair[0].size, (WIDTH, HEIGHT), strict=True)
        )
        picture, depth = (image.crop((left, top, left + WIDTH, top + HEIGHT)) for image in pair)
        depth = depth.reduce(MAP_SHARE)
        yield (ImageOps.mirror(picture), ImageOps.mirror(depth)) if number % 2 else (picture, depth)


def photo_with_depth(path: Path) -> tuple[Image.Image, Image.Image]:
    with Image.open(path) as image:
        photo = ImageOps.fit(image.convert("RGB"), (round(WIDTH * ROOM), round(HEIGHT * ROOM)))
    depth = create_depth_model("FastDepth").infer(as_batch(np.asarray(photo)))
    return photo, Image.fromarray((depth[0, 0].numpy() * 255).astype(np.uint8)).resize(photo.size)


def write_pictures(folder: Path, count: int) -> None:
    (folder / "eval").mkdir(parents=True)
    for number, (picture, depth) in enumerate(cut_pictures(count)):
        picture.save(folder / "eval" / f"{number:05d}.jpg", quality=JPEG_QUALITY)
        depth.save(folder / "eval" / f"{number:05d}_depth.png", compress_level=1)


def config_of(pictures: Path, output: Path, count: int, model: str, workers: int) -> GenerateConfig:
    """Return a job over the first `count` pictures, which are linked into a folder of their own."""
    (output / "in" / "eval").mkdir(parents=True)
    for path in sorted((pictures / "eval").iterdir()):
        if int(path.name[:5]) < count:
            (output / "in" / "eval" / path.name).symlink_to(path)
    return GenerateConfig(
        dataset_dir=str(output / "in"), output_dir=str(output / "out"), prefix="bench", model_type=model, workers=workers,
        eval_only=True, device="cpu", depth_cache_gb=0.0,
    )  # fmt: skip


def bench_throughput(root: Path, pictures: Path, counts: list[int]) -> None:
    titles = {"File": "Depth from map files: no depth network", "FastDepth": "With FastDepth on the same cores"}
    for model, title in titles.items():
        print(f"\n{title}:\n\n| pictures | workers | records | records/s | views/s | processor | peak memory (MiB) |")
        print("| ---: | ---: | ---: | ---: | ---: | ---: | ---: |")
        rows = [(count, workers) for count in counts for workers in (1, 2) if fits(model, count, workers)]
        for count, workers in rows:
            output = root / f"{model}{count}_{workers}"
            what = [str(pictures), str(output), str(count), model, str(workers)]
            command = [sys.executable, __file__, "--child", *what]
            print(subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip(), flush=True)
            if (model, count, workers) != ("File", counts[0], 2):  # that one is needed by the tables below
                shutil.rmtree(output)


def fits(model: str, count: int, workers: int) -> bool:
    """Return True if a row is short enough for six minutes in all."""
    return count <= MOST[model] and (workers == 2 or count <= MOST_ALONE[model])


def child(pictures: str, output: str, count: str, model: str, workers: str) -> None:
    """Print one row of a throughput table."""
    records_module.SHORT_SIDES = (HEIGHT,)  # type: ignore[assignment]
    config = config_of(Path(pictures), Path(output), int(count), model, int(workers))
    reset_peak()
    cpu, start = time.process_time(), time.perf_counter()
    report = generate.generate_dataset(config)
    seconds = time.perf_counter() - start
    share = (time.process_time() - cpu) / seconds
    views = report.pictures * IMAGES_PER_VIEW / seconds
    speed = f"{report.records} | {report.records / seconds:.1f} | {views:.1f}"
    print(f"| {count} | {workers} | {speed} | {share:.0%} | {peak_mib():.0f} |")


class Sleeper(nn.Module):
    """A depth network that takes bright for near and only sleeps: it takes time but no processor, like one on a GPU."""

    def __init__(self) -> None:
        super().__init__()
        self.bias = nn.Parameter(torch.zeros(()))

    def forward(self, pictures: Tensor) -> Tensor:
        time.sleep(NETWORK_SECONDS)
        return pictures.mean(1) + self.bias


class TimedModel(NetworkDepthModel):
    """Depth model around a `Sleeper`; `seconds` is the total time spent in `infer`."""

    seconds = 0.0

    def __init__(self) -> None:
        super().__init__("Any_B", DEPTH_MODELS["Any_B"], Sleeper(), "cpu", None)
        self.seconds = 0.0  # where bf16 is fast, building the model has already called `infer`

    def infer(self, pictures: Tensor) -> Tensor:
        start = time.perf_counter()
        depth = super().infer(pictures)
        self.seconds += time.perf_counter() - start
        return depth


def bench_network(root: Path, pictures: Path) -> None:
    """Print how long generating takes with a depth network slower than the workers: it should hardly wait for them."""
    print(f"\nA depth network that only sleeps, {NETWORK_SECONDS} s for each of {NETWORK_PICTURES} pictures:\n")
    print("| workers | network asked for (s) | whole run (s) | times as long | processor |")
    print("| ---: | ---: | ---: | ---: | ---: |")
    for workers in (0, 1, 2):
        model = TimedModel()
        config = config_of(pictures, root / f"network{workers}", NETWORK_PICTURES, "Any_B", workers)
        sides = patch.object(records_module, "SHORT_SIDES", (HEIGHT,))
        with sides, patch.object(pipeline, "depth_model", return_value=model):
            cpu, start = time.process_time(), time.perf_counter()
            generate.generate_dataset(config)
            seconds, cpu = time.perf_counter() - start, time.process_time() - cpu
        ratio = f"{seconds / model.seconds:.2f} | {cpu / seconds:.0%}"
        print(f"| {workers} | {model.seconds:.1f} | {seconds:.1f} | {ratio} |", flush=True)


def bench_survey(root: Path, seconds: int = 10, rate: int = 24) -> None:
    """Print how long it takes to choose the frames of a 1080p video, and to read one chosen frame."""
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
    print(
        f"\n1080p H.264, {seconds} s: surveyed at {seconds * rate / surveyed:.0f} frames/s, {peak_mib():.0f} MiB peak;"
    )
    print(f"{len(chosen)} chosen frames read in {reading * 1e3:.0f} ms each")


def milliseconds(work: Callable[[], object], times: int = 200) -> float:
    work()
    start = time.perf_counter()
    for _ in range(times):
        work()
    return (time.perf_counter() - start) / times * 1e3


def bench_png(folder: Path) -> None:
    crops = []
    for path in sorted(folder.glob("*_C.png"))[:8]:
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
    data = InpaintDataset(folder, training=True)
    built, start = time.perf_counter() - start, time.perf_counter()
    InpaintDataset(folder, training=True)
    opened = time.perf_counter() - start
    records, packed = len(data), data.packed
    assert packed is not None
    pixels, rng = packed.read(0), numpy_rng(0)
    hole = pixels[3] > 0
    picture = cv2.merge(list(data._cut(pixels, hole, 50, 50, data.crop_size)[0]))
    count = iter(range(10**9))
    print(
        f"\npack of {records} records: built in {built * 1e3 / records:.1f} ms per record, opened in {opened * 1e3:.1f} ms"
    )
    print("\n| step of a sample | ms |\n|---|---|")
    steps: dict[str, Callable[[], object]] = {
        "PNG files instead of the pack": lambda: read_record(*data._pairs[next(count) % records]),
        "from the pack, cut, no augmentation": lambda: data._cut(
            p := packed.read(next(count) % records), p[3] > 0, 50, 50, data.crop_size
        ),
        "grow the hole by 10 px": lambda: grow_hole(hole, left=0, right=10),
        "best crop of 4": lambda: best_crop(hole, crop_candidates(*hole.shape, 256, rng), 256),
        "colour jitter (one sample of 4)": lambda: change_colours(picture, draw_jitter(rng)),
        "whole training sample": lambda: data[(next(count) % records, 0, next(count))],
    }
    for name, work in steps.items():
        print(f"| {name} | {milliseconds(work):.3f} |")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "--pictures", type=int, nargs="+", default=[10, 100, 1000], help="rows of the table of throughput"
    )
    parser.add_argument("--child", nargs=5, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.child:
        child(*arguments.child)
        return
    root = Path(tempfile.mkdtemp())
    try:
        print(f"Python {sys.version.split()[0]}, torch {torch.__version__}, {torch.get_num_threads()} threads")
        write_pictures(root / "pictures", max(*arguments.pictures, NETWORK_PICTURES))
        bench_throughput(root, root / "pictures", arguments.pictures)
        bench_network(root, root / "pictures")
        bench_survey(root)
        records = root / f"File{arguments.pictures[0]}_2" / "out" / "eval"
        bench_png(records)
        bench_samples(records)
    finally:
        shutil.rmtree(root)


if __name__ == "__main__":
    main()
