"""Headless runs as started in practice: from anywhere, also by papermill, several at once, killed and repeated."""

import json
import logging
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import nbformat
import pytest
from ipykernel.kernelapp import IPKernelApp
from toy_files import copy_photos

from inpaintkit.data import read_manifest
from inpaintkit.data.dataset import find_pairs
from inpaintkit.notebook.project import find_project
from inpaintkit.notebook.stoppable import ThisInterpreter

ROOT = find_project()
SECONDS = 240

pytestmark = pytest.mark.slow


@pytest.fixture
def pictures(tmp_path: Path) -> Path:
    """Return a data set folder with two photos for training and one for evaluation."""
    return copy_photos(tmp_path / "pictures", train="cat_face dahlia", eval="astronaut")


def params(folder: Path, prefix: str) -> dict[str, object]:
    return {
        "dataset_dir": str(folder / "pictures"),
        "output_dir": str(folder / "data"),
        "prefix": prefix,
        "size": 256,
        "num_samples": 1,
        "workers": 0,
        "run_dir": str(folder / prefix),
    }


def words(values: dict[str, object]) -> list[str]:
    return [word for name, value in values.items() for word in ("-p", f"{name}={value}")]


def start(folder: Path, *command: str, **variables: str) -> "subprocess.Popen[str]":
    """Start a command in `folder` as from a fresh terminal: no front end or progress settings, but `variables` set."""
    known = ("INPAINTKIT_PROGRESS", "JPY_SESSION_NAME", "VSCODE_PID", "VSCODE_CWD", "COLAB_RELEASE_TAG")
    environment = {name: value for name, value in os.environ.items() if name not in known}
    return subprocess.Popen(
        [sys.executable, "-m", *command],
        cwd=folder,
        env=environment | variables,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


def run(folder: Path) -> "subprocess.Popen[str]":
    temporary = folder / ("t" * 93)  # too long a path for a socket
    temporary.mkdir(exist_ok=True)
    return start(folder, "inpaintkit", "run", "01_generate", *words(params(folder, "k")), TMPDIR=str(temporary))


def finish(process: "subprocess.Popen[str]") -> str:
    output, _ = process.communicate(timeout=SECONDS)
    assert process.returncode == 0, output
    return output


def outputs(executed: Path) -> list[nbformat.NotebookNode]:
    cells = nbformat.read(executed, as_version=4).cells
    return [output for cell in cells if cell.cell_type == "code" for output in cell.outputs]


def test_runs_elsewhere_do_not_collide_a_killed_one_can_be_repeated_and_plain_papermill_works_too(
    pictures: Path, tmp_path: Path
) -> None:
    notebook, executed = ROOT / "notebooks" / "01_generate.ipynb", tmp_path / "executed.ipynb"
    plain = params(tmp_path, "c") | {"preset": None}
    killed = run(tmp_path)
    waiting = start(tmp_path, "papermill", str(notebook), str(executed), "--log-output", *_papermill_words(plain))
    first = kill_when_it_has_begun(killed, tmp_path)
    said = repeat_the_killed_one(tmp_path, first)
    assert "%|" not in said, "plain lines, no bar"
    sections = [line for line in said.splitlines() if line.startswith("# ")]
    assert sections == ["# Parameters", "# One photo, step by step", "# The job", "# The records"]
    assert "100% pictures: 3 of 3" in finish(waiting)
    for file in (tmp_path / "k" / "01_generate.ipynb", executed):
        kinds = {kind for output in outputs(file) for kind in output.get("data", {})}
        assert "application/vnd.jupyter.widget-view+json" not in kinds, "static figures instead of widgets"
        shown = [output.data["text/html"] for output in outputs(file) if "text/html" in output.get("data", {})]
        pictures_shown = [html for html in shown if "<img" in html]
        assert len(pictures_shown) >= 3
        assert all(' alt="' in html and ' alt=""' not in html for html in pictures_shown)
    made = [{row["source"] for row in read_manifest(tmp_path / "data", f"{name}_FastDepth")} for name in "kc"]
    assert made[0] == made[1] == {"train/cat_face.jpg", "train/dahlia.jpg", "eval/astronaut.jpg"}
    assert len(find_pairs(tmp_path / "data" / "train")) > 0
    assert not list(tmp_path.glob("kernel*"))


def _papermill_words(values: dict[str, object]) -> list[str]:
    """Return options for papermill, whose -p takes name and value as two words."""
    return [word for name, value in values.items() for word in ("-p", name, str(value))]


def kill_when_it_has_begun(killed: "subprocess.Popen[str]", folder: Path) -> dict[Path, int]:
    """Kill the run "k" once one of its pictures is done; return its records of finished work with their times."""
    parts, deadline = folder / "data" / "manifest" / "k_FastDepth", time.monotonic() + SECONDS
    while not list(parts.glob("*/*.jsonl")) and time.monotonic() < deadline:
        time.sleep(0.05)
    killed.send_signal(signal.SIGKILL)
    killed.communicate()
    assert json.loads((folder / "k" / "manifest.json").read_text())["status"] == "running"
    first = {path: path.stat().st_mtime_ns for path in parts.glob("*/*.jsonl")}
    assert first
    return first


def repeat_the_killed_one(folder: Path, first: dict[Path, int]) -> str:
    """Check that the same command resumes the killed run and makes nothing again; return its output."""
    said, deadline = "", time.monotonic() + SECONDS
    while time.monotonic() < deadline:  # the kernel ends a moment after the process that started it
        again = run(folder)
        said, _ = again.communicate(timeout=SECONDS)
        if "in use by process" not in said:
            break
    assert again.returncode == 0, said
    assert json.loads((folder / "k" / "manifest.json").read_text())["status"] == "done"
    assert len(list((folder / "data" / "manifest" / "k_FastDepth").glob("*/*.jsonl"))) == 3
    assert {path: path.stat().st_mtime_ns for path in first} == first, "what was finished is not made again"
    return said


def test_a_kernel_shut_down_while_still_answering_logs_no_error() -> None:
    """Jupyter interrupts a kernel before it ends it, which was logged as ERROR while the kernel still answered."""
    app = IPKernelApp()
    app.parse_command_line(ThisInterpreter().kernel_spec.argv[3:])
    assert app.log_level >= logging.CRITICAL
