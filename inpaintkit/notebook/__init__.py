"""What notebooks and the command line need."""

from inpaintkit.notebook.runs import RunReport, execute, read_parameters, resolve
from inpaintkit.notebook.widgets import MaskPreview

__all__ = ["MaskPreview", "RunReport", "execute", "read_parameters", "resolve"]
