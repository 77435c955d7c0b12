"""The four notebooks: stored clean, short, and in step with the configuration and the parameter files."""

import ast
import dataclasses
import re
import shlex
import subprocess
import sys
from pathlib import Path
from typing import Any

import nbformat
import pytest
import yaml

from inpaintkit.notebook.parameters import CONFIGS, PRESETS, assigned_names, assignments, describe, resolve, write_cell

ROOT = Path(__file__).parents[2]
NOTEBOOKS = sorted((ROOT / "notebooks").glob("*.ipynb"))
PARAMS = sorted(path for path in (ROOT / "params").glob("*.yaml") if not path.name.startswith(("batch.", "recipe.")))
MAX_CELLS, MAX_LINES = 12, 10


def code_cells(path: Path) -> list[nbformat.NotebookNode]:
    return [cell for cell in nbformat.read(path, as_version=4).cells if cell.cell_type == "code"]


def parameters_cell(path: Path) -> dict[str, Any]:
    """Return the values in the parameters cell of a notebook, by name."""
    (cell,) = (c for c in code_cells(path) if "parameters" in c.metadata.get("tags", []))
    values = assignments(cell.source)
    assert values is not None, "nothing but lines `name = value`"
    return values


def test_there_are_four_in_order() -> None:
    assert [path.stem for path in NOTEBOOKS] == list(CONFIGS)


def test_git_sees_no_change_after_they_were_run_and_saved(tmp_path: Path) -> None:
    for path in NOTEBOOKS:
        book = nbformat.read(path, as_version=4)
        book.metadata.language_info |= {"version": "3.14.0", "file_extension": ".py", "codemirror_mode": {"name": "x"}}
        book.metadata["widgets"] = {"application/vnd.jupyter.widget-state+json": {"state": {"a": "x" * 10_000}}}
        for number, cell in enumerate(cell for cell in book.cells if cell.cell_type == "code"):
            cell.execution_count, cell.outputs = number, [nbformat.v4.new_output("stream", text="x" * 10_000)]
        nbformat.write(book, tmp_path / path.name)
    said = subprocess.run(["make", "-n", "-B", "install"], cwd=ROOT, capture_output=True, text=True, check=True).stdout
    command = re.search(r"filter\.notebooks\.clean '\S+ (.*)'", said)
    assert command, "make install sets no filter"
    words = [sys.executable, *shlex.split(command[1])]
    saved = (tmp_path / NOTEBOOKS[0].name).read_bytes()
    done = subprocess.run(words, input=saved, capture_output=True, check=True)  # as git does
    assert done.stdout == NOTEBOOKS[0].read_bytes()
    subprocess.run([*words, *(tmp_path / path.name for path in NOTEBOOKS)], check=True)
    for path in NOTEBOOKS:
        assert (tmp_path / path.name).read_bytes() == path.read_bytes()


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda p: p.stem)
class TestNotebook:
    def test_is_stored_without_outputs_and_traces_of_runs(self, path: Path) -> None:
        book = nbformat.read(path, as_version=4)
        assert "papermill" not in book.metadata
        for cell in book.cells:
            assert "papermill" not in cell.metadata
            assert "injected-parameters" not in cell.metadata.get("tags", [])
            if cell.cell_type == "code":
                assert not cell.outputs
                assert cell.execution_count is None

    def test_is_short_and_defines_nothing(self, path: Path) -> None:
        cells = code_cells(path)
        assert len(cells) <= MAX_CELLS
        for cell in cells:
            if "parameters" not in cell.metadata.get("tags", []):
                assert len(cell.source.splitlines()) <= MAX_LINES, cell.source
            for node in ast.walk(ast.parse(cell.source)):
                assert not isinstance(node, (ast.FunctionDef, ast.ClassDef)), cell.source

    def test_no_variable_of_its_other_cells_has_an_options_name(self, path: Path) -> None:
        """If the line ``preset`` is deleted, `session.configure` takes any variable that is named like an option."""
        options = {field.name for field in dataclasses.fields(CONFIGS[path.stem])}
        for cell in code_cells(path):
            if "parameters" not in cell.metadata.get("tags", []):
                assert not options & set(assigned_names(cell.source)), cell.source

    def test_its_fills_run_on_the_chosen_device(self, path: Path) -> None:
        for cell in code_cells(path):
            for node in ast.walk(ast.parse(cell.source)):
                if isinstance(node, ast.Call) and ast.unparse(node.func) in ("Inpainter", "StereoConfig"):
                    assert "config.device" in ast.unparse(node)

    def test_says_what_it_reads_writes_and_takes(self, path: Path) -> None:
        first = nbformat.read(path, as_version=4).cells[0].source
        assert all(f"| {word} |" in first for word in ("reads", "writes", "takes"))

    def test_its_parameters_cell_is_written_from_the_options(self, path: Path) -> None:
        """`make sync` writes it."""
        (cell,) = (c for c in code_cells(path) if "parameters" in c.metadata.get("tags", []))
        assert cell.source == write_cell(CONFIGS[path.stem])
        assert 5 <= len(parameters_cell(path)) <= 10

    @pytest.mark.parametrize("preset", [*PRESETS, None])
    def test_its_cell_is_accepted_with_every_preset(self, path: Path, preset: str | None) -> None:
        needed = {"prefix": "mine"} if path.stem == "01_generate" and preset is None else {}
        config = resolve(path, parameters_cell(path) | {"preset": preset} | needed)
        assert isinstance(config, CONFIGS[path.stem])

    def test_every_option_is_listed_under_a_heading(self, path: Path) -> None:
        listed, fields = describe(path), dataclasses.fields(CONFIGS[path.stem])
        assert fields[0].metadata["group"], "a heading comes before the first option"
        for field in fields:
            assert f"  {field.name}: " in listed
            assert field.metadata["help"] in listed


@pytest.mark.parametrize("path", PARAMS, ids=lambda p: p.stem)
def test_each_parameter_file_fits_its_notebook_and_states_its_cost(path: Path) -> None:
    text = path.read_text(encoding="utf-8")
    assert text.startswith("# "), "the first line says what the file is for"
    comment = " ".join(line.strip("# ") for line in text.splitlines() if line.startswith("#"))
    assert re.search(r"(\d|one|two|half a) (s|seconds?|minutes|hours|days|(million )?samples)\b", comment), (
        "and what it costs"
    )
    resolve(path.name.split(".")[0], yaml.safe_load(text))


@pytest.mark.parametrize("size", ["smoke", *PRESETS])
def test_each_notebook_has_a_file_of_each_size(size: str) -> None:
    assert [path.name for path in PARAMS if f".{size}." in path.name] == [f"{name}.{size}.yaml" for name in CONFIGS]


def test_a_machine_whose_share_holds_no_photo_does_not_fail(tmp_path: Path) -> None:
    (tmp_path / "photos").mkdir()
    (tmp_path / "photos" / "a.jpg").write_bytes(b"")
    options = {"prefix": "p", "dataset_dir": str(tmp_path / "photos"), "output_dir": str(tmp_path / "out")}
    cells = [cell.source for cell in code_cells(NOTEBOOKS[0])]
    names: dict[str, Any] = {}
    exec(cells[0], names)
    names["config"] = names["GenerateConfig"](**options, shard="1/2", eval_fraction=0)
    for cell in cells[next(place for place, cell in enumerate(cells) if "generate_dataset(config" in cell) :]:
        exec(cell, names)
    assert names["report"].records == 0
