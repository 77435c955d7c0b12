"""Compare each hole method with the exact disocclusion of layered scenes, as Markdown tables.

Usage: ``python benchmarks/bench_holes.py [--scenes N]``. With ``--figures docs/images`` it draws the pictures of
docs/hole_synthesis.md instead, with ``--photos`` it prints that page's table of the shipped photos.

Scenes are drawn from fixed seeds, with noise textures (holes don't depend on them). A border as wide as the largest
disparity isn't judged: things outside the picture hide pixels there, which no method can know.
"""

from __future__ import annotations

import argparse
import math
from collections import defaultdict
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from inpaintkit.config import HOLE_METHODS
from inpaintkit.data.images import read_picture
from inpaintkit.depth import create_depth_model
from inpaintkit.inspection.holes import stray_pixels
from inpaintkit.seeds import numpy_rng
from inpaintkit.synthesis import colour_depth, degrade_depth, draw_scene, find_hole, preview
from inpaintkit.synthesis.occlusion import edge_width

SIZE = (360, 540)
DIVERGENCES = (2.0, 4.0, 8.0)
CONVERGENCE = 0.5
DEPTHS: dict[str, dict[str, float]] = {
    "exact": {},
    "sharp, false hills": {"hills": 0.1},  # like FastDepth's maps
    "soft, 1.5 px": {"blur": 1.5},
    "soft, 3 px": {"blur": 3.0},
    "3 x smaller map": {"factor": 3.0},  # like Depth Anything's for 1080 lines
    "3 x smaller map, false hills": {"factor": 3.0, "hills": 0.1},
}
HILL = 60  # px, from one false hill to the next
PHOTOS = Path(__file__).parents[1] / "data/samples"
FOUND, MISSED, WRONG = (255, 0, 255), (255, 255, 0), (0, 255, 255)
SPECK = 12  # px, largest component that counts as a speck
PHOTO_DIVERGENCE, PHOTO_SPECK = 2.5, 50
EDGE_REACH, OBJECT_BLUR = 3, 2.5  # px; the blur only leaves the edges of objects

Pixels = NDArray[np.uint8]


@dataclass
class Tally:
    """Sums over scenes, counted in px or in components."""

    both: float = 0.0
    either: float = 0.0
    found: float = 0.0
    exact: float = 0.0
    stray: float = 0.0
    specks: float = 0.0
    pieces: float = 0.0


def pieces(hole: Tensor) -> tuple[int, int]:
    """Return the number of components (8 neighbours) of hole (1, 1, H, W) and how many of them are specks."""
    _, _, stats, _ = cv2.connectedComponentsWithStats(hole[0, 0].numpy().astype(np.uint8))
    areas = stats[1:, cv2.CC_STAT_AREA]
    return len(areas), int((areas <= SPECK).sum())


def estimated(depth: Tensor, hills: float = 0.0, **loss: float) -> Tensor:
    """Return `depth` as an estimator would give it, see `degrade_depth`, with false smooth hills of height `hills`."""
    y, x = (torch.sin(torch.arange(side) * (math.tau / HILL)) for side in depth.shape[-2:])
    return degrade_depth((depth + hills * y[:, None] * x).clamp(0, 1), **loss)


def add(tally: Tally, hole: Tensor, exact: Tensor) -> None:
    """Add the comparison of one scene's hole with its exact one to `tally`."""
    count, specks = pieces(hole)
    tally.both += int((hole & exact).sum())
    tally.either += int((hole | exact).sum())
    tally.found += int(hole.sum())
    tally.exact += int(exact.sum())
    tally.stray += float(stray_pixels(hole, exact))
    tally.specks += specks
    tally.pieces += count - pieces(exact)[0]


def scene_figure() -> Pixels:
    """Return two rows: picture, depth, exact left view; each method's errors on soft depth (colours: see the page)."""
    photos = [
        as_tensor(read_picture(PHOTOS / name, SIZE[0])) for name in ("train/dahlia.jpg", "train/forest_stream.jpg")
    ]
    scene = draw_scene(numpy_rng("figure", 3), SIZE, photos, 5)
    picture, depth = scene.render()
    divergence, pixels = 6.0, as_pixels(picture)
    exact = scene.hidden_from_left(divergence, CONVERGENCE)[0, 0].numpy()
    panes = [pixels, colour_depth(depth[0, 0]), as_pixels(scene.view("left", divergence, CONVERGENCE))]
    for method in HOLE_METHODS:
        hole = find_hole(method, degrade_depth(depth, blur=1.5), divergence, CONVERGENCE)[0, 0].numpy()
        pane = (pixels // 2).copy()
        for where, colour in ((exact & hole, FOUND), (exact & ~hole, MISSED), (hole & ~exact, WRONG)):
            pane[where] = colour
        panes.append(pane)
    return np.concatenate([np.concatenate(panes[:3], axis=1), np.concatenate(panes[3:], axis=1)])


def photo_figure(name: str, methods: tuple[str, ...]) -> Pixels:
    """Return a shipped photo's depth, left view and hole, or, for several methods, the hole of each."""
    pixels = read_picture(PHOTOS / name, SIZE[0] * 2)
    depth = create_depth_model("FastDepth").infer(as_tensor(pixels)[None])
    shown = [preview(pixels, depth, 3.0, CONVERGENCE, hole_method=method) for method in methods]
    panes = [one.hole_overlay for one in shown]
    if len(methods) == 1:
        panes = [shown[0].depth, shown[0].view, *panes]
    half = [cv2.resize(pane, None, fx=0.5, fy=0.5, interpolation=cv2.INTER_AREA) for pane in panes]
    return np.concatenate(half, axis=1)


def photo_table() -> str:
    """Return the table of the shipped photos.

    It shows what share of the photos each method takes for hole, and how often holes' left borders lie at visible edges.
    """
    model, rows, widths = create_depth_model("FastDepth"), defaultdict[str, list[list[float]]](list), list[float]()
    for path in sorted(PHOTOS.rglob("*.jpg")):
        pixels = read_picture(path, SIZE[0] * 2)
        scale = SIZE[0] * 2 / min(pixels.shape[:2])
        pixels = cv2.resize(pixels, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA)
        depth = model.infer(as_tensor(pixels)[None])
        widths.append(float(edge_width(depth)))
        near = [near_edges(one) for one in (pixels, cv2.GaussianBlur(pixels, (0, 0), OBJECT_BLUR))]
        for method in HOLE_METHODS:
            hole = find_hole(method, depth, PHOTO_DIVERGENCE, CONVERGENCE)[0, 0].numpy()
            areas = cv2.connectedComponentsWithStats(hole.astype(np.uint8))[2][1:, cv2.CC_STAT_AREA]
            specks, borders = areas[areas < PHOTO_SPECK], hole & ~np.pad(hole, ((0, 0), (1, 0)))[:, :-1]
            shares = (hole.mean(), specks.sum() / areas.sum(), *(edges[borders].mean() for edges in near))
            rows[method].append([len(specks), *map(float, shares)])
    lines = [
        f"edges of the depth maps: {min(widths):.1f} to {max(widths):.1f} px wide\n",
        "| method | holes, mean | fewest in a photo | specks per photo | hole area in specks | on edge | on object edge |",
        "| --- | --- | --- | --- | --- | --- | --- |",
    ]
    for method, figures in rows.items():
        specks, hole, in_specks, on_edge, on_object_edge = np.mean(figures, axis=0)
        shares = f"{in_specks:.0%} | {on_edge:.0%} | {on_object_edge:.0%}"
        lines.append(f"| `{method}` | {hole:.2%} | {min(row[1] for row in figures):.2%} | {specks:.0f} | {shares} |")
    return "\n".join(lines)


def near_edges(pixels: Pixels) -> NDArray[np.bool_]:
    """Return (H, W) bool: True within `EDGE_REACH` px of an edge of the picture (H, W, 3)."""
    edges = cv2.Canny(cv2.cvtColor(pixels, cv2.COLOR_RGB2GRAY), 60, 150)
    return cv2.dilate(edges, np.ones((2 * EDGE_REACH + 1,) * 2, np.uint8)) > 0


def as_tensor(pixels: Pixels) -> Tensor:
    return torch.from_numpy(pixels).permute(2, 0, 1) / 255


def as_pixels(picture: Tensor) -> Pixels:
    return (picture[0].permute(1, 2, 0) * 255).round().to(torch.uint8).numpy()


def save(path: Path, pixels: Pixels) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    cv2.imwrite(str(path), pixels[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, 70])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--scenes", type=int, default=60)
    parser.add_argument("--figures", type=Path, help="folder for the pictures of the page, instead of the table")
    parser.add_argument("--photos", action="store_true", help="the table of the shipped photos instead")
    options = parser.parse_args()
    if options.photos:
        print(photo_table())
        return
    if options.figures is not None:
        save(options.figures / "hole_scene.jpg", scene_figure())
        save(options.figures / "hole_photo.jpg", photo_figure("eval/astronaut.jpg", ("occlusion",)))
        save(options.figures / "hole_methods.jpg", photo_figure("train/bird_lamp.jpg", tuple(HOLE_METHODS)))
        return
    scenes = options.scenes
    torch.set_num_threads(1)
    tallies: dict[tuple[str, float, str], Tally] = defaultdict(Tally)
    border = math.ceil(max(DIVERGENCES) * 0.005 * SIZE[1])
    for number in range(scenes):
        scene = draw_scene(numpy_rng("bench_holes", number), SIZE)
        _, depth = scene.render()
        for divergence in DIVERGENCES:
            exact = scene.hidden_from_left(divergence, CONVERGENCE)[..., border:-border]
            for kind, loss in DEPTHS.items():
                seen = estimated(depth, **loss)
                for name in HOLE_METHODS:
                    hole = find_hole(name, seen, divergence, CONVERGENCE)[..., border:-border]
                    add(tallies[kind, divergence, name], hole, exact)
    print(f"{scenes} scenes of {SIZE[0]}x{SIZE[1]}; stray, specks (<= {SPECK} px), pieces: per scene\n")
    print("| depth | divergence | method | IoU | precision | recall | stray px | specks | pieces - exact |")
    print("| --- | --- | --- | --- | --- | --- | --- | --- | --- |")
    for (kind, divergence, name), t in tallies.items():
        print(
            f"| {kind} | {divergence:g} | `{name}` | {t.both / t.either:.3f} | {t.both / max(t.found, 1):.3f} "
            f"| {t.both / t.exact:.3f} | {t.stray / scenes:.1f} | {t.specks / scenes:.1f} "
            f"| {t.pieces / scenes:+.1f} |"
        )


if __name__ == "__main__":
    main()
