"""Tiny records of noise, for tests in which nothing need be learnt, and the options of a run that takes a second."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from inpaintkit.config import TrainConfig
from inpaintkit.training import Callback, RunView, Trainer

TINY: dict[str, Any] = {
    "crop_size": 64, "max_epoch": 2, "batch_size": 2, "num_samples": 4, "backward_step": 1, "eval_step": 1,
    "device": "cpu", "amp": "off", "perceptual": "alex", "grey_start": True,
}  # fmt: skip


def write_record(folder: Path, number: int, size: int = 96, hole: bool = True) -> None:
    """Write record `number`: noise, with an upright hole."""
    folder.mkdir(parents=True, exist_ok=True)
    rng = np.random.default_rng(number)
    mask = np.zeros((size, size), np.uint8)
    mask[20:60, 30:45] = 255 * hole
    Image.fromarray(rng.integers(0, 255, (size, size, 3), np.uint8)).save(folder / f"p_{number}_C.png")
    Image.fromarray(mask).save(folder / f"p_{number}_M.png")


class Listener(Callback):
    """Callback that collects messages and each row of the history."""

    def __init__(self) -> None:
        self.said: list[str] = []
        self.rows: list[Mapping[str, Any]] = []

    def on_row(self, run: RunView, row: Mapping[str, Any]) -> None:
        self.rows.append(row)

    def on_message(self, run: RunView, message: str) -> None:
        self.said.append(message)

    def heard(self, words: str) -> bool:
        """Return True if a message with these words came."""
        return any(words in sentence for sentence in self.said)


def tiny(data: Path, model_dir: Path, **changes: Any) -> dict[str, Any]:
    """Return the options of a tiny run on `data` in `model_dir`."""
    return TINY | {"data_dir": str(data), "model_dir": str(model_dir)} | changes


def tiny_trainer(data: Path, *callbacks: Callback, **changes: Any) -> Trainer:
    """Return a trainer of `data` that runs in the folder ``run`` beside it."""
    return Trainer(TrainConfig.from_params(tiny(data, data.parent / "run") | changes), callbacks)
