"""Write records small enough to compute by hand."""

from pathlib import Path

import numpy as np
from toy_files import write_record

from inpaintkit.seeds import numpy_rng

SIDE = 96
GREY = 128


def write_records(folder: Path, count: int, textured: bool = False, side: int = SIDE) -> None:
    for number in range(count):
        picture = np.full((side, side, 3), GREY, np.uint8)
        if textured:
            picture = numpy_rng("texture", number).integers(0, 256, picture.shape).astype(np.uint8)
        hole = np.zeros((side, side), np.uint8)
        hole[30:60, 24:26] = 255
        hole[20:70, 50:62] = 255
        write_record(folder, f"toy_{number}", picture, hole)
