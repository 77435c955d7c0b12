"""Makes helpers in this folder importable from every room's tests, and lets properties take their time on busy machines."""

import os
import sys
from pathlib import Path

import pytest
from hypothesis import settings

# Before torch is imported, here and in the processes that tests start: more threads wait for each other on the toys of tests.
os.environ.setdefault("OMP_NUM_THREADS", "1")
sys.path.insert(0, str(Path(__file__).parent))

import own_process  # noqa: F401  says what the fork server imports, before a test starts it

from inpaintkit.notebook.schemas import load_nbformat

load_nbformat()  # before a test imports it

settings.register_profile("inpaintkit", deadline=None)
settings.load_profile("inpaintkit")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Begin with the files that hold slow tests, lest one core waits for the other's in the end."""
    slow = {item.path for item in items if item.get_closest_marker("slow")}
    items.sort(key=lambda item: item.path not in slow)
