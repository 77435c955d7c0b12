"""Read the state of a training run from its folder, also while another process writes to it."""

import contextlib
import csv
import math
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from itertools import groupby
from operator import itemgetter
from pathlib import Path
from typing import Any

from inpaintkit.config import GanConfig, TrainConfig
from inpaintkit.errors import InputError
from inpaintkit.files import read_json, require_folder
from inpaintkit.training.schedule import last_epoch

_STRIP_NAME = re.compile(r"epoch(\d+)_batch(\d+)\.png")


@dataclass(frozen=True)
class RunState:
    """The state of a training run, as far as its folder shows it.

    `rows`: rows of the loss CSV, as text by column; `strips`: evaluation pictures by epoch, in the order of their
    batches; `status`: from the run's manifest (``running``, ``done``, ``failed``, ``interrupted``, ``out of time``;
    empty if it has no valid manifest, see `read_run`); `last_epoch`: the epoch it will end with, if known; `written`:
    when the CSV was last written (seconds since 1970).
    """

    csv_file: Path | None
    rows: tuple[Mapping[str, str], ...] = ()
    strips: Mapping[int, tuple[Path, ...]] = field(default_factory=dict)
    status: str = ""
    last_epoch: int | None = None
    written: float | None = None


def read_run(model_dir: str | Path) -> RunState:
    """Return the state of the run in `model_dir`; `csv_file` is None until the CSV has a row.

    Damaged files count as missing. So does the manifest of an ended run if the CSV is newer: the training was then
    resumed without a manifest, in JupyterLab for instance. Raises `InputError` if the folder doesn't exist.
    """
    folder = require_folder(model_dir, "model_dir")
    manifest: dict[str, Any] = {}
    file = next(iter(sorted(folder.glob("loss_*.csv"))), None)
    with contextlib.suppress(OSError, ValueError):
        noted = (folder / "manifest.json").stat().st_mtime_ns
        manifest = read_json(folder / "manifest.json")
        if manifest.get("status") != "running" and file and file.stat().st_mtime_ns > noted:
            manifest = {}
    params, status = manifest.get("params"), manifest.get("status")
    rows: list[dict[str, str]] = []
    if file:
        with contextlib.suppress(InputError):
            rows = loss_rows(file)
    return RunState(
        file if rows else None,
        tuple(rows),
        _strips(folder),
        status if isinstance(status, str) else "",
        _last_epoch(params) if isinstance(params, dict) else None,
        file.stat().st_mtime if file else None,
    )


def _last_epoch(params: Mapping[str, Any]) -> int | None:
    with contextlib.suppress(InputError):
        config = GanConfig if "discriminator" in params else TrainConfig
        return last_epoch(config.from_params(params))
    return None


def describe_run(state: RunState) -> str:
    """Return a one-line summary of the run: epoch, evaluation loss, PSNR in holes and status."""
    if not state.rows:
        return "no epoch yet: curves appear with the first evaluation"
    over = {"0", *(row["epoch"] for row in state.rows if row["split"] == "train")}
    epoch = state.rows[-1]["epoch"]
    # a stopped run is evaluated in the middle of its epoch, but saves no best model then
    within = "" if epoch in over else "within "
    parts = [f"{within}epoch {epoch}" + (f" of {state.last_epoch}" if state.last_epoch else "")]
    judged = [row for row in state.rows if row["split"] == "eval" and not math.isnan(_number(row, "total"))]
    if judged:
        kept = [row for row in judged if row["epoch"] in over]
        best = min(kept or judged, key=lambda row: _number(row, "total"))
        parts.append(
            f"evaluation loss {_text(judged[-1], 'total')} (least {_text(best, 'total')}, epoch {best['epoch']})"
        )
        parts.append(f"PSNR in holes {_text(judged[-1], 'hole_psnr')} dB")
    if state.status:
        parts.append(state.status)
    if state.written is not None and state.status in ("", "running"):
        # A clock time, not an age: the line may stay on a page for hours.
        parts.append(f"updated {datetime.fromtimestamp(state.written):%Y-%m-%d %H:%M:%S}")
    return " · ".join(parts)


def loss_rows(path: str | Path) -> list[dict[str, str]]:
    """Return the undamaged rows of a loss CSV, by column; raise `InputError` if the file is missing or has none."""
    if not Path(path).is_file():
        raise InputError(f"csv_path: {path} does not exist; give the loss_*.csv of a training run")
    rows = []
    with contextlib.suppress(csv.Error), open(path, newline="", encoding="utf-8", errors="replace") as handle:
        rows = [row for row in csv.DictReader(handle) if _is_sound(row)]
    if not rows:
        raise InputError(f"csv_path: {path} holds no epoch yet, or is damaged; wait for the next evaluation to end")
    return rows


def _is_sound(row: Mapping[str, str]) -> bool:
    """Return whether `row` names its split and otherwise holds only numbers."""
    with contextlib.suppress(ValueError, KeyError, TypeError):
        int(row["epoch"]), [float(value) for name, value in row.items() if name != "split" and value]
        return bool(row["split"])
    return False


def _strips(folder: Path) -> dict[int, tuple[Path, ...]]:
    named = ((_STRIP_NAME.fullmatch(path.name), path) for path in (folder / "eval").glob("epoch*_batch*.png"))
    strips = sorted((int(name[1]), int(name[2]), path) for name, path in named if name)
    return {epoch: tuple(path for *_, path in those) for epoch, those in groupby(strips, key=itemgetter(0))}


def _number(row: Mapping[str, str], name: str) -> float:
    return float(row.get(name) or "nan")


def _text(row: Mapping[str, str], name: str) -> str:
    value = _number(row, name)
    return "?" if math.isnan(value) else f"{value:.4g}"
