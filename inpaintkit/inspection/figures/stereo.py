"""A stereo pair, ready to be looked at."""

from matplotlib.figure import Figure

from inpaintkit.hole_colour import paint_hole
from inpaintkit.inspection.figures.base import (
    INK,
    LEFT_HOLE_COLOUR,
    RIGHT_HOLE_COLOUR,
    TITLE_SIZE,
    image_grid,
    show_picture,
)
from inpaintkit.inspection.pictures import picture_batch
from inpaintkit.inspection.stereo import StereoPair


def stereo_panel(pair: StereoPair) -> Figure:
    """Show both views, the anaglyph, and where each view had been filled."""
    height, width = pair.left.shape[-2:]
    figure, axes = image_grid(2, 2, aspect=height / width, inches=min(5.0, 5.0 * width / height))
    holes = paint_hole(
        paint_hole(pair.left[0] * 0 + 1, pair.left_hole[0], LEFT_HOLE_COLOUR), pair.right_hole[0], RIGHT_HOLE_COLOUR
    )
    anaglyph = picture_batch(pair.anaglyph())[0][0]
    panels = {
        "left": pair.left[0],
        "right": pair.right[0],
        "red-cyan anaglyph": anaglyph,
        "filled: left eye orange, right eye blue": holes,
    }
    for ax, (title, image) in zip(axes.flat, panels.items(), strict=True):
        show_picture(ax, image)
        ax.set_title(title, fontsize=TITLE_SIZE, color=INK)
    return figure
