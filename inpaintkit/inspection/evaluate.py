"""How good fills are, measured inside holes only: a full-frame figure would rank doing nothing first."""

from __future__ import annotations

import csv
import functools
import io
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch

from inpaintkit.config import InspectConfig
from inpaintkit.data import InpaintDataset
from inpaintkit.errors import InputError
from inpaintkit.files import atomic_write_text
from inpaintkit.inspection.fills import Fill
from inpaintkit.inspection.stereo_truth import stereo_truth
from inpaintkit.inspection.truths import Case, Truth, photo_truth, read_textures, record_truth, scene_truth
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

    @property
    def heading(self) -> str:
        """The label with unit and an arrow towards better."""
        return f"{self.label}{f' ({self.unit})' if self.unit else ''} {'↑' if self.higher_is_better else '↓'}"

    def text(self, value: float) -> str:
        """Return `value` with this metric's digits, an en dash where there is none."""
        return "–" if np.isnan(value) else f"{value:.{self.digits}f}"


RANKED_METRICS = ("psnr", "ssim", "lpips")
MAIN_METRICS = ("psnr", "ssim", "lpips", "lpips_vgg", "artefact", "siou")
RING_METRICS = tuple(f"{name}_ring" for name in RANKED_METRICS)


def width_metrics(name: str) -> tuple[str, ...]:
    """Return the names of `name`, one of `RANKED_METRICS`, by hole width."""
    return tuple(f"{name}_{width}" for width in WIDTH_BINS)


METRICS: dict[str, Metric] = {
    "psnr": Metric("PSNR", "dB", True, 2),
    "ssim": Metric("SSIM", "", True, 3),
    "lpips": Metric("LPIPS", "", False, 4),
    "lpips_vgg": Metric("LPIPS-VGG", "", False, 4),
    "artefact": Metric("artefact score", "", False, 3),
    "siou": Metric("SIoU", "", True, 4),
}
METRICS |= {f"{m}_ring": replace(METRICS[m], label=f"{METRICS[m].label}, ring") for m in RANKED_METRICS}
METRICS |= {
    f"{m}_{width}": replace(METRICS[m], label=f"{METRICS[m].label}, {width} px")
    for m in RANKED_METRICS
    for width in WIDTH_BINS
}
"""Figures of a score, over hole pixels. ``_ring``: over the known pixels around the hole instead; ``_1-2`` and so on: over
the pixels of holes of that width; ``siou``: over the whole view. ``lpips`` is LPIPS with AlexNet."""


_HOLES = {"iou": Metric("IoU", "", True, 3), "stray": Metric("stray pixels", "px", False, 0)}


@dataclass(frozen=True)
class Score:
    """How one fill did on one record. A figure that doesn't exist there (no hole of that width) is NaN."""

    record: str
    picture: str
    fill: str
    hole_pixels: int
    figures: Mapping[str, float]


@dataclass(frozen=True)
class HoleScore:
    """How well the hole itself fits what is really hidden: intersection over union, and pixels far from any hidden one."""

    record: str
    iou: float
    stray: float


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
    """Scores of all fills on the same records, and what they say together; `holes`: of the holes, where that is known."""

    scores: tuple[Score, ...]
    title: str = "photos"
    holes: tuple[HoleScore, ...] = ()

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

    def table(self, names: Sequence[str] = MAIN_METRICS) -> str:
        """Return means of the metrics `names` with 95 % intervals, one row per fill, as Markdown; without those nobody has."""
        means = {(fill, name): self.mean(fill, name) for fill in self.fills for name in names}
        shown = [name for name in names if not all(np.isnan(means[fill, name].mean) for fill in self.fills)]
        lines = _table_head("fill", (METRICS[name].heading for name in shown))
        for fill in self.fills:
            cells = [_cell(means[fill, name], METRICS[name]) for name in shown]
            lines.append(f"| {fill} | {' | '.join(cells)} |")
        return "\n".join(lines) + "\n"

    def tables(self) -> str:
        """Return all tables as Markdown: inside holes, in the ring around them, by hole width, and of the holes themselves."""
        parts = [
            f"## {self.title}: {self._extent()}",
            f"Inside holes, means with {CONFIDENCE:.0%} intervals:",
            self.table(),
            f"In the known pixels up to {metrics.RING_WIDTH} px around holes (a fill should leave them alone):",
            self.table(RING_METRICS),
        ]
        for name in RANKED_METRICS:
            parts += [
                f"{METRICS[name].label} inside holes by their width along the row:",
                self.table(width_metrics(name)),
            ]
        if self.holes:
            iou, stray = (
                bootstrap([getattr(h, n) for h in self.holes], [h.record for h in self.holes]) for n in _HOLES
            )
            parts.append(
                f"The holes against what is really hidden: intersection over union {_cell(iou, _HOLES['iou'])}, "
                f"stray pixels per picture {_cell(stray, _HOLES['stray'])}."
            )
        return "\n\n".join(part.strip() for part in parts) + "\n"

    def versus(self, fill: str) -> str:
        """Return by how much `fill` is better (positive) or worse than each other one, paired by record, as Markdown."""
        names = [*RANKED_METRICS, *(name for metric in RANKED_METRICS for name in width_metrics(metric))]
        lines = _table_head(f"{fill} against", (METRICS[name].label for name in names))
        for other in self.fills:
            if other != fill:
                cells = [_cell(self.advantage(fill, other, name), METRICS[name], signed=True) for name in names]
                lines.append(f"| {other} | {' | '.join(cells)} |")
        return "\n".join(lines) + "\n"

    def advantage(self, fill: str, other: str, metric: str) -> Interval:
        """Return by how much `fill` is better than `other`, see `difference`: positive is better, also where less is."""
        gap = self.difference(fill, other, metric)
        return gap if METRICS[metric].higher_is_better else Interval(-gap.mean, -gap.high, -gap.low)

    def to_csv(self, path: str | Path) -> Path:
        """Write one row per record and fill, atomically; raise `InputError` where that is impossible."""
        return save_scores(path, [self])

    def summary(self) -> dict[str, float | int | str]:
        """Return the main figures flat, ready to record: ``FILL psnr`` and so on."""
        means = {f"{fill} {name}": self.mean(fill, name).mean for fill in self.fills for name in MAIN_METRICS}
        return {
            "records": len(self.records),
            "pictures": self._pictures(),
            **{k: v for k, v in means.items() if not np.isnan(v)},
        }

    def verdict(self, fill: str | None = None) -> str:
        """Return a paragraph in plain words: what is better than what inside holes, by how much, how sure.

        With `fill`, a second one says the same from its point of view, by hole width too.
        """
        opening = (
            f"Judged inside the holes of {self._extent()}, with {CONFIDENCE:.0%} intervals by bootstrap over pictures."
        )
        sentences = [*(self._sentence(name) for name in RANKED_METRICS), self._artefact_sentence()]
        widths = [f"{name} px {ranked[0]}" for name in WIDTH_BINS if (ranked := self.ranking(f"psnr_{name}"))]
        by_width = f"Best PSNR by hole width: {', '.join(widths)}." if widths and len(self.fills) > 1 else ""
        paragraph = " ".join(sentence for sentence in (opening, *sentences, by_width) if sentence)
        return paragraph if fill is None else f"{paragraph}\n\n{self._own_verdict(fill)}"

    def _own_verdict(self, fill: str) -> str:
        return " ".join(self._standing(fill, other) for other in self.fills if other != fill)

    def _standing(self, fill: str, other: str) -> str:
        """Say where `fill` is surely better and surely worse than `other`: each metric as a whole, and by width."""
        sure: dict[bool, list[str]] = {True: [], False: []}
        for metric in RANKED_METRICS:
            for name, place in (
                (metric, ""),
                *zip(width_metrics(metric), (f" at {w} px" for w in WIDTH_BINS), strict=True),
            ):
                gap = self.advantage(fill, other, name)
                if gap.low > 0 or gap.high < 0:
                    sure[gap.low > 0].append(f"{METRICS[metric].label}{place} ({METRICS[name].text(abs(gap.mean))})")
        parts = [f"{word} in {', '.join(sure[w])}" for w, word in ((True, "better"), (False, "worse")) if sure[w]]
        return f"{fill} against {other}: {'; '.join(parts) if parts else 'nothing tells them apart'}."

    def _extent(self) -> str:
        return f"{count_of(len(self.records), 'record')} from {count_of(self._pictures(), 'picture')}"

    def _pictures(self) -> int:
        return len({score.picture for score in self.scores})

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
        if all(np.isnan(value.mean) for value in found.values()):
            return "Holes are too small to look for a grid in."
        if all(np.isnan(value.low) for value in found.values()):
            return ""
        seen = [f"{fill} ({METRICS['artefact'].text(value.mean)})" for fill, value in found.items() if value.low > 0]
        return f"A grid of 8 px or finer shows in {', '.join(seen)}." if seen else "None shows a grid of 8 px or finer."


def count_of(number: int, noun: str) -> str:
    """Return ``1 record``, ``2 records``."""
    return f"{number} {noun}{'' if number == 1 else 's'}"


def save_scores(path: str | Path, evaluations: Iterable[Evaluation]) -> Path:
    """Write one row per truth, record and fill as CSV, atomically; raise `InputError` where that is impossible."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(["truth", "record", "picture", "fill", "hole_pixels", *METRICS])
    for evaluation in evaluations:
        for score in evaluation.scores:
            figures = ["" if np.isnan(score.figures[name]) else f"{score.figures[name]:.6g}" for name in METRICS]
            writer.writerow([evaluation.title, score.record, score.picture, score.fill, score.hole_pixels, *figures])
    atomic_write_text(path, text.getvalue())
    return Path(path)


def _table_head(first: str, others: Iterable[str]) -> list[str]:
    heads = [first, *others]
    return [f"| {' | '.join(heads)} |", "| --- |" + " ---: |" * (len(heads) - 1)]


def _cell(interval: Interval, metric: Metric, signed: bool = False) -> str:
    mean, low, high = (
        f"{'+' if signed and value > 0 else ''}{metric.text(value)}"
        for value in (interval.mean, interval.low, interval.high)
    )
    return mean if np.isnan(interval.low) else f"{mean} [{low}, {high}]"


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
    draws = _draws(len(counts))
    low, high = np.quantile(draws @ sums / (draws @ counts), [(1 - CONFIDENCE) / 2, (1 + CONFIDENCE) / 2])
    return Interval(float(numbers.mean()), float(low), float(high))


@functools.cache
def _draws(count: int) -> np.ndarray:
    """Return how often each of `count` groups is drawn in each round, (rounds, count)."""
    rng = numpy_rng("bootstrap", count)
    return rng.multinomial(count, np.full(count, 1 / count), size=BOOTSTRAP_ROUNDS)


def evaluate(
    fills: Mapping[str, Fill],
    truth: Truth | InpaintDataset,
    lpips_networks: Sequence[str] = ("alex",),
    max_records: int | None = None,
    progress: Callable[[int, int, str], None] | None = None,
) -> Evaluation:
    """Fill the holes of a truth's pictures with each of `fills` and compare with what belongs there, inside holes only.

    No fill sees the truth: hole pixels are 0 in what it gets. Pictures without a hole that counts are left out.

    Args:
        fills: functions by name, see `fills.Fill`; an `Inpainter` is one.
        truth: see `truths`; evaluation records (``training=False``) are one.
        lpips_networks: of ``"alex"`` and ``"vgg"``.
        max_records: judge only so many, spread evenly over the truth; None: all.
        progress: called with (records done, all records, name of the record).

    Raises `InputError` if there is nothing to judge or a fill returns something else than a picture.
    """
    if not fills:
        raise InputError("fills: none given; pass for instance FILLS, or {'model': Inpainter(checkpoint)}")
    truth = as_truth(truth)
    networks = {name: Lpips(name) for name in lpips_networks}
    chosen = spread(len(truth), max_records)
    scores: list[Score] = []
    holes: list[HoleScore] = []
    for done, index in enumerate(chosen, 1):
        case = truth.load(index)
        if bool(case.judged.any()):
            filled = torch.cat([run_fill(name, fill, case) for name, fill in fills.items()])
            figures, pixels = judge(filled, case, networks), int(case.judged.sum())
            for number, name in enumerate(fills):
                own = {metric: float(values[number]) for metric, values in figures.items()}
                scores.append(Score(case.name, case.source, name, pixels, own))
            holes += [] if case.exact_hole is None else [hole_score(case, case.exact_hole)]
        if progress is not None:
            progress(done, len(chosen), case.name)
    if not scores:
        raise InputError(
            f"{truth.title}: none of {len(chosen)} has a hole in its judged area; give more or larger ones"
        )
    return Evaluation(tuple(scores), truth.title, tuple(holes))


def choose_truths(config: InspectConfig) -> list[Truth]:
    """Return what `config` names: a data set's records, or some made of its photos; scenes; stereo pairs."""
    if config.data_dir is None:
        truths = [photo_truth(config.photos, config.run_folder / "data", config.seed)]
    else:
        truths = [record_truth(InpaintDataset(Path(config.data_dir) / "eval", training=False))]
    if config.scenes:
        truths.append(scene_truth(config.scenes, read_textures(config.photos), config.seed, config.edge_dilation))
    if config.stereo_dir is not None:
        truths.append(stereo_truth(config.stereo_dir, config.disparity_scale, config.edge_dilation))
    return truths


def examples(fills: Mapping[str, Fill], truth: Truth | InpaintDataset, records: Iterable[str]) -> list[Example]:
    """Return the named records of `truth` filled by each of `fills`, ready for `figures.before_after`."""
    truth, found = as_truth(truth), []
    for name in records:
        if name not in truth.names:
            raise InputError(f"records: {name!r} is not among the {truth.title}; the first is {truth.names[0]!r}")
        case = truth.load(truth.names.index(name))
        filled = {label: run_fill(label, fill, case)[0] for label, fill in fills.items()}
        found.append(Example(name, case.truth[0], case.judged[0], filled))
    return found


def as_truth(truth: Truth | InpaintDataset) -> Truth:
    """Return evaluation records as a truth, a truth as it is."""
    return truth if isinstance(truth, Truth) else record_truth(truth)


@torch.no_grad()
def judge(filled: torch.Tensor, case: Case, networks: Mapping[str, Lpips]) -> dict[str, torch.Tensor]:
    """Return every figure of `METRICS` for the fills (B, 3, H, W) of one case, (B,) each; NaN where one doesn't exist.

    Hole pixels that don't count are taken for right, so that they have no influence on their neighbours' figures.
    """
    filled, truth, judged = torch.where(case.hole & ~case.judged, case.truth, filled), case.truth, case.judged
    none = torch.full((len(filled),), torch.nan)
    similarity = metrics.ssim_map(filled, truth).mean(dim=1, keepdim=True)
    distances = {name: lpips.distance_map(filled, truth) for name, lpips in networks.items()}
    left, right = case.left_view, case.right_view
    figures = {
        "lpips_vgg": metrics.hole_mean(distances["vgg"], judged) if "vgg" in distances else none,
        "artefact": metrics.artefact_score(filled, truth, judged),
        "siou": none if left is None or right is None else metrics.siou(filled, right, left),
    }
    widths, ring = metrics.hole_widths(case.hole), metrics.hole_ring(case.hole)
    areas = {"": judged, "_ring": ring}
    for width, (low, high) in WIDTH_BINS.items():
        areas[f"_{width}"] = judged & (widths >= low) & (widths <= (high or widths.shape[-1]))
    for suffix, area in areas.items():
        figures[f"psnr{suffix}"] = metrics.hole_psnr(filled, truth, area).clamp(max=metrics.HIGHEST_PSNR)
        figures[f"ssim{suffix}"] = metrics.hole_mean(similarity, area)
        figures[f"lpips{suffix}"] = metrics.hole_mean(distances["alex"], area) if "alex" in distances else none
    return figures


def hole_score(case: Case, exact: torch.Tensor) -> HoleScore:
    """Return how well the hole of `case`, where it counts, fits the `exact` one (1, 1, H, W)."""
    return HoleScore(
        case.name,
        float(metrics.hole_iou(case.judged, exact)),
        float(metrics.stray_pixels(case.judged, exact)),
    )


@torch.no_grad()
def run_fill(name: str, fill: Fill, case: Case) -> torch.Tensor:
    """Return what `fill` makes of a case (right-eye orientation) whose hole pixels it can't see, clamped to 0..1."""
    answer = fill(case.picture.masked_fill(case.hole, 0), case.hole.clone(), "right")
    if not isinstance(answer, torch.Tensor) or answer.shape != case.picture.shape:
        got = tuple(answer.shape) if isinstance(answer, torch.Tensor) else type(answer).__name__
        raise InputError(f"fills: {name} returned {got}; a fill must return a tensor {tuple(case.picture.shape)}")
    if not bool(answer.isfinite().all()):
        raise InputError(f"fills: {name} returned numbers that aren't finite for {case.name}; check it")
    return answer.to(case.picture).clamp(0, 1)


def spread(count: int, wanted: int | None) -> list[int]:
    """Return `wanted` (None: all) of `count` indices, spread evenly.

    >>> spread(10, 3)
    [0, 3, 6]
    """
    wanted = count if wanted is None else min(wanted, count)
    return [number * count // wanted for number in range(wanted)]
