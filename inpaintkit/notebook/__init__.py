"""What notebooks and the command line need."""

from inpaintkit.notebook.runs import RunFailed, RunReport, execute, read_parameters, resolve
from inpaintkit.notebook.widgets import MaskPreview

__all__ = ["MaskPreview", "RunFailed", "RunReport", "execute", "read_parameters", "resolve"]
