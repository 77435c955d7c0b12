"""Make helpers in this folder importable from all tests, and let property tests take their time on busy machines."""

import os
import sys
from pathlib import Path

import pytest
from hypothesis import settings

# Set before torch is imported, also for processes that tests start: on toy sizes, threads only wait for each other.
os.environ.setdefault("OMP_NUM_THREADS", "1")
sys.path.insert(0, str(Path(__file__).parent))

import own_process  # noqa: F401  says what the fork server imports, before a test starts it

from inpaintkit.notebook.schemas import load_nbformat

load_nbformat()  # before any test imports it

settings.register_profile("inpaintkit", deadline=None)
settings.load_profile("inpaintkit")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Start with the files that hold slow tests, so that no core is left waiting for another's at the end."""
    slow = {item.path for item in items if item.get_closest_marker("slow")}
    items.sort(key=lambda item: item.path not in slow)
