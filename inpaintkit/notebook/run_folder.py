"""What a run leaves in its folder beside the work of its notebook: parameters, manifest, figures; and whose folder it is."""

import contextlib
import csv
import dataclasses
import json
import sys
import time
from collections.abc import Mapping
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

import yaml

from inpaintkit.config import GenerateConfig, InspectConfig, JobConfig, TrainConfig
from inpaintkit.errors import InputError
from inpaintkit.files import atomic_write_csv, atomic_write_text, move_aside, read_json
from inpaintkit.notebook.machine import machine_facts, source_revision, versions
from inpaintkit.notebook.parameters import load_params
from inpaintkit.notebook.project import find_project
from inpaintkit.training.callbacks import Callback, RunView

OUT_OF_TIME, DONE = "out of time", "done"
RUN_FILES = ("manifest.json", "params.yaml", "metrics.csv", "*.ipynb")
"""Files that every headless run leaves in its folder."""

REPORT_FILES = ("*.md", "*.csv", "*.html", "figures", "stereo")
"""What a run of notebook 04 leaves there besides, without the records in ``data/``, which serve later runs."""


def write_params(folder: Path, config: JobConfig) -> None:
    """Write the parameters of a run into its folder."""
    text = yaml.safe_dump(dataclasses.asdict(config), sort_keys=False, allow_unicode=True)
    atomic_write_text(folder / "params.yaml", text)


def keep_old_report(folder: Path, config: InspectConfig) -> None:
    """Move a report with other parameters to ``old/DATE``, and print that. Raises `InputError` for another job's folder."""
    require_own_folder(config)
    file = folder / "params.yaml"
    if _params_of(file) not in (None, dataclasses.asdict(config)):
        moved = move_aside(folder, (*RUN_FILES, *REPORT_FILES), file)
        print(f"an earlier report with other parameters in {folder} was moved: it is in {moved} now", flush=True)


def require_own_folder(config: JobConfig) -> None:
    """Raise `InputError` if the run folder is another job's, whose manifest and figures would be overwritten."""
    folder = config.run_folder
    before = _params_of(folder / "params.yaml")
    if not before:
        return
    if isinstance(config, GenerateConfig):
        own = (before.get("prefix"), before.get("model_type")) == (config.prefix, config.model_type)
    else:
        own = ("model_dir" if isinstance(config, TrainConfig) else "fills") in before
    if not own:
        name = "model_dir" if isinstance(config, TrainConfig) else "run_dir"
        raise InputError(f"{name}: {folder} is the folder of another job; give this one a folder of its own")


def _params_of(file: Path) -> dict[str, Any] | None:
    """Return the parameters in the parameter file of a run; {} if it is damaged, None if there is none."""
    try:
        return load_params(file) if file.is_file() else None
    except InputError:
        return {}


class Manifest:
    """The record of a run in its `folder`: written at its start, and again with how it ended.

    If the run `goes_on` from earlier calls, their manifests are part of it.
    """

    def __init__(self, config: JobConfig, folder: Path, root: Path, goes_on: bool) -> None:
        params = dataclasses.asdict(config)
        self.started = time.monotonic()
        self._folder = folder
        self._facts = {
            "notebook": config.notebook,
            "started": datetime.now(timezone.utc).isoformat(timespec="seconds"),
            "params": params,
            "seed": params["seed"],
            "commit": source_revision(root),
            "versions": versions(),
            "machine": machine_facts(),
        } | ({"before": _calls_before(folder)} if goes_on else {})
        self._write({"status": "running"})

    def end(self, status: str, error: str | None = None, **more: Any) -> None:
        """Record how the run ended. After an `error` a failure to write is ignored: most often the disk is full."""
        ending: dict[str, Any] = {"status": status, "seconds": round(time.monotonic() - self.started, 1)}
        with contextlib.suppress(InputError) if error else contextlib.nullcontext():
            self._write(ending | ({"error": error} if error else {}) | more)

    def _write(self, standing: dict[str, Any]) -> None:
        text = json.dumps(self._facts | standing, indent=2, ensure_ascii=False)
        atomic_write_text(self._folder / "manifest.json", text + "\n")


class ManifestWriter(Callback):
    """Callback that writes parameters and manifest of an interactive training; it comes first among the callbacks."""

    def __init__(self, config: TrainConfig) -> None:
        self._config = config
        self._manifest: Manifest | None = None

    def on_start(self, run: RunView) -> None:
        if run.steps_done < run.total_steps:  # a finished run is only shown
            if not run.steps_done and (run.folder / "manifest.json").is_file():
                move_aside(run.folder, ("manifest.json", "params.yaml", "metrics.csv"), run.folder / "manifest.json")
            write_params(run.folder, self._config)
            self._manifest = Manifest(self._config, run.folder, find_project(), run.steps_done > 0)

    def on_end(self, run: RunView) -> None:
        if self._manifest:
            error = sys.exc_info()[1]
            over = run.steps_done >= run.total_steps
            stopped = run.stop.asked or run.stop.signal is not None
            ended = DONE if over else "interrupted" if stopped else OUT_OF_TIME
            self._manifest.end("failed" if error and not stopped else ended, repr(error) if error else None)


def _calls_before(folder: Path) -> list[dict[str, Any]]:
    """Return the manifests of the earlier calls of the training in `folder`, oldest first: options may have changed.

    A call that never recorded its end was killed.
    """
    last = run_manifest(folder)
    last |= {"status": "killed"} if last.get("status") == "running" else {}
    before = last.pop("before", [])
    return [*(before if isinstance(before, list) else []), *([last] if last else [])]


def run_manifest(folder: str | Path) -> dict[str, Any]:
    """Return the manifest of a run folder; {} if there is none, or a damaged one, which is reported."""
    path = Path(folder) / "manifest.json"
    try:
        return read_json(path) if path.is_file() else {}
    except ValueError:
        print(f"{path} is damaged and is ignored; the next run writes a new one", flush=True)
        return {}


def record(config: JobConfig, figures: Mapping[str, Any]) -> None:
    """Write the final figures of a run to ``metrics.csv`` (name, value) in its folder.

    Raises `InputError` if another notebook has begun a report with other parameters in the same folder: both are mixed.
    """
    begun = _params_of(config.run_folder / "params.yaml") if isinstance(config, InspectConfig) else None
    if begun not in (None, dataclasses.asdict(config)):
        raise InputError(
            f"run_dir: another notebook has begun a report with other parameters in {config.run_folder}; name another run_dir, and "
            "run all cells again"
        )
    atomic_write_csv(config.run_folder / "metrics.csv", [("name", "value"), *figures.items()])


def read_metrics(folder: str | Path) -> dict[str, str]:
    """Return the recorded figures of a run folder; {} if there are none."""
    path = Path(folder) / "metrics.csv"
    if not path.is_file():
        return {}
    with contextlib.suppress(csv.Error), path.open(encoding="utf-8", errors="replace", newline="") as file:
        return {row["name"]: row["value"] for row in csv.DictReader(file) if "name" in row and row.get("value")}
    return {}  # damaged
