"""Measure where in a cell of 8 x 8 px fills put their fine detail: a generator's grid, whatever the sign of its dots.

    python benchmarks/detail_by_place.py FIGURE CHECKPOINT ...

Prints how much the detail's energy varies over the 64 places of a cell, and draws it. It is measured in holes of the
shipped photos and of photo scenes made from them. The truth's own variation shows how much is chance.
"""

from __future__ import annotations

import argparse
import tempfile
from pathlib import Path

import torch
from matplotlib.figure import Figure
from torch import Tensor

from inpaintkit.inspection import Fill, Inpainter, Truth, photo_scene_truth
from inpaintkit.inspection.figures import save_figure
from inpaintkit.inspection.truths import photo_truth, read_textures
from inpaintkit.training.repetition import cells, fine_detail

PHOTOS = Path(__file__).parent.parent / "data" / "samples"
SCENES = 24
SEED = 5
LEAST_ENERGY = 1e-9
HIGHEST = 2.5
"""Top of the scale of the drawing."""


def energy_by_place(truth: Truth, fill: Fill | None) -> Tensor:
    """Return the energy of detail inside holes at each place of the cell (8, 8), relative to the mean.

    `fill` None gives the truth's own. A picture counts by its hole's number of pixels, whatever its contrast.
    """
    energies, counts = torch.zeros(64), torch.zeros(64)
    for index in range(len(truth)):
        case = truth.load(index)
        picture = case.truth if fill is None else fill(case.picture, case.hole, "right")
        hole = case.judged.float()
        energy = fine_detail(picture).square().mean(dim=1, keepdim=True) * hole
        mean = energy.sum() / hole.sum()
        energies += cells(energy / mean.clamp(min=LEAST_ENERGY))[0].sum(dim=(1, 2))
        counts += cells(hole)[0].sum(dim=(1, 2))
    return (energies / counts).view(8, 8)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("figure", type=Path, help="PNG or SVG to draw")
    parser.add_argument("checkpoints", nargs="+", metavar="CHECKPOINT")
    options = parser.parse_args()
    fills = {"truth": None} | {Path(file).stem: Inpainter(file) for file in options.checkpoints}
    with tempfile.TemporaryDirectory() as folder:
        truths = [photo_truth(PHOTOS, folder), photo_scene_truth(SCENES, read_textures(PHOTOS), SEED)]
        found = [{name: energy_by_place(truth, fill) for name, fill in fills.items()} for truth in truths]
    print("| fill | " + " | ".join(f"{truth.title}: spread | largest" for truth in truths) + " |")
    print("| --- |" + " ---: |" * 2 * len(truths))
    for name in fills:
        figures = (f"{maps[name].std(correction=0):.2f} | {maps[name].max():.1f}" for maps in found)
        print(f"| {name} | {' | '.join(figures)} |")
    drawing = Figure(figsize=(2.2 * len(fills) + 0.8, 2.3 * len(truths)), layout="constrained")
    axes = drawing.subplots(len(truths), len(fills), squeeze=False)
    for row, truth, maps in zip(axes, truths, found, strict=True):
        for ax, name in zip(row, fills, strict=True):
            shown = ax.imshow(maps[name], vmin=0, vmax=HIGHEST, cmap="magma")
            ax.set(xticks=[], yticks=[], title=f"{name}\n{truth.title}")
    drawing.colorbar(shown, ax=axes, label="energy of fine detail, mean = 1", shrink=0.7)
    save_figure(drawing, options.figure)


if __name__ == "__main__":
    main()
