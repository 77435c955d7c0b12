"""Format evaluations as Markdown tables."""

from collections.abc import Callable, Mapping, Sequence

import numpy as np

from inpaintkit import text
from inpaintkit.inspection.holes import RING_WIDTH
from inpaintkit.inspection.scores import (
    CONFIDENCE,
    MAIN_METRICS,
    METRICS,
    RANKED_METRICS,
    RING_METRICS,
    Evaluation,
    Interval,
    Metric,
    bootstrap,
    width_metrics,
)

HOLES = {"iou": Metric("IoU", "", True, 3), "stray": Metric("stray pixels", "px", False, 0)}
FILL_TITLES = {
    "row": "row fill",
    "telea": "Telea",
    "navier_stokes": "Navier-Stokes",
    "biharmonic": "biharmonic fill",
    "model": "this model",
}
"""Titles of the built-in fills and of the judged model."""


def title_of(fill: str, safe: Callable[[str], str] = text.markdown) -> str:
    """Return the title of `fill` in `FILL_TITLES`, or else its name, escaped by `safe` for where it is shown."""
    return FILL_TITLES.get(fill, safe(fill))


def short_table(results: Sequence[Evaluation]) -> str:
    """Return a table of PSNR and LPIPS inside the holes of each truth: one row per fill, each column's best in bold."""
    columns = [(result, name) for result in results for name in ("psnr", "lpips") if result.ranking(name)]
    heads = [f"{result.title}: {METRICS[name].heading}" for result, name in columns]
    fills = dict.fromkeys(fill for result in results for fill in result.fills)
    return _fill_table("fill", heads, {fill: [_best_in_bold(*column, fill) for column in columns] for fill in fills})


def _best_in_bold(result: Evaluation, name: str, fill: str) -> str:
    if fill not in result.fills:
        return "–"
    value = METRICS[name].text(result.mean(fill, name).mean)
    return f"**{value}**" if result.ranking(name)[:1] == [fill] else value


def table(result: Evaluation, names: Sequence[str] = MAIN_METRICS) -> str:
    """Return a Markdown table of the metrics `names` that any fill has: means with 95 % intervals, one row per fill."""
    shown = [name for name in names if result.ranking(name)]
    rows = {fill: [cell(result.mean(fill, name), METRICS[name]) for name in shown] for fill in result.fills}
    return _fill_table("fill", [METRICS[name].heading for name in shown], rows)


def tables(result: Evaluation) -> str:
    """Return all tables as Markdown: inside holes, in the ring around them, by hole width, and of holes themselves."""
    parts = [
        f"## {result.title}: {result.extent()}",
        f"Inside holes, means with {CONFIDENCE:.0%} intervals:",
        table(result),
        f"In the known pixels up to {RING_WIDTH} px around holes (a fill should leave them alone):",
        table(result, RING_METRICS),
    ]
    for name in RANKED_METRICS:
        parts += [
            f"{METRICS[name].label} inside holes by their width along the row:",
            table(result, width_metrics(name)),
        ]
    if result.holes:
        names = [hole.record for hole in result.holes]
        iou, stray = (bootstrap([getattr(hole, figure) for hole in result.holes], names) for figure in HOLES)
        parts.append(
            f"The holes against what is really hidden: intersection over union {cell(iou, HOLES['iou'])}, "
            f"stray pixels per picture {cell(stray, HOLES['stray'])}."
        )
    return "\n\n".join(part.strip() for part in parts) + "\n"


def versus(result: Evaluation, fill: str) -> str:
    """Return a Markdown table of how much better (positive) or worse `fill` is than each other fill, paired by record.

    Differences whose interval excludes 0 are in bold.
    """
    names = [*RANKED_METRICS, *(name for metric in RANKED_METRICS for name in width_metrics(metric))]
    rows: dict[str, list[str]] = {}
    for other in result.fills:
        if other != fill:
            gaps = {name: result.advantage(fill, other, name) for name in names}
            cells = {name: cell(gap, METRICS[name], signed=True) for name, gap in gaps.items()}
            rows[other] = [f"**{cells[name]}**" if gap.excludes_0 else cells[name] for name, gap in gaps.items()]
    return _fill_table(f"{title_of(fill)} against", [METRICS[name].label for name in names], rows)


def _fill_table(first: str, heads: Sequence[str], rows: Mapping[str, Sequence[str]]) -> str:
    """Return a Markdown table with one row of cells per fill; `first` is the heading above their names."""
    lines = [[first, *heads], [":---", *["---:"] * len(heads)], *([title_of(fill), *row] for fill, row in rows.items())]
    return "".join(f"| {' | '.join(line)} |\n" for line in lines)


def cell(interval: Interval, metric: Metric, signed: bool = False) -> str:
    """Return a mean as text, with its interval if there is one."""
    mean, low, high = (
        f"{'+' if signed and value > 0 else ''}{metric.text(value)}"
        for value in (interval.mean, interval.low, interval.high)
    )
    return mean if np.isnan(interval.low) else f"{mean} [{low}, {high}]"
