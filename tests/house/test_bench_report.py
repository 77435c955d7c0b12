"""The report of `make bench`: which tables are plotted, and that one part can be updated alone."""

from __future__ import annotations

from pathlib import Path
from types import ModuleType

import pytest
from house_scripts import load_script

SCRIPT = Path(__file__).parents[2] / "benchmarks" / "run_all.py"
PRINTED = """filling, size = pixels:

| size | seconds | s per size | MiB |
| --- | ---: | ---: | ---: |
| 1x | 0.3 | 0.3 | 283 |
| 2x | 0.6 | 0.3 | 435 |

training step:

| size | data | forward |
| --- | ---: | ---: |
| 1x | 0.1 | 0.2 |
| 2x | 0.2 | 0.4 |
"""


@pytest.fixture(scope="module")
def run_all() -> ModuleType:
    return load_script(SCRIPT)


def test_only_cost_and_memory_against_size_are_plotted(run_all: ModuleType, tmp_path: Path) -> None:
    tables = run_all.size_tables(PRINTED)
    assert list(tables) == ["filling, size = pixels"]
    assert [row[0] for row in tables["filling, size = pixels"]] == ["size", "1x", "2x"]
    run_all.plot(tables).savefig(tmp_path / "plot.png")


def test_sections_not_measured_again_stay(run_all: ModuleType, tmp_path: Path) -> None:
    report = tmp_path / "benchmarks.md"
    report.write_text("# Benchmarks\n\nMachine: any\n\n## Depth\n\nfast\n\n## Warp\n\nfaster\n", encoding="utf-8")
    assert run_all.read_sections(report) == {"Depth": "## Depth\n\nfast", "Warp": "## Warp\n\nfaster"}
    assert run_all.read_sections(tmp_path / "none.md") == {}
