"""Run a notebook headless and strictly: checked parameters in, a complete run folder out.

papermill only warns about misspelt parameters and accepts any type. `execute` rejects misspelt names and wrong types
before anything starts, checks the disk, and leaves a run folder that records how the run ended, whatever happened.
"""

import contextlib
import csv
import dataclasses
import json
import logging
import os
import sys
import tempfile
import time
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

import yaml
from traitlets.config import Config

from inpaintkit.config import GenerateConfig, InspectConfig, JobConfig, TrainConfig, changes, resolve_device
from inpaintkit.data.generate.plan import list_sources
from inpaintkit.errors import InputError, RunFailed
from inpaintkit.files import FolderLock, atomic_write_csv, atomic_write_text, move_aside, read_json, require_writable
from inpaintkit.model import load_model
from inpaintkit.notebook.machine import machine_facts, source_revision, versions
from inpaintkit.notebook.parameters import PRESET, in_project, load_params, resolve
from inpaintkit.notebook.project import find_notebook, find_project
from inpaintkit.notebook.schemas import load_nbformat
from inpaintkit.notebook.stoppable import stoppable_kernel
from inpaintkit.training.callbacks import Callback, RunView
from inpaintkit.training.feeding import check_records
from inpaintkit.training.resume import find_run, move_old_run

OUT_OF_TIME, DONE = "out of time", "done"
RUN_FILES = ("manifest.json", "params.yaml", "metrics.csv", "*.ipynb")
"""Files that every headless run leaves in its folder."""

REPORT_FILES = ("*.md", "*.csv", "*.html", "figures", "stereo")
"""What a run of notebook 04 leaves there besides, without the records in ``data/``, which serve later runs."""

AUTOSAVE_SECONDS = 30
LONGEST_TEMP = 70
"""Longest path of the temporary folder, in bytes, that leaves room for names of sockets: macOS allows 103 in all."""

AGAIN = "stopped; run the same again to continue"


@dataclass(frozen=True)
class RunReport:
    """Report of a finished run."""

    notebook: str
    folder: Path
    seconds: float
    metrics: dict[str, str]

    @property
    def executed(self) -> Path:
        return self.folder / f"{self.notebook}.ipynb"

    @property
    def status(self) -> str:
        """`OUT_OF_TIME` for a training that stopped at `max_seconds`, though no cell failed; else `DONE`."""
        return OUT_OF_TIME if self.metrics.get("finished") == str(False) else DONE


def execute(notebook: str | Path, params: Mapping[str, Any], run_dir: str | Path | None = None) -> RunReport:
    """Check a notebook's parameters, run it headless with papermill, and return what it recorded.

    Args:
        notebook: name such as ``02_train`` or path.
        params: flat parameters by name, ``preset`` included; missing ones keep the options' defaults.
        run_dir: run folder; None takes the configuration's own (`run_folder`).

    A training that was interrupted or reached `max_seconds` continues when it is started again with the same
    parameters; a finished one is left as it is. SIGTERM, SIGINT and SIGHUP stop the run cleanly: a training saves
    first.

    Raises:
        KeyboardInterrupt: a signal stopped the run; if it stopped a cell, the message names the notebook.
        InputError: a parameter, an input on disk or the run folder can't be used; nothing was started.
        RunFailed: a cell failed or the kernel died; the executed notebook and the manifest show where and why.
    """
    load_nbformat()  # not at the top: it and papermill take a second to import, in each notebook's kernel, too
    from papermill.exceptions import PapermillExecutionError

    source = find_notebook(notebook)
    config = resolve(source, params, run_dir)
    values = dataclasses.asdict(config)
    _require_text(values)
    with in_project(source) as root:
        _check_inputs(config)
        folder = require_writable(config.run_folder, "run_dir").resolve()
    with FolderLock(folder, "run_dir", name=f".{source.stem}.lock"):
        if isinstance(config, TrainConfig):
            with in_project(source):
                found = find_run(config)
                if found.weights_from:
                    load_model(found.weights_from)
            if found.finished and _is_done(run_manifest(folder), config) and (folder / source.name).is_file():
                print(f"{source.stem}: this run is done, nothing was changed; see {folder / source.name}", flush=True)
                return RunReport(source.stem, folder, 0.0, read_metrics(folder))
            if found.replaces:
                move_old_run(folder, (*RUN_FILES, "figures"))
        if isinstance(config, InspectConfig):
            keep_old_report(folder, config)
        write_params(folder, config)
        manifest = Manifest(config, folder, root, isinstance(config, TrainConfig) and found.state is not None)
        try:
            _papermill(source, folder / source.name, {PRESET: params.get(PRESET), **values}, root)
        except PapermillExecutionError as error:
            stopped = error.ename == "KeyboardInterrupt"
            manifest.end("interrupted" if stopped else "failed", f"{error.ename}: {error.evalue}")
            if stopped:
                raise KeyboardInterrupt(f"{source.stem} {error.evalue or AGAIN}") from None
            reason = error.evalue if error.ename in ("InputError", "RunFailed") else f"{error.ename}: {error.evalue}"
            raise RunFailed(f"{source.stem} failed: {reason} (see {folder / source.name})") from None
        except BaseException as error:
            manifest.end("interrupted", repr(error))
            raise
        report = RunReport(source.stem, folder, time.monotonic() - manifest.started, read_metrics(folder))
        manifest.end(report.status, metrics=report.metrics)
    return report


def _is_done(manifest: Mapping[str, Any], config: TrainConfig) -> bool:
    """Return whether `manifest` records a finished run of `config`, not an earlier run that was continued or replaced
    without `execute`."""
    params = manifest.get("params")
    return manifest.get("status") == DONE and isinstance(params, dict) and not changes(config, params)


def outcome(report: RunReport) -> str:
    """Return the outcome of a finished run in words, for 04 with its HTML page, which this writes; empty for trainings,
    which print it themselves."""
    m = report.metrics
    if report.notebook == "04_inspect":
        from inpaintkit.notebook.html import write_html  # not at the top: nbconvert takes a while to load

        verdict = (report.folder / "verdict.md").read_text(encoding="utf-8")
        return f"{verdict}\nReport: {write_html(report.executed)}"
    if report.notebook != "01_generate":
        return ""
    left_out = f"; pictures left out: {m['skipped']}, see the notebook" if int(m["skipped"]) else ""
    division = f" (division {m['division']})" if m.get("division") else ""
    beside = f"; the same folder holds {m['beside']}, and a training uses it, too" if m.get("beside") else ""
    return f"{m['records']} records: {m['train']} for training, {m['eval']} for evaluation{division}{left_out}{beside}"


def _require_text(values: Mapping[str, Any]) -> None:
    """Raise `InputError` for a value that can't be written as UTF-8 to the files of a run."""
    for name, value in values.items():
        if isinstance(value, str) and value.encode(errors="replace").decode() != value:
            raise InputError(f"{name}: {value} is not UTF-8 text, as the files of a run have to be; rename it")


def _check_inputs(config: JobConfig) -> None:
    """Raise `InputError` if an input is missing or unusable, the device is missing, or the folder is another job's."""
    config.check_inputs()
    _require_own_folder(config)
    if hasattr(config, "device"):
        resolve_device(config.device)
    if isinstance(config, GenerateConfig):
        list_sources(config)
    if isinstance(config, TrainConfig):
        check_records(config)
    if isinstance(config, InspectConfig):
        for file in filter(None, (config.checkpoint, config.compare_with)):
            load_model(file)


def write_params(folder: Path, config: JobConfig) -> None:
    """Write the parameters of a run into its folder."""
    text = yaml.safe_dump(dataclasses.asdict(config), sort_keys=False, allow_unicode=True)
    atomic_write_text(folder / "params.yaml", text)


def keep_old_report(folder: Path, config: InspectConfig) -> None:
    """Move a report with other parameters to ``old/DATE``, and print that. Raises `InputError` for another job's folder."""
    _require_own_folder(config)
    file = folder / "params.yaml"
    if _params_of(file) not in (None, dataclasses.asdict(config)):
        moved = move_aside(folder, (*RUN_FILES, *REPORT_FILES), file)
        print(f"an earlier report with other parameters in {folder} was moved: it is in {moved} now", flush=True)


def _require_own_folder(config: JobConfig) -> None:
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


def _papermill(source: Path, target: Path, values: Mapping[str, Any], root: Path) -> None:
    import papermill  # here for the same reason as in `execute`
    from nbclient.exceptions import DeadKernelError

    logging.getLogger("papermill").setLevel(logging.ERROR)
    # Connected by sockets, because the kernel warns of an open port. The sockets need a folder of their own: by default
    # they lie in the working folder, where the kernel, whose working folder is the project, wouldn't find them, and where
    # parallel runs would share them.
    place = "/tmp" if len(os.fsencode(tempfile.gettempdir())) > LONGEST_TEMP else None
    try:
        with tempfile.TemporaryDirectory(prefix="inpaintkit-", dir=place) as sockets, stoppable_kernel() as kernel:
            papermill.execute_notebook(
                str(source),
                str(target),
                parameters=dict(values),
                cwd=str(root),
                kernel_name="python3",
                progress_bar=False,
                stdout_file=sys.stdout,
                stderr_file=sys.stderr,
                autosave_cell_every=AUTOSAVE_SECONDS,
                on_cell_start=_say_heading,
                config=Config({"KernelManager": {"transport": "ipc", "ip": str(Path(sockets) / "kernel")}}),
                **kernel,
            )
    except DeadKernelError:
        raise RunFailed(
            f"{source.stem} failed: the process of its notebook was killed, perhaps for lack of memory; take smaller sizes, or run the "
            f"same again to continue (see {target})"
        ) from None


def _say_heading(cell: Any, **_: Any) -> None:
    """Print the heading that a notebook has reached, so that the user sees progress."""
    if cell.cell_type == "markdown" and cell.source.startswith("## "):
        print(f"# {cell.source.splitlines()[0].lstrip('# ')}", flush=True)


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
