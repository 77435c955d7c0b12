"""Facts about the machine and its software, for a run's manifest and for `doctor`."""

import importlib.metadata
import os
import platform
import subprocess
from pathlib import Path
from typing import Any

import torch

import inpaintkit
from inpaintkit.arithmetic import cpu_flags

LISTED = (
    "torch", "torchvision", "numpy", "pillow", "papermill", "jupyterlab", "schedulefree", "opencv-python-headless",
    "av", "transformers",
)  # fmt: skip
CPU_FEATURES = ("amx_bf16", "avx512_bf16", "avx512f", "avx2")
"""Vector extensions that matter for speed."""


def versions() -> dict[str, str]:
    """Return the versions of Python, the kit and the packages that are `LISTED`."""
    found = {"python": platform.python_version(), "inpaintkit": inpaintkit.__version__}
    for name in LISTED:
        try:
            found[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            found[name] = "not installed"
    return found


def machine_facts() -> dict[str, Any]:
    """Return the features of this machine that decide how fast a run is, without names of hosts or users."""
    gpus = torch.cuda.device_count() if torch.cuda.is_available() else 0
    return {
        "system": platform.system(),
        "processor": platform.machine(),
        "cores": os.cpu_count(),
        "threads": torch.get_num_threads(),
        "cpu_features": [name for name in CPU_FEATURES if name in cpu_flags()],
        "gpus": [torch.cuda.get_device_name(number) for number in range(gpus)],
    }


def source_revision(root: Path) -> str | None:
    """Return the git commit of the project, with ``+changes`` if the working tree differs; None without git."""
    command = ["git", "-C", str(root), "describe", "--always", "--exclude=*", "--abbrev=40", "--dirty=+changes"]
    try:
        return subprocess.run(command, capture_output=True, text=True, check=True, timeout=10).stdout.strip()
    except (OSError, subprocess.SubprocessError):
        return None
