"""Describe the epochs of a GAN fine-tuning in words and as a table: how good each is, and why one was picked."""

from collections.abc import Sequence

from inpaintkit.training.progress import Row

FIGURES = {
    "hole_psnr": "PSNR in holes (dB)",
    "hole_lpips": "LPIPS in holes",
    "artefact": "artefact score",
    "score": "score (least wins)",
}
"""Columns of the loss CSV that an epoch is evaluated by, with their titles."""


def picked_because(history: Sequence[Row], picked: int) -> str:
    """Return a text that says why epoch `picked` is the best one; 0 means that none was picked."""
    rows = {int(row["epoch"]): row for row in history if row["split"] == "eval"}
    if picked not in rows or not picked:
        return "No epoch was evaluated after the start, so none was picked."
    start = rows[0]
    row = rows[picked]
    last = max(rows)
    evaluated = {name: title for name, title in FIGURES.items() if name != "score"}
    changes = [f"{title} {float(start[name]):.4g} -> {float(row[name]):.4g}" for name, title in evaluated.items()]
    score = f"{float(row['score']):.4g}"
    several = f"its score {score} is the lowest of {len(rows) - 1} evaluated epochs"
    reason = several if len(rows) > 2 else f"it is the only epoch evaluated, with a score of {score}"
    later = f" The last one, {last}, has {float(rows[last]['score']):.4g}." if last != picked else ""
    worse = "" if float(row["score"]) < float(start["score"]) else " It is no better than the start by this score."
    return (
        f"Epoch {picked} was picked: {reason} ({', '.join(changes)}; start {float(start['score']):.4g}).{later}{worse}"
    )


def epoch_table(history: Sequence[Row], picked: int) -> str:
    """Return a Markdown table of the inside-hole figures of each evaluated epoch, with epoch `picked` in bold.

    A `picked` of 0 means that none was picked.
    """
    lines = [f"| epoch | {' | '.join(FIGURES.values())} |", "| ---: |" + " ---: |" * len(FIGURES)]
    for row in history:
        if row["split"] != "eval":
            continue
        epoch = f"**{row['epoch']}** (picked)" if row["epoch"] == picked != 0 else f"{row['epoch']}"
        start = " (start)" if row["epoch"] == 0 else ""
        lines.append(f"| {epoch}{start} | " + " | ".join(f"{float(row[name]):.4g}" for name in FIGURES) + " |")
    return "\n".join(lines)
