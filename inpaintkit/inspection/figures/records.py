"""Draw records and their holes: contact sheets, samples, statistics, effects of parameters."""

import itertools
import math
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import torch
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from inpaintkit.config import HOLE_METHODS
from inpaintkit.data import InpaintDataset
from inpaintkit.data.packed import read_record
from inpaintkit.errors import InputError
from inpaintkit.hole_colour import paint_hole
from inpaintkit.inspection.figures import base
from inpaintkit.inspection.holes import hole_widths
from inpaintkit.inspection.pictures import AnyPicture, Hole, hole_batch, picture_batch
from inpaintkit.inspection.stereo import depth_like
from inpaintkit.inspection.truths import record_name
from inpaintkit.seeds import numpy_rng
from inpaintkit.training.feeding import evenly

PLACE_CELLS = 32
MOST_COUNTED = 2000  # most records that statistics read, which takes some 20 s

VARIED: dict[str, tuple[float | str, ...]] = {
    "divergence": (1.0, 2.5, 5.0, 8.0),
    "convergence": (0.0, 0.5, 1.0),
    "mapper": ("none", "mul_2", "inv_mul_2", "div_6"),
    "edge_dilation": (0, 2, 4),
    "hole_method": tuple(HOLE_METHODS),
}

VARIED_DIVERGENCE = 5.0  # % of the width; strong enough that the other parameters' effects can be seen

Pairs = Sequence[tuple[Path, Path]]
"""Records by their files: picture and hole."""


def contact_sheet(pairs: Pairs, n: int = 12, seed: int = 0) -> Figure:
    """Show `n` records drawn by `seed`: holes in magenta, their share of the crop underneath."""
    _require_some(pairs)
    drawn = numpy_rng("contact sheet", seed).permutation(len(pairs))[:n]
    tiles = []
    for index in sorted(drawn):
        record = torch.from_numpy(read_record(*pairs[index]))
        tiles.append((record[:3] / 255, record[3:] > 0, record_name(pairs[index][0].name)))
    return hole_tiles(tiles)


def samples_panel(samples: InpaintDataset, n: int = 8) -> Figure:
    """Show `n` samples, spread evenly over the data set, as the trainer sees them: holes in magenta, shares below."""
    tiles = []
    for draw, index in enumerate(evenly(range(len(samples)), n)):
        # Augmentation depends only on the draw, so each sample needs a draw of its own.
        picture, hole, _, _ = samples[(index, 0, draw)]
        tiles.append((picture, hole > 0, record_name(samples.names[index])))
    return hole_tiles(tiles)


def hardest_records(samples: InpaintDataset, hardest: Sequence[tuple[int, float]]) -> Figure:
    """Show training records with the largest recent losses, as ``Trainer.hardest`` names them, the loss underneath."""
    tiles, labels = [], []
    for index, loss in hardest:
        record = torch.from_numpy(np.array(samples.pixels(index)))
        tiles.append((record[:3] / 255, record[3:] > 0, record_name(samples.names[index])))
        labels.append(f"loss {loss:.4g}")
    if not tiles:
        raise InputError("hardest: no loss has been seen yet; train at least one step")
    return hole_tiles(tiles, labels)


def hole_histogram(pairs: Pairs) -> Figure:
    """Plot how much of each crop is hole, how wide the holes are along the row, and where in the crop they lie.

    At most `MOST_COUNTED` records are read, spread evenly.
    """
    _require_some(pairs)
    shares = []
    widths = []
    places = np.zeros((PLACE_CELLS, PLACE_CELLS))
    for pair in evenly(pairs, MOST_COUNTED):
        hole = torch.from_numpy(read_record(*pair)[3:] > 0)[None]
        shares.append(100 * float(hole.float().mean()))
        starts = hole & ~torch.nn.functional.pad(hole[..., :-1], (1, 0))
        widths.append(hole_widths(hole)[starts].numpy())
        places += torch.nn.functional.adaptive_avg_pool2d(hole.float(), PLACE_CELLS)[0, 0].numpy()
    figure = base.KitFigure(figsize=(11, 3), layout="constrained")
    counted = "records" if len(shares) == len(pairs) else f"records ({len(shares)} of {len(pairs)})"
    share_axis, width_axis, place_axis = figure.subplots(1, 3, width_ratios=(4, 4, 3))
    share_axis.hist(
        shares, bins=min(30, max(5, len(shares) // 3)), color=base.PALETTE[0], edgecolor="white", linewidth=0.6
    )
    base.label_axes(share_axis, "hole share per record", "% of the crop", counted)
    runs = np.concatenate(widths)
    if runs.size:
        width_axis.hist(
            runs, bins=np.arange(0.5, runs.max() + 1.5), color=base.PALETTE[1], edgecolor="white", linewidth=0.4
        )
    width_axis.set_yscale("log")
    base.label_axes(width_axis, "hole width along the row", "px", "runs (log)")
    _place_map(figure, place_axis, 100 * places / max(len(shares), 1))
    return figure


def _place_map(figure: Figure, ax: Axes, percent: np.ndarray) -> None:
    shown = ax.imshow(percent, cmap="viridis", vmin=0, extent=(0, 1, 1, 0))
    base.label_axes(ax, "position of holes", "across the crop", "down the crop")
    ax.grid(False)
    bar = figure.colorbar(shown, ax=ax, fraction=0.05, pad=0.03)
    bar.set_label("% hole", fontsize=base.SMALL_SIZE, color=base.QUIET)
    bar.ax.tick_params(labelsize=base.SMALL_SIZE, colors=base.QUIET)


def parameter_effects(overlay: Callable[..., np.ndarray]) -> Figure:
    """Show one picture's hole while one parameter of the warp at a time varies, two parameters a row.

    `overlay` takes parameters by name and returns the picture (H, W, 3), uint8, with its hole painted in.
    """
    pairs = list(itertools.zip_longest(*[iter(VARIED.items())] * 2, fillvalue=("", ())))
    columns = max(len(first) + len(second) for (_, first), (_, second) in pairs)
    shape = overlay().shape
    figure, axes = base.image_grid(len(pairs), columns, shape[0] / shape[1], inches=2.0)
    for line, pair in zip(axes, pairs, strict=True):
        varied = [(name, value) for name, values in pair for value in values]
        for ax, (name, value) in zip(line, varied, strict=False):
            ax.imshow(overlay(**{"divergence": VARIED_DIVERGENCE, name: value}))
        base.set_titles(line, (f"{name.replace('_', ' ')} {value}" for name, value in varied), base.TEXT_SIZE)
        for ax in line[len(varied) :]:
            ax.set_visible(False)
    return figure


def depth_and_hole(picture: AnyPicture, depth: torch.Tensor | np.ndarray, hole: Hole) -> Figure:
    """Show a picture, its depth (bright = near) and its hole in magenta, side by side."""
    batch = picture_batch(picture)
    missing = hole_batch(hole, batch)[0]
    near = depth_like(depth, batch)[0, 0]
    figure, axes = base.image_grid(1, 3, aspect=batch.shape[-2] / batch.shape[-1], inches=3.6)
    base.show_picture(axes[0, 0], batch[0])
    axes[0, 1].imshow(near.cpu().numpy(), cmap="magma", vmin=0, vmax=1)
    base.show_picture(axes[0, 2], paint_hole(batch[0], missing))
    titles = ("picture", "depth, bright is near", f"hole, {float(missing.float().mean()):.2%}")
    base.set_titles(axes[0], titles)
    return figure


def _require_some(pairs: Pairs) -> None:
    if not pairs:
        raise InputError("records: the list is empty; give pairs of files (picture, hole)")


def hole_tiles(tiles: Sequence[tuple[torch.Tensor, torch.Tensor, str]], labels: Sequence[str] | None = None) -> Figure:
    """Show (picture (3, H, W), hole (1, H, W), name) each, four in a row.

    `labels` are written underneath; None: the hole's share of the picture.
    """
    labels = [f"{float(hole.float().mean()):.1%} hole" for _, hole, _ in tiles] if labels is None else labels
    columns = min(len(tiles), 4)
    figure, axes = base.image_grid(math.ceil(len(tiles) / columns), columns)
    for ax, (picture, hole, name), label in zip(axes.flat, tiles, labels, strict=False):
        base.show_picture(ax, paint_hole(picture, hole))
        ax.set_xlabel(label, fontsize=base.TEXT_SIZE, color=base.INK)
        ax.set_title(base.short(name), fontsize=base.SMALL_SIZE, color=base.QUIET)
    return figure
