"""Records small enough to reckon with, written to a folder."""

from pathlib import Path

import numpy as np
from PIL import Image

from inpaintkit.seeds import numpy_rng

SIDE = 96
GREY = 128


def write_records(folder: Path, count: int, textured: bool = False, side: int = SIDE) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for number in range(count):
        picture = np.full((side, side, 3), GREY, np.uint8)
        if textured:
            picture = numpy_rng("texture", number).integers(0, 256, picture.shape).astype(np.uint8)
        hole = np.zeros((side, side), np.uint8)
        hole[30:60, 24:26] = 255
        hole[20:70, 50:62] = 255
        Image.fromarray(picture).save(folder / f"toy_{number}_C.png")
        Image.fromarray(hole).save(folder / f"toy_{number}_M.png")
