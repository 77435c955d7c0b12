"""``make lab`` opens JupyterLab at the repository's root, where photos, data and runs can be seen."""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PRIVATE = ("JUPYTER_CONFIG_DIR", "JUPYTER_RUNTIME_DIR", "JUPYTER_DATA_DIR", "IPYTHONDIR")


@pytest.mark.slow
def test_it_serves_the_repository_and_opens_the_first_notebook(tmp_path: Path) -> None:
    recipe = re.search(r"^lab:.*\n\t\$\(BIN\)/jupyter lab (.*)$", (ROOT / "Makefile").read_text(), re.MULTILINE)
    assert recipe
    command = [sys.executable, "-m", "jupyterlab", *shlex.split(recipe[1])]
    command += ["--no-browser", "--allow-root", "--ServerApp.port=0"]
    environment = os.environ | {name: str(tmp_path / name) for name in PRIVATE}
    with subprocess.Popen(command, cwd=ROOT, env=environment, stderr=subprocess.PIPE, text=True) as server:
        said = ""
        for line in server.stderr or ():
            said += line
            if "?token=" in line:
                break
        server.kill()
    assert f"Serving notebooks from local directory: {ROOT}\n" in said
    assert "/lab/tree/notebooks/01_generate.ipynb?token=" in said
