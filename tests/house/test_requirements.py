"""The requirements are listed twice, for pip and for conda, and must agree."""

import re
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).parents[2]


def pyproject_list(key: str) -> list[str]:
    """Return a list of pyproject.toml (Python 3.10 has no tomllib)."""
    block = re.search(rf"^{key} = \[\n(.*?)^\]", (ROOT / "pyproject.toml").read_text(), re.M | re.S)
    assert block is not None
    return re.findall(r'"(.+?)"', block[1])


def test_environment_and_pyproject_ask_for_the_same() -> None:
    environment = yaml.safe_load((ROOT / "environment.yml").read_text())["dependencies"]
    pip = next(part["pip"] for part in environment if isinstance(part, dict))
    assert pip == pyproject_list("dependencies")
    python = re.search(r'requires-python = "(.+)"', (ROOT / "pyproject.toml").read_text())
    assert python is not None
    assert f"python{python[1]}" in environment


def test_windows_itself_is_refused_in_a_sentence() -> None:
    code = "import sys; sys.platform = 'win32'; import inpaintkit"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert done.stderr.strip().endswith("use it in WSL 2, which is a Linux")


def test_the_design_cards_packages_are_required() -> None:
    names = {re.split(r"[><=]", line)[0] for line in pyproject_list("dependencies")}
    assert {"torch", "torchvision", "jupyterlab", "ipywidgets", "matplotlib", "numpy", "pillow", "papermill"} <= names


def tracked_files() -> list[Path]:
    done = subprocess.run(["git", "-C", str(ROOT), "ls-files", "-z"], capture_output=True, text=True)
    if done.returncode:
        pytest.skip("not a git checkout")
    return [ROOT / name for name in done.stdout.split("\0") if name]


def test_nothing_needs_a_folder_outside_the_repository() -> None:
    outside = re.compile(r"\.\./shared|/work/")
    for path in tracked_files():
        if path.suffix in (".py", ".ipynb", ".yaml", ".yml", ".toml", ".md") and path != Path(__file__).resolve():
            assert not outside.search(path.read_text(encoding="utf-8")), path


def test_every_shipped_photo_is_attributed() -> None:
    attribution = (ROOT / "data" / "samples" / "ATTRIBUTION.md").read_text(encoding="utf-8")
    photos = [p for p in (ROOT / "data" / "samples").glob("*/*") if p.suffix == ".jpg"]
    assert len(photos) == 14
    for photo in photos:
        assert f"`{photo.parent.name}/{photo.name}`" in attribution
