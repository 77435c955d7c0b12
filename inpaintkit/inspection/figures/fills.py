"""Draw the results of fills: pictures side by side, figures, spectra, the discriminator's judgement."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import cache
from itertools import cycle

import numpy as np
import torch
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from inpaintkit import text
from inpaintkit.data import InpaintDataset
from inpaintkit.hole_colour import paint_hole
from inpaintkit.inspection.evaluate import as_truth, filled_cases, run_fill
from inpaintkit.inspection.figures import base
from inpaintkit.inspection.fills import Fill
from inpaintkit.inspection.scores import (
    MAIN_METRICS,
    METRICS,
    RANKED_METRICS,
    WIDTH_BINS,
    Evaluation,
    width_metrics,
)
from inpaintkit.inspection.spectrum import spectrum, step_products
from inpaintkit.inspection.tables import title_of
from inpaintkit.inspection.truths import Case, Truth
from inpaintkit.inspection.zoom import zoom_boxes
from inpaintkit.model.discriminator import CELL, CUT_CELLS
from inpaintkit.training.feeding import evenly
from inpaintkit.training.metrics import hole_psnr

Realness = Callable[[torch.Tensor, torch.Tensor], torch.Tensor]
"""(pictures (B, 3, H, W), their truth (1, 3, H, W)) -> logits (B, 1, H // 8 - 4, W // 8 - 4), high = looks real.

``GanTrainer.realness`` is one.
"""

GRID_FREQUENCIES = (0.125, 0.25, 0.375, 0.5)  # cycles per px: the generator's grids of 8 and 4 px


def hole_spectra(records: Truth | InpaintDataset, fills: Mapping[str, Fill], n: int = 16) -> Figure:
    """Plot the spectrum inside holes of the truth and of each fill; dotted: the generator's grids of 8 and 4 px."""
    truth = as_truth(records)
    totals: dict[str, list[torch.Tensor]] = {}
    for case, filled in filled_cases(fills, truth, evenly(truth.names, n)):
        for name, picture in {"truth": case.truth, **filled}.items():
            found = step_products(picture.cpu(), case.judged.cpu())
            totals[name] = [a + b for a, b in zip(totals[name], found, strict=True)] if name in totals else list(found)
    figure = base.KitFigure(figsize=(7.5, 3.4), layout="constrained")
    ax = figure.subplots()
    for colour, (name, (sums, counts)) in zip(cycle(("#000000", *base.PALETTE[:-1])), totals.items(), strict=False):
        frequencies, power = spectrum(sums, counts)
        ax.semilogy(frequencies.numpy(), power.numpy(), color=colour, label=text.figure(name), linewidth=1.8)
    for frequency in GRID_FREQUENCIES:
        ax.axvline(frequency, color=base.QUIET, linewidth=1, linestyle=":")
    base.label_axes(ax, "power of pixel differences inside holes", "cycles per px", "")
    ax.legend(frameon=False, fontsize=base.TEXT_SIZE, labelcolor=base.INK)
    return figure


def discriminator_maps(
    records: Truth | InpaintDataset, fills: Mapping[str, Fill], realness: Realness, n: int = 4
) -> Figure:
    """Show what a discriminator finds real (blue) or filled (red), painted over the truth and over each fill.

    After training by pairs, blue and red mean more and less real than the truth at the same place; the truth has no
    colour.
    """
    truth = as_truth(records)
    cut = CELL * CUT_CELLS
    rows = filled_cases(fills, truth, evenly(truth.names, n))
    figure, axes = base.image_grid(len(rows), len(fills) + 2)
    for line, (case, filled) in zip(axes, rows, strict=True):
        pictures = torch.cat((case.truth, *filled.values()))
        maps = realness(pictures, case.truth)[:, 0].cpu().numpy()
        strongest = float(np.abs(maps).max()) or 1.0
        height, width = pictures.shape[-2:]
        extent = (cut - 0.5, width - cut - 0.5, height - cut - 0.5, cut - 0.5)  # pixel centres lie at whole numbers
        base.show_picture(line[0], paint_hole(case.truth, case.judged)[0])
        for ax, picture, logits in zip(line[1:], pictures, maps, strict=True):
            base.show_picture(ax, picture)
            ax.imshow(logits, cmap="RdBu", vmin=-strongest, vmax=strongest, alpha=0.55, extent=extent)
            ax.set_xlim(-0.5, width - 0.5)
            ax.set_ylim(height - 0.5, -0.5)
        line[0].set_ylabel(base.short(case.name), fontsize=base.SMALL_SIZE, color=base.QUIET)
    base.set_titles(axes[0], (title_of(title, text.figure) for title in ("hole", "truth", *fills)))
    return figure


def before_after(
    records: Truth | InpaintDataset, fills: Mapping[str, Fill], names: Sequence[str] | None = None, n: int = 6
) -> Figure:
    """Show the largest hole of each record, zoomed: with the hole in magenta, filled by each of `fills`, and the truth.

    `names`: the records to show, for instance ``evaluation.worst("model")``; None: `n` of them, spread evenly. Below
    each fill is its PSNR inside the part of the hole that is shown.
    """
    truth = as_truth(records)
    rows = filled_cases(fills, truth, evenly(truth.names, n) if names is None else names)
    figure, axes = base.image_grid(len(rows), len(fills) + 2)
    for line, (case, filled) in zip(axes, rows, strict=True):
        _case_row(line, case, filled.values())
    base.set_titles(axes[0], (title_of(title, text.figure) for title in ("hole", *fills, "truth")))
    return figure


def extremes(records: Truth | InpaintDataset, fills: Mapping[str, Fill], evaluation: Evaluation) -> Figure:
    """Show each fill's own best, median and worst record by PSNR: hole, fill and truth each, one row per fill.

    Of each record the largest hole is shown. Below each fill is its PSNR in all holes of the record, by which the
    record was chosen.
    """
    figure, axes = base.image_grid(len(fills), 9, inches=base.TILE_INCHES * 0.75)
    base.set_heading(figure, evaluation.title)
    case_of = cache(as_truth(records).case)  # several fills may choose the same record
    for line, (name, fill) in zip(axes, fills.items(), strict=True):
        psnr = {score.record: score.figures["psnr"] for score in evaluation.of(name)}
        chosen = [
            record for choose in (evaluation.best, evaluation.median, evaluation.worst) for record in choose(name, 1)
        ]
        for place, record in enumerate(chosen):
            tiles = line[3 * place : 3 * place + 3]
            _case_row(tiles, case_of(record), [run_fill(name, fill, case_of(record))])
            _label_psnr(tiles[1], psnr[record], "record: ")
        line[0].set_ylabel(title_of(name, base.short), fontsize=base.TEXT_SIZE, color=base.INK)
    words = ("best", "median", "worst")
    base.set_titles(
        axes[0], (title for word in words for title in (f"{word}: hole", "filled", "truth")), base.TEXT_SIZE
    )
    return figure


def metrics_bars(evaluation: Evaluation) -> Figure:
    """Plot each fill's mean and 95 % interval for every metric, and PSNR, SSIM and LPIPS over hole width.

    Points rather than bars: PSNR and SSIM have no meaningful zero for a bar to start at.
    """
    shown = [m for m in MAIN_METRICS if evaluation.ranking(m)]
    figure = base.KitFigure(figsize=(2.75 * len(shown), 5.4 + 0.28 * len(evaluation.fills)), layout="constrained")
    base.set_heading(figure, evaluation.title)
    grid = figure.add_gridspec(2, 1, height_ratios=[1.6 + 0.28 * len(evaluation.fills), 3])
    above, below = figure.add_subfigure(grid[0]), figure.add_subfigure(grid[1])
    colours = dict(zip(evaluation.fills, cycle(base.PALETTE), strict=False))
    axes = dict(zip(shown, above.subplots(1, len(shown), squeeze=False)[0], strict=True))
    for name in shown:
        _points(axes[name], evaluation, name, colours)
    for name in shown[1:]:
        axes[name].set_yticklabels([])
    if "artefact" in axes:
        axes["artefact"].axvline(0, color=base.QUIET, linewidth=1, linestyle=":")
        axes["artefact"].set_xlabel("0: nothing repeats every 8 px", fontsize=base.TEXT_SIZE, color=base.QUIET)
    ranked = [m for m in RANKED_METRICS if m in shown]
    curves = below.subplots(1, len(ranked), squeeze=False)[0]
    for ax, name in zip(curves, ranked, strict=True):
        _width_curves(ax, evaluation, name, colours)
    curves[-1].legend(
        frameon=False, fontsize=base.TEXT_SIZE, labelcolor=base.INK, loc="center left", bbox_to_anchor=(1.0, 0.5)
    )
    return figure


def _case_row(line: np.ndarray, case: Case, fills: Iterable[torch.Tensor]) -> None:
    top, left, side = zoom_boxes(case.judged[0, 0])[0]
    crop = (..., slice(top, top + side), slice(left, left + side))
    truth, hole = case.truth[crop], case.judged[crop]
    base.show_picture(line[0], paint_hole(truth, hole)[0])
    for ax, filled in zip(line[1:-1], fills, strict=True):
        base.show_picture(ax, filled[crop][0])
        _label_psnr(ax, float(hole_psnr(filled[crop], truth, hole)))
    base.show_picture(line[-1], truth[0])
    line[0].set_ylabel(base.short(case.name), fontsize=base.SMALL_SIZE, color=base.QUIET)
    line[0].set_xlabel(f"{side} × {side} px", fontsize=base.SMALL_SIZE, color=base.QUIET)


def _points(ax: Axes, evaluation: Evaluation, name: str, colours: Mapping[str, str]) -> None:
    metric = METRICS[name]
    for place, fill in enumerate(evaluation.fills):
        value = evaluation.mean(fill, name)
        if not np.isnan(value.mean):
            ax.plot([value.low, value.high], [place, place], color=colours[fill], linewidth=3, alpha=0.45)
            ax.plot(value.mean, place, "o", color=colours[fill], markersize=7)
            label = ax.annotate(metric.text(value.mean), (value.mean, place), (0, 7), textcoords="offset points")
            label.set(ha="center", fontsize=base.SMALL_SIZE, color=base.INK)
    base.label_axes(ax, metric.label, metric.better, "")
    titles = [title_of(fill, text.figure) for fill in evaluation.fills]
    ax.set_yticks(range(len(titles)), titles, fontsize=base.TEXT_SIZE, color=base.INK)
    ax.set_ylim(len(evaluation.fills) - 0.4, -0.7)
    ax.margins(x=0.15)
    ax.xaxis.set_major_locator(MaxNLocator(4))


def _width_curves(ax: Axes, evaluation: Evaluation, name: str, colours: Mapping[str, str]) -> None:
    places = np.arange(len(WIDTH_BINS))
    for number, fill in enumerate(evaluation.fills):
        means = [evaluation.mean(fill, width_metric) for width_metric in width_metrics(name)]
        shifted = places + 0.05 * (number - (len(evaluation.fills) - 1) / 2)
        values = np.array([[value.mean, value.low, value.high] for value in means])
        label = title_of(fill, text.figure)
        ax.plot(shifted, values[:, 0], "o-", color=colours[fill], label=label, linewidth=1.6, markersize=5)
        ax.vlines(shifted, values[:, 1], values[:, 2], color=colours[fill], linewidth=2.5, alpha=0.45)
    metric = METRICS[name]
    base.label_axes(ax, f"{metric.label} by hole width", "width along the row, px", metric.better)
    ax.set_xticks(places, list(WIDTH_BINS))


def _label_psnr(ax: Axes, psnr: float, of: str = "") -> None:
    ax.set_xlabel(f"{of}{METRICS['psnr'].text(psnr)} dB", fontsize=base.SMALL_SIZE, color=base.QUIET)
