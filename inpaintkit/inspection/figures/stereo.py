"""Show a stereo pair."""

import torch
from matplotlib.figure import Figure

from inpaintkit.hole_colour import paint_hole
from inpaintkit.inspection.figures import base
from inpaintkit.inspection.pictures import picture_batch
from inpaintkit.inspection.stereo import StereoPair


def stereo_panel(pair: StereoPair) -> Figure:
    """Show both views, the anaglyph, and which pixels of each view were filled.

    The four panels stand side by side if they are upright, else two by two.
    """
    height, width = pair.left.shape[-2:]
    rows, columns = (1, 4) if height > width else (2, 2)
    figure, axes = base.image_grid(rows, columns, aspect=height / width, inches=min(5.0, 5.0 * width / height))
    holes = paint_hole(torch.ones_like(pair.left[0]), pair.left_hole[0], base.LEFT_HOLE_COLOUR)
    holes = paint_hole(holes, pair.right_hole[0], base.RIGHT_HOLE_COLOUR)
    anaglyph = picture_batch(pair.anaglyph())[0]
    panels = {
        "left": pair.left[0],
        "right": pair.right[0],
        "red-cyan anaglyph": anaglyph,
        "filled: left eye orange, right eye blue": holes,
    }
    for ax, image in zip(axes.flat, panels.values(), strict=True):
        base.show_picture(ax, image)
    base.set_titles(axes.flat, panels)
    return figure
