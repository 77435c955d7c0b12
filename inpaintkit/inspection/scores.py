"""Scores of fills inside holes and statistics over them: means, differences and rankings, with confidence intervals."""

import functools
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np

from inpaintkit.errors import InputError
from inpaintkit.files import atomic_write_csv
from inpaintkit.seeds import numpy_rng
from inpaintkit.text import count_of

WIDTH_BINS: dict[str, tuple[int, int | None]] = {"1-2": (1, 2), "3-5": (3, 5), "6-9": (6, 9), "10+": (10, None)}
"""Hole widths along the row in px, both limits included."""

BOOTSTRAP_ROUNDS = 2000

CONFIDENCE = 0.95


@dataclass(frozen=True)
class Metric:
    """Name, unit and direction of a figure, and how it is printed."""

    label: str
    unit: str
    higher_is_better: bool
    digits: int

    @property
    def heading(self) -> str:
        """The label with its unit and an arrow: up if more is better, down if less."""
        return f"{self.label}{f' ({self.unit})' if self.unit else ''} {'↑' if self.higher_is_better else '↓'}"

    @property
    def better(self) -> str:
        """The unit, and in words which direction is better."""
        return f"{self.unit + ', ' if self.unit else ''}{'more' if self.higher_is_better else 'less'} is better"

    def text(self, value: float) -> str:
        """Return `value` as text with this metric's digits, or an en dash for NaN."""
        return "–" if np.isnan(value) else f"{value:.{self.digits}f}"


RANKED_METRICS = ("psnr", "ssim", "lpips")

RING_METRICS = tuple(f"{name}_ring" for name in RANKED_METRICS)


def width_metrics(name: str) -> tuple[str, ...]:
    """Return the names of the metrics that split `name`, one of `RANKED_METRICS`, by hole width."""
    return tuple(f"{name}_{width}" for width in WIDTH_BINS)


METRICS: dict[str, Metric] = {
    "psnr": Metric("PSNR", "dB", True, 2),
    "ssim": Metric("SSIM", "", True, 3),
    "lpips": Metric("LPIPS", "", False, 4),
    "lpips_vgg": Metric("LPIPS-VGG", "", False, 4),
    "artefact": Metric("artefact score", "", False, 3),
    "siou": Metric("SIoU", "", True, 4),
}

MAIN_METRICS = tuple(METRICS)

METRICS |= {f"{m}_ring": replace(METRICS[m], label=f"{METRICS[m].label}, ring") for m in RANKED_METRICS}

METRICS |= {
    f"{m}_{width}": replace(METRICS[m], label=f"{METRICS[m].label}, {width} px")
    for m in RANKED_METRICS
    for width in WIDTH_BINS
}
"""Figures of a score, over hole pixels.

``_ring``: over the known pixels around the hole instead; ``_1-2`` and so on: over hole pixels where the hole has that
width; ``siou``: over the whole view. ``lpips`` is LPIPS with AlexNet.
"""


@dataclass(frozen=True)
class Score:
    """Figures of one fill on one record; NaN where a figure doesn't exist, such as without a hole of that width."""

    record: str
    picture: str
    fill: str
    hole_pixels: int
    figures: Mapping[str, float]


@dataclass(frozen=True)
class HoleScore:
    """Agreement of a hole with what is really hidden: IoU, and `stray`, the hole pixels that touch no hidden one."""

    record: str
    iou: float
    stray: float


@dataclass(frozen=True)
class Interval:
    """A mean over records and its bootstrap interval; both limits are NaN if all records come from one picture."""

    mean: float
    low: float
    high: float

    @property
    def excludes_0(self) -> bool:
        """Whether the interval lies entirely above 0, or entirely below."""
        return self.low > 0 or self.high < 0


@dataclass(frozen=True)
class Evaluation:
    """Scores of all fills on the same records, and statistics over them; `holes`: scores of the holes, if known."""

    scores: tuple[Score, ...]
    title: str = "photos"
    holes: tuple[HoleScore, ...] = ()
    _intervals: dict[tuple[str, ...], Interval] = field(default_factory=dict, compare=False, repr=False)

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
        """Return the mean of `metric` over records with its 95 % interval, computed once and cached."""
        if (fill, metric) not in self._intervals:
            scores = self.of(fill)
            values, groups = [score.figures[metric] for score in scores], [score.picture for score in scores]
            self._intervals[fill, metric] = bootstrap(values, groups)
        return self._intervals[fill, metric]

    def advantage(self, fill: str, other: str, metric: str) -> Interval:
        """Return how much better `fill` is than `other` by `metric`; positive = better, also where less is better.

        Both are compared record by record, which is far more sensitive than comparing two intervals.
        """
        if (fill, other, metric) not in self._intervals:
            pairs = list(zip(self.of(fill), self.of(other), strict=True))
            values = [one.figures[metric] - two.figures[metric] for one, two in pairs]
            gap = bootstrap(values, [one.picture for one, _ in pairs])
            better = gap if METRICS[metric].higher_is_better else Interval(-gap.mean, -gap.high, -gap.low)
            self._intervals[fill, other, metric] = better
        return self._intervals[fill, other, metric]

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

    def summary(self) -> dict[str, float | int | str]:
        """Return the main figures as a flat dict, with keys such as ``FILL psnr``."""
        means = {f"{fill} {name}": self.mean(fill, name).mean for fill in self.fills for name in MAIN_METRICS}
        known = {name: mean for name, mean in means.items() if not np.isnan(mean)}
        return {"records": len(self.records), "pictures": self._pictures(), **known}

    def extent(self) -> str:
        """Return in words how many records and pictures were judged."""
        return f"{count_of(len(self.records), 'record')} from {count_of(self._pictures(), 'picture')}"

    def _pictures(self) -> int:
        return len({score.picture for score in self.scores})


def save_scores(path: str | Path, evaluations: Iterable[Evaluation]) -> Path:
    """Write one row per truth, record and fill as CSV, atomically; raise `InputError` where that is impossible."""
    rows: list[list[object]] = [["truth", "record", "picture", "fill", "hole_pixels", *METRICS]]
    for evaluation in evaluations:
        for score in evaluation.scores:
            figures = ["" if np.isnan(score.figures[name]) else f"{score.figures[name]:.6g}" for name in METRICS]
            rows.append([evaluation.title, score.record, score.picture, score.fill, score.hole_pixels, *figures])
    atomic_write_csv(path, rows)
    return Path(path)


def bootstrap(values: Sequence[float], groups: Sequence[str]) -> Interval:
    """Return the mean of the known `values` and its percentile bootstrap interval over whole `groups`.

    Records of one picture resemble each other, so whole pictures (`groups`) are resampled, not records. NaN values are
    left out. The draws are seeded: the same values give the same interval.
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
