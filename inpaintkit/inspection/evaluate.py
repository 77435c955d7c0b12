"""How good fills are, measured inside holes only: a full-frame figure would rank doing nothing first."""

from __future__ import annotations

import csv
import io
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from inpaintkit.data import InpaintDataset
from inpaintkit.data.manifest import PICTURE_SUFFIX, data_set_names, is_record, read_manifest
from inpaintkit.errors import InputError
from inpaintkit.files import atomic_write_text
from inpaintkit.inspection.fills import Fill
from inpaintkit.seeds import numpy_rng
from inpaintkit.training import metrics
from inpaintkit.training.perceptual import Lpips

WIDTH_BINS: dict[str, tuple[int, int | None]] = {"1-2": (1, 2), "3-5": (3, 5), "6-9": (6, 9), "10+": (10, None)}
"""Hole widths along the row in px, both limits included."""

BOOTSTRAP_ROUNDS = 2000
CONFIDENCE = 0.95


@dataclass(frozen=True)
class Metric:
    """How a figure is called, printed and read."""

    label: str
    unit: str
    higher_is_better: bool
    digits: int

    def text(self, value: float) -> str:
        """Return `value` with this metric's digits, an en dash where there is none."""
        return "–" if np.isnan(value) else f"{value:.{self.digits}f}"


METRICS: dict[str, Metric] = {
    "psnr": Metric("PSNR", "dB", True, 2),
    "ssim": Metric("SSIM", "", True, 3),
    "lpips": Metric("LPIPS", "", False, 4),
    "artefact": Metric("artefact score", "", False, 3),
    **{f"psnr_{name}": Metric(f"PSNR, {name} px", "dB", True, 2) for name in WIDTH_BINS},
}
"""Figures of a score, each over hole pixels; ``psnr_1-2`` and so on over the pixels of holes of that width."""


RANKED_METRICS = ("psnr", "ssim", "lpips")
MAIN_METRICS = (*RANKED_METRICS, "artefact")


@dataclass(frozen=True)
class Score:
    """How one fill did on one record. A figure that doesn't exist there (no hole of that width) is NaN."""

    record: str
    picture: str
    fill: str
    hole_pixels: int
    figures: Mapping[str, float]


@dataclass(frozen=True)
class Interval:
    """A mean over records and its bootstrap interval; both limits NaN where only one picture speaks."""

    mean: float
    low: float
    high: float


@dataclass(frozen=True)
class Example:
    """One record to look at: float (3, h, w) pictures, bool (1, h, w) hole, True = missing; `fills` by name."""

    record: str
    picture: torch.Tensor
    hole: torch.Tensor
    fills: Mapping[str, torch.Tensor]


@dataclass(frozen=True)
class Evaluation:
    """Scores of all fills on the same records, and what they say together."""

    scores: tuple[Score, ...]

    @property
    def fills(self) -> list[str]:
        """Names of the fills, in the order given."""
        return list(dict.fromkeys(score.fill for score in self.scores))

    @property
    def records(self) -> list[str]:
        """Names of the records, in the order judged."""
        return list(dict.fromkeys(score.record for score in self.scores))

    def of(self, fill: str) -> list[Score]:
        """Return the scores of `fill`; raise `InputError` if there is no such fill."""
        if fill not in self.fills:
            raise InputError(f"fill: {fill!r} was not evaluated; choose one of {', '.join(self.fills)}")
        return [score for score in self.scores if score.fill == fill]

    def mean(self, fill: str, metric: str) -> Interval:
        """Return the mean of `metric` over records with its 95 % interval."""
        scores = self.of(fill)
        return bootstrap([score.figures[metric] for score in scores], [score.picture for score in scores])

    def difference(self, fill: str, other: str, metric: str) -> Interval:
        """Return by how much `fill` lies above `other`, paired by record: far sharper than comparing two intervals."""
        pairs = list(zip(self.of(fill), self.of(other), strict=True))
        values = [one.figures[metric] - two.figures[metric] for one, two in pairs]
        return bootstrap(values, [one.picture for one, _ in pairs])

    def ranking(self, metric: str) -> list[str]:
        """Return the fills that have `metric`, best mean first."""
        means = {fill: self.mean(fill, metric).mean for fill in self.fills}
        known = [fill for fill in self.fills if not np.isnan(means[fill])]
        return sorted(known, key=lambda fill: means[fill], reverse=METRICS[metric].higher_is_better)

    def best(self, fill: str, count: int = 3) -> list[str]:
        """Return the records on which `fill` reached the highest PSNR, best first."""
        return self._by_psnr(fill)[:count]

    def worst(self, fill: str, count: int = 3) -> list[str]:
        """Return the records on which `fill` reached the lowest PSNR, worst first."""
        return self._by_psnr(fill)[::-1][:count]

    def median(self, fill: str, count: int = 3) -> list[str]:
        """Return the records in the middle of `fill`'s ranking by PSNR."""
        ranked = self._by_psnr(fill)
        first = max((len(ranked) - count) // 2, 0)
        return ranked[first : first + count]

    def _by_psnr(self, fill: str) -> list[str]:
        known = [score for score in self.of(fill) if not np.isnan(score.figures["psnr"])]
        return [score.record for score in sorted(known, key=lambda score: -score.figures["psnr"])]

    def table(self) -> str:
        """Return means with 95 % intervals, one row per fill, as Markdown."""
        arrows = {True: "↑", False: "↓"}
        heads = [f"{m.label}{f' ({m.unit})' if m.unit else ''} {arrows[m.higher_is_better]}" for m in METRICS.values()]
        lines = [f"| fill | {' | '.join(heads)} |", "| --- |" + " ---: |" * len(heads)]
        for fill in self.fills:
            cells = [_cell(self.mean(fill, name), metric) for name, metric in METRICS.items()]
            lines.append(f"| {fill} | {' | '.join(cells)} |")
        return "\n".join(lines) + "\n"

    def to_csv(self, path: str | Path) -> Path:
        """Write one row per record and fill, atomically; raise `InputError` where that is impossible."""
        text = io.StringIO()
        writer = csv.writer(text, lineterminator="\n")
        writer.writerow(["record", "picture", "fill", "hole_pixels", *METRICS])
        for score in self.scores:
            figures = ["" if np.isnan(score.figures[name]) else f"{score.figures[name]:.6g}" for name in METRICS]
            writer.writerow([score.record, score.picture, score.fill, score.hole_pixels, *figures])
        atomic_write_text(path, text.getvalue())
        return Path(path)

    def summary(self) -> dict[str, float | int | str]:
        """Return the main figures flat, ready to record: ``FILL psnr`` and so on."""
        means = {f"{fill} {name}": self.mean(fill, name).mean for fill in self.fills for name in MAIN_METRICS}
        pictures = len({score.picture for score in self.scores})
        return {
            "records": len(self.records),
            "pictures": pictures,
            **{k: v for k, v in means.items() if not np.isnan(v)},
        }

    def verdict(self) -> str:
        """Return one paragraph in plain words: what is better than what inside holes, by how much, how sure."""
        pictures = len({score.picture for score in self.scores})
        opening = (
            f"Judged inside the holes of {count_of(len(self.records), 'record')} from {count_of(pictures, 'picture')}, "
            f"with {CONFIDENCE:.0%} intervals by bootstrap over pictures."
        )
        sentences = [*(self._sentence(name) for name in RANKED_METRICS), self._artefact_sentence()]
        widths = [f"{name} px {ranked[0]}" for name in WIDTH_BINS if (ranked := self.ranking(f"psnr_{name}"))]
        by_width = f"Best PSNR by hole width: {', '.join(widths)}." if widths and len(self.fills) > 1 else ""
        return " ".join(sentence for sentence in (opening, *sentences, by_width) if sentence)

    def _sentence(self, name: str) -> str:
        metric, ranked = METRICS[name], self.ranking(name)
        if not ranked:
            return ""
        leader, unit = ranked[0], f" {metric.unit}" if metric.unit else ""
        sentence = f"{metric.label}: {leader} is best with {metric.text(self.mean(leader, name).mean)}{unit}"
        ahead, unclear = [], []
        for other in ranked[1:]:
            gap = self.difference(leader, other, name)
            if gap.low > 0 or gap.high < 0:
                low, high = sorted((abs(gap.low), abs(gap.high)))
                ahead.append(f"{other} by {metric.text(abs(gap.mean))} [{metric.text(low)}, {metric.text(high)}]")
            else:
                unclear.append(other)
        sentence += f", ahead of {', '.join(ahead)}" if ahead else ""
        return sentence + (f", not told apart from {', '.join(unclear)}" if unclear else "") + "."

    def _artefact_sentence(self) -> str:
        # The score scatters around 0 where there is no pattern, so only fills that are clearly above 0 are worth a word.
        found = {fill: self.mean(fill, "artefact") for fill in self.fills}
        seen = [f"{fill} ({METRICS['artefact'].text(value.mean)})" for fill, value in found.items() if value.low > 0]
        return f"A 4 px grid shows in {', '.join(seen)}." if seen else "None shows a 4 px grid."


def count_of(number: int, noun: str) -> str:
    """Return ``1 record``, ``2 records``."""
    return f"{number} {noun}{'' if number == 1 else 's'}"


def _cell(interval: Interval, metric: Metric) -> str:
    if np.isnan(interval.low):
        return metric.text(interval.mean)
    return f"{metric.text(interval.mean)} [{metric.text(interval.low)}, {metric.text(interval.high)}]"


def bootstrap(values: Sequence[float], groups: Sequence[str]) -> Interval:
    """Return the mean of the known `values` and its percentile bootstrap interval over whole `groups`.

    Records of one picture resemble each other, so pictures (`groups`) are what is drawn again, not records.
    NaN values are left out. The draws are seeded: the same values give the same interval.
    """
    known = [(value, group) for value, group in zip(values, groups, strict=True) if not np.isnan(value)]
    if not known:
        return Interval(np.nan, np.nan, np.nan)
    numbers = np.array([value for value, _ in known], dtype=np.float64)
    _, member = np.unique([group for _, group in known], return_inverse=True)
    sums, counts = np.bincount(member, numbers), np.bincount(member)
    if len(counts) == 1:
        return Interval(float(numbers.mean()), np.nan, np.nan)
    rng = numpy_rng("bootstrap", len(counts))
    draws = np.array(
        [
            np.bincount(rng.integers(len(counts), size=len(counts)), minlength=len(counts))
            for _ in range(BOOTSTRAP_ROUNDS)
        ]
    )
    low, high = np.quantile(draws @ sums / (draws @ counts), [(1 - CONFIDENCE) / 2, (1 + CONFIDENCE) / 2])
    return Interval(float(numbers.mean()), float(low), float(high))


def evaluate(
    fills: Mapping[str, Fill],
    dataset: InpaintDataset,
    lpips_network: str = "alex",
    max_records: int | None = None,
    progress: Callable[[int, int, str], None] | None = None,
) -> Evaluation:
    """Fill the holes of the evaluation records with each of `fills` and compare with the truth, inside holes only.

    No fill sees the truth: hole pixels are 0 in what it gets. Records without a hole inside the judged area are left out.

    Args:
        fills: functions by name, see `fills.Fill`; an `Inpainter` is one.
        dataset: evaluation records (``training=False``).
        lpips_network: ``"alex"`` or ``"vgg"``.
        max_records: judge only so many, spread evenly over the data set; None: all.
        progress: called with (records done, all records, name of the record).

    Raises `InputError` if there is nothing to judge.
    """
    if not fills:
        raise InputError("fills: none given; pass for instance FILLS, or {'model': Inpainter(checkpoint)}")
    lpips, sources = Lpips(lpips_network), source_pictures(dataset)
    chosen = spread(len(dataset), max_records)
    scores: list[Score] = []
    for done, index in enumerate(chosen, 1):
        record = record_name(dataset.names[index])
        x, hole, truth, frame = _record(dataset, index)
        if bool(_inner(hole, frame).any()):
            for name, fill in fills.items():
                filled = _inner(run_fill(fill, x, hole), frame)
                figures = judge(filled, truth, hole, frame, lpips)
                pixels = int(_inner(hole, frame).sum())
                scores.append(Score(record, sources.get(dataset.names[index], record), name, pixels, figures))
        if progress is not None:
            progress(done, len(chosen), record)
    if not scores:
        raise InputError("dataset: no evaluation record has a hole inside its judged area; generate a larger data set")
    return Evaluation(tuple(scores))


def examples(fills: Mapping[str, Fill], dataset: InpaintDataset, records: Iterable[str]) -> list[Example]:
    """Return the named records of `dataset` filled by each of `fills`, ready for `figures.before_after`."""
    found, known = [], [record_name(file) for file in dataset.names]
    for name in records:
        if name not in known:
            raise InputError(f"records: {name!r} is not in the data set; its first record is {known[0]!r}")
        x, hole, truth, frame = _record(dataset, known.index(name))
        filled = {fill_name: _inner(run_fill(fill, x, hole), frame)[0] for fill_name, fill in fills.items()}
        found.append(Example(name, truth[0], _inner(hole, frame)[0], filled))
    return found


def judge(filled: torch.Tensor, truth: torch.Tensor, hole: torch.Tensor, frame: int, lpips: Lpips) -> dict[str, float]:
    """Return every figure of `METRICS` for one filled record.

    `filled` and `truth` (1, 3, h, w) lack the `frame` px that `hole` (1, 1, h + 2 frame, w + 2 frame) still has, so
    that a hole cut by the frame counts with its whole width.
    """
    inner, widths = _inner(hole, frame), _inner(metrics.hole_widths(hole), frame)
    figures = {
        "psnr": metrics.hole_psnr(filled, truth, inner),
        "ssim": metrics.hole_ssim(filled, truth, inner),
        "lpips": metrics.hole_lpips(filled, truth, inner, lpips),
        "artefact": metrics.artefact_score(filled, truth, inner),
    }
    for name, (low, high) in WIDTH_BINS.items():
        part = (widths >= low) & (widths <= (high or widths.shape[-1] + 2 * frame))
        figures[f"psnr_{name}"] = metrics.hole_psnr(filled, truth, part)
    return {name: float(value) for name, value in figures.items()}


@torch.no_grad()
def run_fill(fill: Fill, picture: torch.Tensor, hole: torch.Tensor) -> torch.Tensor:
    """Return what `fill` makes of a record (right-eye orientation) whose hole pixels it can't see, clamped to 0..1."""
    return fill(picture.masked_fill(hole, 0), hole, "right").to(picture).clamp(0, 1)


def spread(count: int, wanted: int | None) -> list[int]:
    """Return `wanted` (None: all) of `count` indices, spread evenly.

    >>> spread(10, 3)
    [0, 3, 6]
    """
    wanted = count if wanted is None else min(wanted, count)
    return [number * count // wanted for number in range(wanted)]


def record_name(picture_file: str) -> str:
    """Return the name of a record from that of its picture: without ``_C.png``."""
    return picture_file.removesuffix(PICTURE_SUFFIX)


def source_pictures(dataset: InpaintDataset) -> dict[str, str]:
    """Return for each record's picture file the photo it was cut from, as far as the data set's manifest tells."""
    root = dataset.folder.parent
    rows = (row for name in data_set_names(root) for row in read_manifest(root, name) if is_record(row))
    return {str(row["picture"]): str(row["source"]) for row in rows}


def _record(dataset: InpaintDataset, index: int) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor, int]:
    x, hole, truth, _ = dataset[index]
    return x[None], hole[None] > 0, truth[None], (x.shape[-1] - truth.shape[-1]) // 2


def _inner(values: torch.Tensor, frame: int) -> torch.Tensor:
    return values[..., frame : values.shape[-2] - frame, frame : values.shape[-1] - frame]
