"""Measure the time of depth models per picture, as Markdown tables.

Usage: ``python benchmarks/bench_depth.py [--networks] [--device cuda] [--repeats N]``.

FastDepth runs as shipped; the goal is 0.4 s per 1080p picture on two cores. With ``--networks`` the networks of
*transformers* are built at their published sizes with random weights, which doesn't affect their speed: this needs no
download, but some gigabytes of memory. "processor" is the computing time of all threads together.
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from inpaintkit.arithmetic import bf16_is_fast
from inpaintkit.config import resolve_device
from inpaintkit.depth import DEPTH_MODELS, create_depth_model, sharpen_depth
from inpaintkit.depth.fastdepth import INPUT_SIDE, load_fastdepth
from inpaintkit.depth.network_model import NetworkDepthModel
from inpaintkit.seeds import torch_rng

SIZES = [(720, 1280), (1080, 1920), (2160, 3840)]
PICTURE = (1080, 1920)
# width, heads, layers of the backbone; widths of neck, fusion and head
DEPTH_ANYTHING: dict[str, dict[str, Any]] = {
    "Any_S": {"backbone": (384, 6, 12), "neck": [48, 96, 192, 384], "fusion": 64, "stages": (9, 10, 11, 12)},
    "Any_B": {"backbone": (768, 12, 12), "neck": [96, 192, 384, 768], "fusion": 128, "stages": (9, 10, 11, 12)},
    "Any_L": {"backbone": (1024, 16, 24), "neck": [256, 512, 1024, 1024], "fusion": 256, "stages": (21, 22, 23, 24)},
}


def picture(height: int, width: int) -> Tensor:
    """Return a picture (1, 3, H, W) of random blobs."""
    cells = torch.rand(1, 3, 18, 32, generator=torch_rng("bench_depth"))
    return F.interpolate(cells, (height, width), mode="bicubic").clamp(0, 1)


def seconds(job: Callable[[], object], repeats: int, device: str) -> tuple[float, float]:
    """Return the median of clock seconds and of all threads' processor seconds; the first run doesn't count."""
    clock, work = [], []
    for _ in range(repeats + 1):
        started, busy = time.perf_counter(), time.process_time()
        job()
        if device.startswith("cuda"):
            torch.cuda.synchronize()
        clock.append(time.perf_counter() - started)
        work.append(time.process_time() - busy)
    return statistics.median(clock[1:]), statistics.median(work[1:])


@torch.inference_mode()
def fastdepth_table(device: str, repeats: int) -> None:
    """Print FastDepth's time, in total and by parts."""
    model, network = create_depth_model("FastDepth", device), load_fastdepth().to(device)
    print("\n| FastDepth | clock (s) | processor (s) |\n| --- | ---: | ---: |")
    for height, width in SIZES:
        given = picture(height, width).to(device)
        row = seconds(lambda given=given: model.infer(given), repeats, device)  # type: ignore[misc]
        print(f"| {width}x{height}, map at {model.resolution} px | {row[0]:.3f} | {row[1]:.3f} |")
    small, guide = picture(INPUT_SIDE, INPUT_SIDE).to(device), picture(720, 1280).to(device)
    depth = small[:, :1].contiguous()
    parts = {
        "the network alone, float32": lambda: network(small),
        "sharpening alone": lambda: sharpen_depth(depth, guide),
    }
    for name, job in parts.items():
        row = seconds(job, repeats, device)
        print(f"| {name} | {row[0]:.3f} | {row[1]:.3f} |")


def build(name: str) -> nn.Module:
    """Return the network of `name` at its published size with random weights."""
    import transformers

    if name == "ZoeD_N":
        bins = [{"n_bins": 64, "min_depth": 0.001, "max_depth": 10.0, "name": "nyu"}]
        return transformers.ZoeDepthForDepthEstimation(transformers.ZoeDepthConfig(bin_configurations=bins))
    size = DEPTH_ANYTHING[name]
    width, heads, layers = size["backbone"]
    backbone = transformers.Dinov2Config(
        hidden_size=width, num_attention_heads=heads, num_hidden_layers=layers, image_size=518, patch_size=14,
        out_features=[f"stage{stage}" for stage in size["stages"]], reshape_hidden_states=False,
    )  # fmt: skip
    config = transformers.DepthAnythingConfig(
        backbone_config=backbone, reassemble_hidden_size=width, neck_hidden_sizes=size["neck"],
        fusion_hidden_size=size["fusion"],
    )  # fmt: skip
    return transformers.DepthAnythingForDepthEstimation(config)


def network_table(names: list[str], device: str, repeats: int) -> None:
    """Print the time of the networks `names` for a 1080p picture, each at its own resolution."""
    print(
        f"\n| network at {PICTURE[1]}x{PICTURE[0]} | parameters (M) | short side | arithmetic | clock (s) | processor (s) |"
    )
    print("| --- | ---: | ---: | --- | ---: | ---: |")
    for name in names:
        network = build(name)
        count = sum(weights.numel() for weights in network.parameters()) / 1e6
        model = NetworkDepthModel(name, DEPTH_MODELS[name], network, device, None)
        given = picture(*PICTURE)
        # not `infer`, because random weights may give a flat or wild map; only the computing matters here
        row = seconds(lambda m=model, given=given: m._raw(given.to(m.device)), repeats, device)  # type: ignore[misc]
        arithmetic = str(model.dtype or torch.float32).removeprefix("torch.")
        print(f"| {name} | {count:.0f} | {model.resolution} | {arithmetic} | {row[0]:.2f} | {row[1]:.2f} |", flush=True)


def main() -> None:
    """Print the tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--networks", nargs="*", metavar="NAME", help="without names: Any_S Any_B Any_L ZoeD_N")
    parser.add_argument("--device", default="auto")
    parser.add_argument("--repeats", type=int, default=5)
    options = parser.parse_args()
    device = resolve_device(options.device)
    print(f"{device}, {torch.get_num_threads()} threads, bf16 is {'fast' if bf16_is_fast() else 'slow'} here")
    fastdepth_table(device, options.repeats)
    if options.networks is not None:
        with torch.inference_mode():
            network_table(options.networks or ["Any_S", "Any_B", "Any_L", "ZoeD_N"], device, options.repeats)


if __name__ == "__main__":
    main()
