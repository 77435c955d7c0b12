"""What notebooks and the command line need. Names are imported lazily: a mistyped command shouldn't load torch."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from inpaintkit.notebook.runs import execute
    from inpaintkit.notebook.widgets import FillComparer, MaskPreview, RecordBrowser, StereoPreview, TrainingMonitor

__all__ = ["FillComparer", "MaskPreview", "RecordBrowser", "StereoPreview", "TrainingMonitor", "execute"]


def __getattr__(name: str) -> Any:
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f"{__name__}.{'runs' if name == 'execute' else 'widgets'}"), name)
