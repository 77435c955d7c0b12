"""Run a notebook headless and strictly: checked parameters in, a complete run folder out.

papermill only warns about misspelt parameters and accepts any type. `execute` rejects misspelt names and wrong types
before anything starts, checks the disk, and leaves a run folder that records how the run ended, whatever happened.
"""

import dataclasses
import logging
import os
import sys
import tempfile
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from traitlets.config import Config

from inpaintkit.config import GenerateConfig, InspectConfig, JobConfig, TrainConfig, changes, resolve_device
from inpaintkit.data.generate.plan import list_sources
from inpaintkit.errors import InputError, RunFailed
from inpaintkit.files import FolderLock, require_writable
from inpaintkit.model import load_model
from inpaintkit.notebook.parameters import PRESET, in_project, resolve
from inpaintkit.notebook.project import find_notebook
from inpaintkit.notebook.run_folder import (
    DONE,
    OUT_OF_TIME,
    RUN_FILES,
    Manifest,
    keep_old_report,
    read_metrics,
    require_own_folder,
    run_manifest,
    write_params,
)
from inpaintkit.notebook.schemas import load_nbformat
from inpaintkit.notebook.stoppable import stoppable_kernel
from inpaintkit.training.feeding import check_records
from inpaintkit.training.resume import find_run, move_old_run

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
    source = find_notebook(notebook)
    config = resolve(source, params, run_dir)
    values = dataclasses.asdict(config)
    _require_text(values)
    with in_project(source) as root:
        _check_inputs(config)
        folder = require_writable(config.run_folder, "run_dir").resolve()
    with FolderLock(folder, "run_dir", name=f".{source.stem}.lock"):
        goes_on = False
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
            goes_on = found.state is not None
        if isinstance(config, InspectConfig):
            keep_old_report(folder, config)
        write_params(folder, config)
        manifest = Manifest(config, folder, root, goes_on)
        _run_cells(source, folder, {PRESET: params.get(PRESET), **values}, root, manifest)
        report = RunReport(source.stem, folder, time.monotonic() - manifest.started, read_metrics(folder))
        manifest.end(report.status, metrics=report.metrics)
    return report


def _run_cells(source: Path, folder: Path, values: Mapping[str, Any], root: Path, manifest: Manifest) -> None:
    """Run the notebook `source`; if it doesn't reach its end, write to `manifest` why.

    Raises `KeyboardInterrupt` after a stop signal, `RunFailed` if a cell failed or the kernel died.
    """
    from papermill.exceptions import PapermillExecutionError  # not at the top, for the same reason as in `execute`

    try:
        _papermill(source, folder / source.name, values, root)
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
    require_own_folder(config)
    if hasattr(config, "device"):
        resolve_device(config.device)
    if isinstance(config, GenerateConfig):
        list_sources(config)
    if isinstance(config, TrainConfig):
        check_records(config)
    if isinstance(config, InspectConfig):
        for file in filter(None, (config.checkpoint, config.compare_with)):
            load_model(file)


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
