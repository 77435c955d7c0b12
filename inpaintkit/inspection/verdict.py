"""Summarise evaluations in words."""

from collections.abc import Mapping, Sequence

import numpy as np

from inpaintkit.inspection.scores import CONFIDENCE, METRICS, RANKED_METRICS, WIDTH_BINS, Evaluation, Interval
from inpaintkit.inspection.tables import cell, title_of

EQUAL_WITHIN = 0.05
"""PSNR difference in dB below which the headline calls two fills equal."""


def headline(results: Sequence[Evaluation], fill: str, before: str | None = None) -> str:
    """Return one sentence on how `fill` ranks on each truth by PSNR inside holes, and what changed since `before`."""
    parts = [f"on {result.title} {_standing_in_short(result, fill, before)}" for result in results]
    if before is not None:
        gaps = {result.title: result.advantage(fill, before, "psnr") for result in results}
        parts.append(f"against “{title_of(before)}” {_change(gaps)}")
    sentence = "; ".join(parts)
    return f"{sentence[:1].upper()}{sentence[1:]}."


def leads_everywhere(results: Sequence[Evaluation], fill: str, before: str | None = None) -> bool:
    """Return whether `fill` leads on every truth: it has the highest PSNR inside holes, apart from `before`.

    Behind `before` it may be by less than `EQUAL_WITHIN`.
    """
    return all(
        [name for name in result.ranking("psnr") if name != before][:1] == [fill] and not _lost(result, fill, before)
        for result in results
    )


def _lost(result: Evaluation, fill: str, before: str | None) -> bool:
    return before is not None and result.advantage(fill, before, "psnr").mean <= -EQUAL_WITHIN


def _standing_in_short(result: Evaluation, fill: str, before: str | None) -> str:
    rivals = [name for name in result.ranking("psnr") if name not in (fill, before)]
    if not rivals:
        return METRICS["psnr"].text(result.mean(fill, "psnr").mean) + " dB"
    gap = result.advantage(fill, rivals[0], "psnr")
    amount = f"{abs(gap.mean):.1f} dB"
    if abs(gap.mean) < EQUAL_WITHIN:
        return f"level with {title_of(rivals[0])}"
    if gap.mean > 0:
        place = "best"
        if before is not None and _lost(result, fill, before):
            place = f"ahead of all but “{title_of(before)}”"
        return f"{place}, by {amount}{_certainty(gap)}"
    return f"{amount} behind {title_of(rivals[0])}{_certainty(gap)}"


def _certainty(gap: Interval) -> str:
    return "" if gap.excludes_0 else " (not significant)"


def _change(gaps: Mapping[str, Interval]) -> str:
    moved = {title: gap for title, gap in gaps.items() if abs(gap.mean) >= EQUAL_WITHIN}
    if not moved:
        return "no change"
    others = ", no change on the others" if len(moved) < len(gaps) else ""
    return ", ".join(f"{gap.mean:+.1f} dB on {title}{_certainty(gap)}" for title, gap in moved.items()) + others


def verdict(result: Evaluation) -> str:
    """Return in plain words which fill is better than which inside holes, by how much, and how certain that is."""
    opening = (
        f"Judged inside the holes of {result.extent()}, with {CONFIDENCE:.0%} intervals by bootstrap over pictures."
    )
    sentences = [*(_sentence(result, name) for name in RANKED_METRICS), _artefact_sentence(result)]
    widths = [f"{name} px {title_of(ranked[0])}" for name in WIDTH_BINS if (ranked := result.ranking(f"psnr_{name}"))]
    by_width = f"Best PSNR by hole width: {', '.join(widths)}." if widths and len(result.fills) > 1 else ""
    return " ".join(sentence for sentence in (opening, *sentences, by_width) if sentence)


def _sentence(result: Evaluation, name: str) -> str:
    metric = METRICS[name]
    ranked = result.ranking(name)
    if not ranked:
        return ""
    leader = ranked[0]
    unit = f" {metric.unit}" if metric.unit else ""
    sentence = f"{metric.label}: {title_of(leader)} is best with {metric.text(result.mean(leader, name).mean)}{unit}"
    ahead, unclear = [], []
    for other in ranked[1:]:
        gap = result.advantage(leader, other, name)
        if gap.excludes_0:
            ahead.append(f"{title_of(other)} by {cell(gap, metric)}")
        else:
            unclear.append(title_of(other))
    sentence += f", ahead of {', '.join(ahead)}" if ahead else ""
    return sentence + (f", not clearly better than {', '.join(unclear)}" if unclear else "") + "."


def _artefact_sentence(result: Evaluation) -> str:
    # The score scatters around 0 where there is no pattern, so only fills that are clearly above 0 are mentioned.
    metric = METRICS["artefact"]
    found = {fill: result.mean(fill, "artefact") for fill in result.fills}
    if not result.ranking("artefact"):
        return "Holes are too small to look for patterns that repeat."
    if all(np.isnan(value.low) for value in found.values()):
        return ""
    seen = [f"{title_of(fill)} ({metric.text(value.mean)})" for fill, value in found.items() if value.low > 0]
    return (
        f"A pattern repeats every 8 px or less in {', '.join(seen)}."
        if seen
        else "None repeats a pattern every 8 px or less."
    )
