"""Photos and records as files, for the tests of every room."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
from PIL import Image

SAMPLES = Path(__file__).parents[1] / "data" / "samples"


def copy_photos(folder: Path, **photos: str) -> Path:
    """Copy shipped photos, named by their stems and separated by blanks, into ``train`` and ``eval`` of `folder`; return that."""
    for split, stems in photos.items():
        (folder / split).mkdir(parents=True, exist_ok=True)
        for stem in stems.split():
            shutil.copy(next(SAMPLES.glob(f"*/{stem}.jpg")), folder / split)
    return folder


def write_record(folder: Path, stem: str, picture: np.ndarray, hole: np.ndarray) -> None:
    """Write a record into `folder`: picture (H, W, 3) uint8, hole (H, W), 0 = known."""
    folder.mkdir(parents=True, exist_ok=True)
    Image.fromarray(picture).save(folder / f"{stem}_C.png")
    Image.fromarray((hole > 0).astype(np.uint8) * 255).save(folder / f"{stem}_M.png")
