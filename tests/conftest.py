"""Makes helpers in this folder importable from every room's tests, and lets properties take their time on busy machines."""

import sys
from pathlib import Path

from hypothesis import settings

sys.path.insert(0, str(Path(__file__).parent))

settings.register_profile("inpaintkit", deadline=None)
settings.load_profile("inpaintkit")
