"""Photos and records as files, for all tests."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
from PIL import Image

SAMPLES = Path(__file__).parents[1] / "data" / "samples"


def copy_photos(folder: Path, **photos: str) -> Path:
    """Copy shipped photos (stems separated by blanks) into ``train`` and ``eval`` of `folder`; return `folder`."""
    for split, stems in photos.items():
        (folder / split).mkdir(parents=True, exist_ok=True)
        for stem in stems.split():
            shutil.copy(next(SAMPLES.glob(f"*/{stem}.jpg")), folder / split)
    return folder


def noise(seed: int, height: int, width: int) -> np.ndarray:
    """Return a picture (H, W, 3) uint8 of noise, different for each `seed`."""
    return np.random.default_rng(seed).integers(0, 256, (height, width, 3), np.uint8)


def write_record(folder: Path, stem: str, picture: np.ndarray, hole: np.ndarray) -> tuple[Path, Path]:
    """Write a record into `folder`, picture (H, W, 3) uint8 and hole (H, W), 0 = known, and return its two files."""
    folder.mkdir(parents=True, exist_ok=True)
    files = folder / f"{stem}_C.png", folder / f"{stem}_M.png"
    Image.fromarray(picture).save(files[0])
    Image.fromarray((hole > 0).astype(np.uint8) * 255).save(files[1])
    return files
