"""Makes helpers in this folder importable from every room's tests, and lets properties take their time on busy machines."""

import sys
from pathlib import Path

from hypothesis import settings

sys.path.insert(0, str(Path(__file__).parent))

import own_process  # noqa: F401  says what the fork server imports, before a test starts it

settings.register_profile("inpaintkit", deadline=None)
settings.load_profile("inpaintkit")
