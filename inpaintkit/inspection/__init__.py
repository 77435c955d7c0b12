"""Apply and judge trained networks: evaluation, tables, stereo pairs.

`figures` needs matplotlib, so it is imported separately.
"""

from inpaintkit.inspection.evaluate import choose_truths, evaluate
from inpaintkit.inspection.fills import FILLS, Fill, compared_fills, make_fills, on_grown_hole, simple_in_thin_holes
from inpaintkit.inspection.inpainter import Inpainter
from inpaintkit.inspection.scores import Evaluation, save_scores
from inpaintkit.inspection.stereo import StereoPair, stereo_pair
from inpaintkit.inspection.stereo_files import (
    convert_pictures,
    make_stereo_files,
    read_photo,
    save_stereo,
    stereo_fill,
    stereo_from_file,
)
from inpaintkit.inspection.stereo_truth import stereo_truth
from inpaintkit.inspection.tables import short_table, tables, versus
from inpaintkit.inspection.truths import (
    Case,
    Truth,
    border_truth,
    photo_scene_truth,
    photo_truth,
    read_textures,
    record_truth,
    scene_truth,
)
from inpaintkit.inspection.verdict import headline, leads_everywhere, verdict
from inpaintkit.training import row_fill

__all__ = [
    "FILLS",
    "Case",
    "Evaluation",
    "Fill",
    "Inpainter",
    "StereoPair",
    "Truth",
    "border_truth",
    "choose_truths",
    "compared_fills",
    "convert_pictures",
    "evaluate",
    "headline",
    "leads_everywhere",
    "make_fills",
    "make_stereo_files",
    "on_grown_hole",
    "photo_scene_truth",
    "photo_truth",
    "read_photo",
    "read_textures",
    "record_truth",
    "row_fill",
    "save_scores",
    "save_stereo",
    "scene_truth",
    "short_table",
    "simple_in_thin_holes",
    "stereo_fill",
    "stereo_from_file",
    "stereo_pair",
    "stereo_truth",
    "tables",
    "verdict",
    "versus",
]
