"""The widgets of the notebooks; those that are `Showable` also have a figure, for headless runs."""

from inpaintkit.notebook.widgets.fill_comparer import FillComparer
from inpaintkit.notebook.widgets.mask_preview import MaskPreview
from inpaintkit.notebook.widgets.parts import Showable, close_all
from inpaintkit.notebook.widgets.progress import HtmlProgress
from inpaintkit.notebook.widgets.record_browser import RecordBrowser
from inpaintkit.notebook.widgets.stereo_preview import StereoPreview
from inpaintkit.notebook.widgets.training_monitor import LiveCurves, TrainingMonitor

__all__ = [
    "FillComparer",
    "HtmlProgress",
    "LiveCurves",
    "MaskPreview",
    "RecordBrowser",
    "Showable",
    "StereoPreview",
    "TrainingMonitor",
    "close_all",
]
