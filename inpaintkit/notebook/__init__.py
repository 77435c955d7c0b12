"""What notebooks and the command line need."""

from inpaintkit.notebook.runs import RunReport, execute, read_parameters, resolve
from inpaintkit.notebook.widgets import FillComparer, MaskPreview, RecordBrowser, StereoPreview, TrainingMonitor

__all__ = [
    "FillComparer",
    "MaskPreview",
    "RecordBrowser",
    "RunReport",
    "StereoPreview",
    "TrainingMonitor",
    "execute",
    "read_parameters",
    "resolve",
]
