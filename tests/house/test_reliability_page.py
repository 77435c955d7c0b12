"""The reliability page names tests that exist and that its one command runs."""

from __future__ import annotations

import re
from pathlib import Path

ROOT = Path(__file__).parents[2]
NAMED = re.compile(r"`(test_\w+\.py)`(?:: `(\w+)`)?")


def test_tests_named_on_the_page_exist_and_are_marked() -> None:
    files = {path.name: path.read_text(encoding="utf-8") for path in ROOT.glob("tests/*/test_*.py")}
    named = NAMED.findall((ROOT / "docs/reliability.md").read_text(encoding="utf-8"))
    assert len(named) > 40
    for file, name in named:
        assert name in files[file], f"{file} has no {name}"
        assert "pytest.mark.attack" in files[file], f"`make reliability` runs nothing of {file}"
