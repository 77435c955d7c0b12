"""Plot the curves of a training from its loss CSV."""

import contextlib
import math
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from inpaintkit.errors import InputError
from inpaintkit.inspection.figures import base
from inpaintkit.inspection.run_state import loss_rows
from inpaintkit.training.callbacks import Callback, RunView
from inpaintkit.training.gan_epochs import FIGURES

EPOCHS = {"integer": True, "min_n_ticks": 1}
"""Ticks of an axis of epochs: whole numbers only, even for a single epoch."""

BASELINES = {"hole_psnr": "hole_psnr_row_fill"}
"""Columns of a loss CSV that are drawn in the panel of another one, which has to beat them."""


class CurveFile(Callback):
    """Redraws ``figures/loss_curves.png`` in the run folder after evaluations and at the end of a run.

    It serves runs that nobody watches. It draws at most every `SECONDS`, and at the end if there are new rows.
    """

    SECONDS = 10.0
    """Drawing takes half a second, longer than a short epoch."""

    def on_start(self, run: RunView) -> None:
        self._drawn = time.monotonic()
        self._more = False

    def on_row(self, run: RunView, row: Mapping[str, float | int | str]) -> None:
        self._more = True
        if row["split"] == "eval" and time.monotonic() > self._drawn + self.SECONDS:
            self._draw(run)

    def on_end(self, run: RunView) -> None:
        with contextlib.suppress(InputError):  # the error that ended the run is more important
            if self._more:
                self._draw(run)

    def _draw(self, run: RunView) -> None:
        base.save_figure(loss_curves(run.csv_file), run.folder / "figures" / "loss_curves.png")
        self._drawn = time.monotonic()
        self._more = False


def loss_curves(csv_path: str | Path) -> Figure:
    """Plot each column of a trainer's loss CSV over epochs, for training and evaluation, with the learning rate last.

    The hole PSNR of row fill is drawn with the network's. Raises `InputError` if the file is missing or holds no epoch
    yet.
    """
    rows = loss_rows(csv_path)
    skipped = {"epoch", "split", "seconds", *BASELINES.values()}
    names = list(dict.fromkeys(name for row in rows for name, value in row.items() if value and name not in skipped))
    names.sort(key=lambda name: (name != "total", name == "learning_rate"))
    columns = min(len(names), 3)
    lines = math.ceil(len(names) / columns)
    figure = base.KitFigure(figsize=(3.6 * columns, 2.5 * lines + 0.3), layout="constrained")
    axes = figure.subplots(lines, columns, squeeze=False)
    for ax, name in zip(axes.flat, names, strict=False):
        _curve(ax, rows, name)
    for ax in axes.flat[len(names) :]:
        ax.set_axis_off()
    axes.flat[0].legend(frameon=False, fontsize=base.TEXT_SIZE, labelcolor=base.INK)
    return figure


def gan_epochs(csv_path: str | Path, picked: int) -> Figure:
    """Plot the figures inside holes of each judged epoch of GAN fine-tuning, with `picked` (0: none) marked.

    A dotted line shows the values at the start.
    """
    rows = [row for row in loss_rows(csv_path) if row["split"] == "eval" and row.get("score")]
    figure = base.KitFigure(figsize=(3.2 * len(FIGURES), 2.8), layout="constrained")
    for ax, (name, title) in zip(figure.subplots(1, len(FIGURES)), FIGURES.items(), strict=True):
        epochs, values = [int(row["epoch"]) for row in rows], [float(row[name]) for row in rows]
        ax.plot(epochs, values, color=base.PALETTE[0], linewidth=1.8, marker="o", markersize=3.5)
        ax.axhline(values[0], color=base.QUIET, linewidth=1, linestyle=":")
        if picked and picked in epochs:
            ax.plot(
                picked, values[epochs.index(picked)], "o", color=base.PALETTE[1], markersize=9, fillstyle="none", mew=2
            )
        base.label_axes(ax, title, "epoch", "")
        ax.xaxis.set_major_locator(MaxNLocator(**EPOCHS))
    return figure


def _curve(ax: Axes, rows: Sequence[Mapping[str, str]], name: str) -> None:
    splits = {"train": (base.PALETTE[0], "-", "training"), "eval": (base.PALETTE[1], "--", "evaluation")}
    for split, (colour, style, label) in splits.items():
        points = [(int(row["epoch"]), float(row[name])) for row in rows if row["split"] == split and row.get(name)]
        if points:
            epochs, values = zip(*points, strict=True)
            marker = "o" if len(points) < 30 else None
            ax.plot(epochs, values, style, color=colour, label=label, linewidth=1.8, marker=marker, markersize=3.5)
    baseline = [(int(row["epoch"]), float(row[BASELINES[name]])) for row in rows if row.get(BASELINES.get(name, ""))]
    if baseline:
        style = ":" if len(baseline) > 1 else "."  # a line of one point can't be seen
        ax.plot(*zip(*baseline, strict=True), style, color=base.QUIET, label="row fill", linewidth=1.6)
        ax.legend(frameon=False, fontsize=base.SMALL_SIZE, labelcolor=base.INK)
    if name == "learning_rate":
        ax.set_yscale("log")
    base.label_axes(ax, FIGURES.get(name, name.replace("_", " ")), "epoch", "")
    ax.xaxis.set_major_locator(MaxNLocator(**EPOCHS))
