"""Checkpoint -> pictures and judgement."""

from inpaintkit.inspection import figures
from inpaintkit.inspection.evaluate import Evaluation, evaluate, examples
from inpaintkit.inspection.fills import FILLS, Fill, biharmonic_fill, navier_stokes_fill, row_fill, telea_fill
from inpaintkit.inspection.inpainter import Inpainter
from inpaintkit.inspection.stereo import StereoPair, stereo_pair
from inpaintkit.inspection.stereo_files import make_stereo_files, save_stereo, stereo_from_file

__all__ = [
    "FILLS",
    "Evaluation",
    "Fill",
    "Inpainter",
    "StereoPair",
    "biharmonic_fill",
    "evaluate",
    "examples",
    "figures",
    "make_stereo_files",
    "navier_stokes_fill",
    "row_fill",
    "save_stereo",
    "stereo_from_file",
    "stereo_pair",
    "telea_fill",
]
