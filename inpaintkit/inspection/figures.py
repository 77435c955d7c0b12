"""Figures for notebooks, reports and the README; the only file that imports matplotlib.

Every function returns a `matplotlib.figure.Figure` of its own: no pyplot, so nothing global is opened, changed or
leaked. Background and text are fixed (dark on white), so that a figure reads alike in light and dark themes, and
colours are Okabe and Ito's, which colour-blind readers can tell apart.
"""

from __future__ import annotations

import csv
import io
import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path

import cv2
import numpy as np
import torch
from matplotlib.axes import Axes
from matplotlib.figure import Figure as Figure
from matplotlib.ticker import MaxNLocator
from PIL import Image

from inpaintkit import text
from inpaintkit.config import HOLE_METHODS
from inpaintkit.data import InpaintDataset
from inpaintkit.data.dataset import find_pairs
from inpaintkit.data.manifest import SPLITS
from inpaintkit.data.packed import read_record
from inpaintkit.errors import InputError
from inpaintkit.files import atomic_path, require_folder
from inpaintkit.inspection.evaluate import (
    MAIN_METRICS,
    METRICS,
    RANKED_METRICS,
    WIDTH_BINS,
    Evaluation,
    Example,
    as_truth,
    examples,
    spread,
    width_metrics,
)
from inpaintkit.inspection.fills import Fill
from inpaintkit.inspection.pictures import AnyPicture, Hole, hole_batch, picture_batch, to_uint8
from inpaintkit.inspection.stereo import StereoPair, depth_like
from inpaintkit.inspection.truths import Truth, record_name
from inpaintkit.seeds import numpy_rng
from inpaintkit.training.metrics import hole_psnr, hole_widths
from inpaintkit.training.spectrum import spectrum, step_products

INK, QUIET, GRID = "#1f2328", "#6a737d", "#e3e6ea"
PALETTE = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000")
HOLE_COLOUR = (1.0, 0.0, 1.0)
LEFT_HOLE_COLOUR, RIGHT_HOLE_COLOUR = (0.90, 0.62, 0.0), (0.34, 0.71, 0.91)
TITLE_SIZE, TEXT_SIZE, SMALL_SIZE = 11, 9, 8
DPI = 110
TILE_INCHES = 2.1
ZOOM_MARGIN, ZOOM_MINIMUM, ZOOM_MAXIMUM = 1.5, 56, 112
"""A zoomed crop is the largest hole's longer side times the first, within the other two in px."""

BASELINES = {"hole_psnr": "hole_psnr_row_fill"}
"""Columns of a loss CSV that stand in the panel of another one: what it has to beat."""

GAN_FIGURES = {
    "hole_psnr": "hole PSNR (dB)",
    "hole_lpips": "hole LPIPS",
    "artefact": "artefact score",
    "score": "score (least wins)",
}
GRID_FREQUENCIES = (0.125, 0.25, 0.375, 0.5)  # cycles per px: the generator's grids of 8 and 4 px

PLACE_CELLS = 32
VARIED: dict[str, tuple[float | str, ...]] = {
    "divergence": (1.0, 2.5, 5.0, 8.0),
    "convergence": (0.0, 0.5, 1.0),
    "mapper": ("none", "mul_2", "inv_mul_2", "div_6"),
    "edge_dilation": (0, 2, 4),
    "hole_method": tuple(HOLE_METHODS),
}
VARIED_DIVERGENCE = 5.0  # % of the width; strong enough that the other parameters' effects can be seen

Records = str | Path | Sequence[tuple[Path, Path]]
"""A folder of records, a data set folder (with train/ and eval/), or pairs of files (picture, hole)."""


class KitFigure(Figure):
    """A figure that notebooks show without pyplot."""

    def _repr_png_(self) -> bytes:
        return png_bytes(self)


def png_bytes(figure: Figure) -> bytes:
    """Return `figure` as an opaque RGB PNG."""
    raw = io.BytesIO()
    figure.savefig(raw, format="png", dpi=DPI, facecolor="white")
    small = io.BytesIO()
    with Image.open(raw) as image:
        image.convert("RGB").save(small, format="PNG", optimize=True)
    return small.getvalue()


def save_figure(figure: Figure, path: str | Path) -> Path:
    """Write `figure` as PNG, atomically; raise `InputError` where that is impossible."""
    path = Path(path)
    if path.suffix.lower() != ".png":
        raise InputError(f"path: {path} does not end in .png; figures are saved as PNG")
    with atomic_path(path) as temporary:
        temporary.write_bytes(png_bytes(figure))
    return path


def contact_sheet(records: Records, n: int = 12, seed: int = 0) -> Figure:
    """Show `n` records drawn by `seed`: holes in magenta, their share of the crop underneath."""
    pairs = _pairs(records)
    drawn = numpy_rng("contact sheet", seed).permutation(len(pairs))[:n]
    tiles = []
    for index in sorted(drawn):
        record = torch.from_numpy(read_record(*pairs[index]))
        tiles.append((record[:3] / 255, record[3:] > 0, record_name(pairs[index][0].name)))
    return _hole_tiles(tiles)


def samples_panel(samples: InpaintDataset, n: int = 8) -> Figure:
    """Show `n` samples, spread evenly over the data set, as the trainer sees them: holes in magenta, share underneath."""
    tiles = []
    for draw, index in enumerate(spread(len(samples), n)):
        # Augmentation depends on the draw alone, so each sample needs one of its own.
        picture, hole, _, _ = samples[(index, 0, draw)]
        tiles.append((picture, hole > 0, record_name(samples.names[index])))
    return _hole_tiles(tiles)


def loss_curves(csv_path: str | Path) -> Figure:
    """Plot each column of a trainer's loss CSV over epochs, training and evaluation, and the learning rate last.

    The hole PSNR of row fill stands beside the network's. Raises `InputError` if the file is missing or holds no epoch yet.
    """
    rows = _read_csv(csv_path)
    skipped = {"epoch", "split", "seconds", *BASELINES.values()}
    names = list(dict.fromkeys(name for row in rows for name, value in row.items() if value and name not in skipped))
    names.sort(key=lambda name: (name != "total", "learning_rate" in name or name == "lr"))
    columns = min(len(names), 3)
    lines = math.ceil(len(names) / columns)
    figure = KitFigure(figsize=(3.6 * columns, 2.5 * lines + 0.3), layout="constrained")
    axes = figure.subplots(lines, columns, squeeze=False)
    for ax, name in zip(axes.flat, names, strict=False):
        _curve(ax, rows, name)
    for ax in axes.flat[len(names) :]:
        ax.set_axis_off()
    axes.flat[0].legend(frameon=False, fontsize=TEXT_SIZE, labelcolor=INK)
    return figure


def hardest_records(samples: InpaintDataset, hardest: Sequence[tuple[int, float]]) -> Figure:
    """Show training records with the largest recent losses, as ``Trainer.hardest`` names them, the loss underneath."""
    tiles, labels = [], []
    for index, loss in hardest:
        record = torch.from_numpy(np.array(samples.pixels(index)))
        tiles.append((record[:3] / 255, record[3:] > 0, record_name(samples.names[index])))
        labels.append(f"loss {loss:.4g}")
    if not tiles:
        raise InputError("hardest: no loss has been seen yet; train at least one step")
    return _hole_tiles(tiles, labels)


def gan_epochs(csv_path: str | Path, picked: int) -> Figure:
    """Plot the inside-hole figures of each judged epoch of GAN fine-tuning; the start dotted, the `picked` one marked."""
    rows = [row for row in _read_csv(csv_path) if row["split"] == "eval" and row.get("score")]
    figure = KitFigure(figsize=(3.2 * len(GAN_FIGURES), 2.8), layout="constrained")
    for ax, (name, title) in zip(figure.subplots(1, len(GAN_FIGURES)), GAN_FIGURES.items(), strict=True):
        epochs, values = [int(row["epoch"]) for row in rows], [float(row[name]) for row in rows]
        ax.plot(epochs, values, color=PALETTE[0], linewidth=1.8, marker="o", markersize=3.5)
        ax.axhline(values[0], color=QUIET, linewidth=1, linestyle=":")
        if picked in epochs:
            ax.plot(picked, values[epochs.index(picked)], "o", color=PALETTE[1], markersize=9, fillstyle="none", mew=2)
        _label(ax, title, "epoch", "")
        ax.xaxis.set_major_locator(MaxNLocator(integer=True))
    return figure


def hole_spectra(records: Truth | InpaintDataset, fills: Mapping[str, Fill], n: int = 16) -> Figure:
    """Plot the spectrum inside holes of the truth and of each fill; dotted: the generator's grids of 8 and 4 px."""
    truth = as_truth(records)
    names = [truth.names[index] for index in spread(len(truth), n)]
    totals: dict[str, list[torch.Tensor]] = {}
    for example in examples(fills, truth, names):
        for name, picture in {"truth": example.picture, **example.fills}.items():
            found = step_products(picture[None].cpu(), example.hole[None].cpu())
            totals[name] = [a + b for a, b in zip(totals[name], found, strict=True)] if name in totals else list(found)
    figure = KitFigure(figsize=(7.5, 3.4), layout="constrained")
    ax = figure.subplots()
    for colour, (name, (sums, counts)) in zip(("#000000", *PALETTE), totals.items(), strict=False):
        frequencies, power = spectrum(sums, counts)
        ax.semilogy(frequencies.numpy(), power.numpy(), color=colour, label=text.figure(name), linewidth=1.8)
    for frequency in GRID_FREQUENCIES:
        ax.axvline(frequency, color=QUIET, linewidth=1, linestyle=":")
    _label(ax, "power of pixel differences inside holes", "cycles per px", "")
    ax.legend(frameon=False, fontsize=TEXT_SIZE, labelcolor=INK)
    return figure


Judge = Callable[[torch.Tensor, torch.Tensor], torch.Tensor]
"""(picture (B, 3, H, W), truth) -> logits (B, 1, h, w), high = looks real; ``GanTrainer.realness`` is one."""


def discriminator_maps(
    records: Truth | InpaintDataset, fills: Mapping[str, Fill], judge: Judge, cut: int = 16, n: int = 4
) -> Figure:
    """Show what a discriminator finds real (blue) or filled (red), painted over the truth and over each fill.

    `cut` is the frame, px on each side, that the map of `judge` leaves out.
    """
    truth = as_truth(records)
    rows = examples(fills, truth, [truth.names[index] for index in spread(len(truth), n)])
    figure, axes = _image_grid(len(rows), len(fills) + 2)
    for line, example in zip(axes, rows, strict=True):
        pictures = {"truth": example.picture, **example.fills}
        maps = {name: judge(p[None], example.picture[None])[0, 0].cpu().numpy() for name, p in pictures.items()}
        strongest = max(float(np.abs(logits).max()) for logits in maps.values())
        _show(line[0], _paint(example.picture, example.hole))
        for ax, (name, logits) in zip(line[1:], maps.items(), strict=True):
            _show(ax, pictures[name])
            height, width = pictures[name].shape[-2:]
            extent = (cut, width - cut, height - cut, cut)
            ax.imshow(logits, cmap="RdBu", vmin=-strongest, vmax=strongest, alpha=0.55, extent=extent)
            ax.set_xlim(-0.5, width - 0.5)
            ax.set_ylim(height - 0.5, -0.5)
        line[0].set_ylabel(_short(example.record), fontsize=SMALL_SIZE, color=QUIET)
    for ax, title in zip(axes[0], ("hole", "truth", *fills), strict=True):
        ax.set_title(text.figure(title), fontsize=TITLE_SIZE, color=INK)
    return figure


def before_after(
    records: Truth | InpaintDataset, fills: Mapping[str, Fill], names: Sequence[str] | None = None, n: int = 6
) -> Figure:
    """Show the largest hole of each record, zoomed: with the hole in magenta, filled by each of `fills`, and the truth.

    Shown are the records `names` (for instance ``evaluation.worst("model")``), None: `n` spread over all. Under a fill
    stands its PSNR inside the part of the hole that is shown.
    """
    truth = as_truth(records)
    if names is None:
        names = [truth.names[index] for index in spread(len(truth), n)]
    rows = examples(fills, truth, names)
    figure, axes = _image_grid(len(rows), len(fills) + 2)
    for line, example in zip(axes, rows, strict=True):
        _example_row(line, example)
    for ax, title in zip(axes[0], ("hole", *fills, "truth"), strict=True):
        ax.set_title(text.figure(title), fontsize=TITLE_SIZE, color=INK)
    return figure


def extremes(records: Truth | InpaintDataset, fills: Mapping[str, Fill], evaluation: Evaluation) -> Figure:
    """Show each fill's own best, median and worst record by PSNR: hole, fill and truth each, one row per fill."""
    figure, axes = _image_grid(len(fills), 9, inches=TILE_INCHES * 0.75)
    for line, (name, fill) in zip(axes, fills.items(), strict=True):
        chosen = [*evaluation.best(name, 1), *evaluation.median(name, 1), *evaluation.worst(name, 1)]
        for place, example in enumerate(examples({name: fill}, records, chosen)):
            _example_row(line[3 * place : 3 * place + 3], example)
        line[0].set_ylabel(text.figure(name), fontsize=TITLE_SIZE, color=INK)
    for place, word in enumerate(("best", "median", "worst")):
        for ax, title in zip(axes[0, 3 * place :], (f"{word}: hole", "filled", "truth"), strict=False):
            ax.set_title(title, fontsize=TEXT_SIZE, color=INK)
    return figure


def metrics_bars(evaluation: Evaluation) -> Figure:
    """Plot each fill's mean and 95 % interval for every metric, and PSNR, SSIM and LPIPS over hole width.

    Points rather than bars: PSNR and SSIM have no meaningful zero for a bar to start at.
    """
    shown = [m for m in MAIN_METRICS if not all(np.isnan(evaluation.mean(f, m).mean) for f in evaluation.fills)]
    figure = KitFigure(figsize=(2.75 * len(shown), 5.4 + 0.28 * len(evaluation.fills)), layout="constrained")
    grid = figure.add_gridspec(2, 1, height_ratios=[1.6 + 0.28 * len(evaluation.fills), 3])
    above, below = figure.add_subfigure(grid[0]), figure.add_subfigure(grid[1])
    colours = dict(zip(evaluation.fills, _cycle(len(evaluation.fills)), strict=True))
    axes = dict(zip(shown, above.subplots(1, len(shown), squeeze=False)[0], strict=True))
    for name in shown:
        _points(axes[name], evaluation, name, colours)
    for name in shown[1:]:
        axes[name].set_yticklabels([])
    if "artefact" in axes:
        axes["artefact"].axvline(0, color=QUIET, linewidth=1, linestyle=":")
        axes["artefact"].set_xlabel("0: no grid of 8 px or finer", fontsize=TEXT_SIZE, color=QUIET)
    ranked = [m for m in RANKED_METRICS if m in shown]
    curves = below.subplots(1, len(ranked), squeeze=False)[0]
    for ax, name in zip(curves, ranked, strict=True):
        _width_curves(ax, evaluation, name, colours)
    curves[-1].legend(frameon=False, fontsize=TEXT_SIZE, labelcolor=INK, loc="center left", bbox_to_anchor=(1.0, 0.5))
    return figure


def hole_histogram(records: Records) -> Figure:
    """Plot how much of each crop is hole, how wide the holes are along the row, and where in the crop they lie."""
    shares, widths, places = [], [], np.zeros((PLACE_CELLS, PLACE_CELLS))
    for pair in _pairs(records):
        hole = torch.from_numpy(read_record(*pair)[3:] > 0)[None]
        shares.append(100 * float(hole.float().mean()))
        starts = hole & ~torch.nn.functional.pad(hole[..., :-1], (1, 0))
        widths.append(hole_widths(hole)[starts].numpy())
        places += torch.nn.functional.adaptive_avg_pool2d(hole.float(), PLACE_CELLS)[0, 0].numpy()
    figure = KitFigure(figsize=(11, 3), layout="constrained")
    share_axis, width_axis, place_axis = figure.subplots(1, 3, width_ratios=(4, 4, 3))
    share_axis.hist(shares, bins=min(30, max(5, len(shares) // 3)), color=PALETTE[0], edgecolor="white", linewidth=0.6)
    _label(share_axis, "hole share per record", "% of the crop", "records")
    runs = np.concatenate(widths)
    if runs.size:
        width_axis.hist(runs, bins=np.arange(0.5, runs.max() + 1.5), color=PALETTE[1], edgecolor="white", linewidth=0.4)
    width_axis.set_yscale("log")
    _label(width_axis, "hole width along the row", "px", "runs (log)")
    _place_map(figure, place_axis, 100 * places / max(len(shares), 1))
    return figure


def _place_map(figure: Figure, ax: Axes, percent: np.ndarray) -> None:
    shown = ax.imshow(percent, cmap="viridis", vmin=0, extent=(0, 1, 1, 0))
    _label(ax, "position of holes", "across the crop", "down the crop")
    ax.grid(False)
    bar = figure.colorbar(shown, ax=ax, fraction=0.05, pad=0.03)
    bar.set_label("% hole", fontsize=SMALL_SIZE, color=QUIET)
    bar.ax.tick_params(labelsize=SMALL_SIZE, colors=QUIET)


def parameter_effects(overlay: Callable[..., np.ndarray]) -> Figure:
    """Show one picture's hole with each parameter of the warp varied alone, a row each.

    `overlay` returns the picture (H, W, 3) uint8 with its hole painted in, given parameters by name.
    """
    columns = max(map(len, VARIED.values()))
    first = overlay()
    figure, axes = _image_grid(len(VARIED), columns, first.shape[0] / first.shape[1], inches=2.6)
    for line, (name, values) in zip(axes, VARIED.items(), strict=True):
        for ax, value in zip(line, values, strict=False):
            painted = overlay(**{"divergence": VARIED_DIVERGENCE, name: value})
            ax.imshow(painted)
            ax.set_title(f"{name} {value}".replace("_", " "), fontsize=TEXT_SIZE, color=INK)
        for ax in line[len(values) :]:
            ax.set_visible(False)
    return figure


def depth_and_hole(picture: AnyPicture, depth: torch.Tensor | np.ndarray, hole: Hole) -> Figure:
    """Show a picture, its depth (bright = near) and its hole in magenta, side by side."""
    batch, _ = picture_batch(picture)
    missing = hole_batch(hole, batch)[0]
    near = depth_like(depth, batch)[0, 0]
    figure, axes = _image_grid(1, 3, aspect=batch.shape[-2] / batch.shape[-1], inches=3.6)
    _show(axes[0, 0], batch[0])
    axes[0, 1].imshow(near.cpu().numpy(), cmap="magma", vmin=0, vmax=1)
    _show(axes[0, 2], _paint(batch[0], missing))
    titles = ("picture", "depth, bright is near", f"hole, {float(missing.float().mean()):.2%}")
    for ax, title in zip(axes[0], titles, strict=True):
        ax.set_title(title, fontsize=TITLE_SIZE, color=INK)
    return figure


def stereo_panel(pair: StereoPair) -> Figure:
    """Show both views, the anaglyph, and where each view had been filled."""
    height, width = pair.left.shape[-2:]
    figure, axes = _image_grid(2, 2, aspect=height / width, inches=min(5.0, 5.0 * width / height))
    holes = _paint(
        _paint(pair.left[0] * 0 + 1, pair.left_hole[0], LEFT_HOLE_COLOUR), pair.right_hole[0], RIGHT_HOLE_COLOUR
    )
    anaglyph = torch.from_numpy(pair.anaglyph()).permute(2, 0, 1) / 255
    panels = {
        "left": pair.left[0],
        "right": pair.right[0],
        "red-cyan anaglyph": anaglyph,
        "filled: left eye orange, right eye blue": holes,
    }
    for ax, (title, image) in zip(axes.flat, panels.items(), strict=True):
        _show(ax, image)
        ax.set_title(title, fontsize=TITLE_SIZE, color=INK)
    return figure


def zoom_box(hole: torch.Tensor) -> tuple[int, int, int]:
    """Return (top, left, side) in px of a square around the thickest place of the largest part of `hole` (H, W) bool."""
    height, width = hole.shape
    _, parts, stats, _ = cv2.connectedComponentsWithStats(hole.cpu().numpy().astype(np.uint8), connectivity=8)
    if len(stats) < 2:
        return 0, 0, min(height, width)
    largest = 1 + int(np.argmax(stats[1:, cv2.CC_STAT_AREA]))
    longer = int(max(stats[largest, cv2.CC_STAT_WIDTH], stats[largest, cv2.CC_STAT_HEIGHT]))
    side = min(max(int(longer * ZOOM_MARGIN), ZOOM_MINIMUM), ZOOM_MAXIMUM, height, width)
    depth = cv2.distanceTransform((parts == largest).astype(np.uint8), cv2.DIST_L2, 3)
    y, x = divmod(int(np.argmax(depth)), width)
    top = min(max(y - side // 2, 0), height - side)
    left = min(max(x - side // 2, 0), width - side)
    return top, left, side


def _hole_tiles(tiles: Sequence[tuple[torch.Tensor, torch.Tensor, str]], labels: Sequence[str] | None = None) -> Figure:
    """Show (picture (3, H, W), hole (1, H, W), name) each, four in a row; `labels` underneath, None: the hole's share."""
    labels = [f"{float(hole.float().mean()):.1%} hole" for _, hole, _ in tiles] if labels is None else labels
    columns = min(len(tiles), 4)
    figure, axes = _image_grid(math.ceil(len(tiles) / columns), columns)
    for ax, (picture, hole, name), label in zip(axes.flat, tiles, labels, strict=False):
        _show(ax, _paint(picture, hole))
        ax.set_xlabel(label, fontsize=TEXT_SIZE, color=INK)
        ax.set_title(_short(name), fontsize=SMALL_SIZE, color=QUIET)
    return figure


def _example_row(line: np.ndarray, example: Example) -> None:
    top, left, side = zoom_box(example.hole[0])
    crop = (..., slice(top, top + side), slice(left, left + side))
    truth, hole = example.picture[crop], example.hole[crop]
    _show(line[0], _paint(truth, hole))
    for ax, filled in zip(line[1:-1], example.fills.values(), strict=True):
        _show(ax, filled[crop])
        psnr = float(hole_psnr(filled[crop][None], truth[None], hole[None]))
        ax.set_xlabel(METRICS["psnr"].text(psnr) + " dB", fontsize=SMALL_SIZE, color=QUIET)
    _show(line[-1], truth)
    line[0].set_ylabel(_short(example.record), fontsize=SMALL_SIZE, color=QUIET)
    line[0].set_xlabel(f"{side} × {side} px", fontsize=SMALL_SIZE, color=QUIET)


def _image_grid(rows: int, columns: int, aspect: float = 1.0, inches: float = TILE_INCHES) -> tuple[Figure, np.ndarray]:
    figure = KitFigure(figsize=(inches * columns, (inches * aspect + 0.5) * rows), layout="constrained")
    axes = figure.subplots(rows, columns, squeeze=False)
    for ax in axes.flat:
        ax.set_xticks([])
        ax.set_yticks([])
        ax.spines[:].set_visible(False)
    return figure, axes


def _show(ax: Axes, picture: torch.Tensor) -> None:
    ax.imshow(to_uint8(picture), interpolation="nearest" if picture.shape[-1] < 300 else "antialiased")


def _paint(picture: torch.Tensor, hole: torch.Tensor, colour: tuple[float, float, float] = HOLE_COLOUR) -> torch.Tensor:
    return torch.where(hole, torch.tensor(colour).to(picture)[:, None, None], picture)


def _short(name: str, length: int = 26) -> str:
    """Return a record's name as it may stand in a figure."""
    return text.figure(name, length)


def _cycle(count: int) -> list[str]:
    return [PALETTE[index % len(PALETTE)] for index in range(count)]


def _label(ax: Axes, title: str, x: str, y: str) -> None:
    ax.set_title(title, fontsize=TITLE_SIZE, color=INK, loc="left")
    ax.set_xlabel(x, fontsize=TEXT_SIZE, color=QUIET)
    ax.set_ylabel(y, fontsize=TEXT_SIZE, color=QUIET)
    ax.tick_params(which="both", labelsize=SMALL_SIZE, colors=QUIET, length=3)
    ax.spines[["top", "right"]].set_visible(False)
    ax.spines[["left", "bottom"]].set_color(QUIET)
    ax.grid(axis="y", color=GRID, linewidth=0.8)
    ax.set_axisbelow(True)


def _pairs(records: Records) -> list[tuple[Path, Path]]:
    if isinstance(records, str | Path):
        folder = require_folder(records, "records")
        splits = [folder / split for split in SPLITS if (folder / split).is_dir()]
        return [pair for part in splits or [folder] for pair in find_pairs(part, being_written=True)]
    if not records:
        raise InputError("records: the list is empty; give pairs (picture, hole) or a folder of records")
    return list(records)


def _read_csv(path: str | Path) -> list[dict[str, str]]:
    if not Path(path).is_file():
        raise InputError(f"csv_path: {path} does not exist; give the loss_*.csv of a training run")
    with open(path, newline="", encoding="utf-8") as handle:
        rows = list(csv.DictReader(handle))
    if not rows:
        raise InputError(f"csv_path: {path} holds no epoch yet; wait for the first one to end")
    return rows


def _curve(ax: Axes, rows: Iterable[Mapping[str, str]], name: str) -> None:
    is_rate = "learning_rate" in name or name == "lr"
    splits = {"train": (PALETTE[0], "-", "training"), "eval": (PALETTE[1], "--", "evaluation")}
    rows = list(rows)
    for split, (colour, style, label) in splits.items():
        points = [(int(row["epoch"]), float(row[name])) for row in rows if row["split"] == split and row.get(name)]
        if points:
            epochs, values = zip(*points, strict=True)
            marker = "o" if len(points) < 30 else None
            ax.plot(epochs, values, style, color=colour, label=label, linewidth=1.8, marker=marker, markersize=3.5)
    baseline = [(int(row["epoch"]), float(row[BASELINES[name]])) for row in rows if row.get(BASELINES.get(name, ""))]
    if baseline:
        ax.plot(*zip(*baseline, strict=True), ":", color=QUIET, label="row fill", linewidth=1.6)
        ax.legend(frameon=False, fontsize=SMALL_SIZE, labelcolor=INK)
    if is_rate:
        ax.set_yscale("log")
    _label(ax, name.replace("_", " "), "epoch", "dB" if "psnr" in name else "")
    ax.xaxis.set_major_locator(MaxNLocator(integer=True))


def _points(ax: Axes, evaluation: Evaluation, name: str, colours: Mapping[str, str]) -> None:
    metric = METRICS[name]
    for place, fill in enumerate(evaluation.fills):
        value = evaluation.mean(fill, name)
        if not np.isnan(value.mean):
            ax.plot([value.low, value.high], [place, place], color=colours[fill], linewidth=3, alpha=0.45)
            ax.plot(value.mean, place, "o", color=colours[fill], markersize=7)
            ax.annotate(
                metric.text(value.mean), (value.mean, place), (0, 7), textcoords="offset points",
                ha="center", fontsize=SMALL_SIZE, color=INK,
            )  # fmt: skip
    _label(
        ax,
        metric.label,
        f"{metric.unit + ', ' if metric.unit else ''}{'more' if metric.higher_is_better else 'less'} is better",
        "",
    )
    ax.set_yticks(
        range(len(evaluation.fills)), [text.figure(fill) for fill in evaluation.fills], fontsize=TEXT_SIZE, color=INK
    )
    ax.set_ylim(len(evaluation.fills) - 0.4, -0.7)
    ax.margins(x=0.15)
    ax.xaxis.set_major_locator(MaxNLocator(4))


def _width_curves(ax: Axes, evaluation: Evaluation, name: str, colours: Mapping[str, str]) -> None:
    places = np.arange(len(WIDTH_BINS))
    for number, fill in enumerate(evaluation.fills):
        means = [evaluation.mean(fill, width_metric) for width_metric in width_metrics(name)]
        shifted = places + 0.05 * (number - (len(evaluation.fills) - 1) / 2)
        values = np.array([[value.mean, value.low, value.high] for value in means])
        ax.plot(shifted, values[:, 0], "o-", color=colours[fill], label=text.figure(fill), linewidth=1.6, markersize=5)
        ax.vlines(shifted, values[:, 1], values[:, 2], color=colours[fill], linewidth=2.5, alpha=0.45)
    better = "more" if METRICS[name].higher_is_better else "less"
    _label(ax, f"{METRICS[name].label} by hole width", "width along the row, px", f"{better} is better")
    ax.set_xticks(places, list(WIDTH_BINS))
