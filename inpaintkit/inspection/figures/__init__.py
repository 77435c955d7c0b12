"""Draw data, training, fills and stereo pairs as matplotlib figures; nothing else in the package needs matplotlib."""

from matplotlib.figure import Figure

from inpaintkit.inspection.figures.base import INK, PALETTE, QUIET, png_bytes, save_figure
from inpaintkit.inspection.figures.curves import CurveFile, gan_epochs, loss_curves
from inpaintkit.inspection.figures.fills import before_after, discriminator_maps, extremes, hole_spectra, metrics_bars
from inpaintkit.inspection.figures.records import (
    contact_sheet,
    depth_and_hole,
    hardest_records,
    hole_histogram,
    parameter_effects,
    samples_panel,
)
from inpaintkit.inspection.figures.stereo import stereo_panel

__all__ = [
    "INK",
    "PALETTE",
    "QUIET",
    "CurveFile",
    "Figure",
    "before_after",
    "contact_sheet",
    "depth_and_hole",
    "discriminator_maps",
    "extremes",
    "gan_epochs",
    "hardest_records",
    "hole_histogram",
    "hole_spectra",
    "loss_curves",
    "metrics_bars",
    "parameter_effects",
    "png_bytes",
    "samples_panel",
    "save_figure",
    "stereo_panel",
]
