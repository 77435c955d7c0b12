"""Find and import the real iw3 if a checkout of it is available, and keep it from downloading."""

from __future__ import annotations

import argparse
import importlib
import os
import sys
import tempfile
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from inpaintkit.depth import create_depth_model

HOW = "set IW3_DIR to a checkout of nagadomi/nunif, see tests/interop/test_iw3.py"


def require_iw3() -> Path:
    """Make `iw3` and `nunif` importable and return a new folder for their files; skip the tests if that fails."""
    place = os.environ.get("IW3_DIR")
    if not place:
        pytest.skip(f"iw3 isn't at hand: {HOW}", allow_module_level=True)
    if not (Path(place) / "iw3" / "training" / "inpaint" / "trainer.py").is_file():
        pytest.skip(f"IW3_DIR={place} holds no iw3/training/inpaint/trainer.py: {HOW}", allow_module_level=True)
    sys.path.append(place)
    for package in ("dctorch", "lpips", "schedulefree", "packaging"):
        pytest.importorskip(package, reason=f"iw3 needs the package {package}: {HOW}")
    os.environ["NUNIF_HOME"] = tempfile.mkdtemp(prefix="iw3_home_")
    return Path(os.environ["NUNIF_HOME"])


def iw3(name: str) -> Any:
    """Return the module `name` of iw3's repository."""
    return importlib.import_module(name)


def training_options(data: Path, folder: Path, *options: str) -> argparse.Namespace:
    """Return the options of iw3's trainer for the data set `data`, with its defaults."""
    parser = argparse.ArgumentParser()
    defaults = iw3("nunif.training.trainer").create_trainer_default_parser()
    iw3("iw3.training.inpaint.trainer").register(parser.add_subparsers(), defaults)
    return parser.parse_args(["inpaint", "-i", str(data), "--model-dir", str(folder), *options])


def train(data: Path, folder: Path, *options: str) -> Any:
    """Run iw3's trainer on the data set `data`, on the CPU, and return it; its criterion is what replaces LPIPS."""
    words = ["--gpu", "-1", "--num-workers", "0", "--eval-step", "1", "--seed", "1"]
    words += ["--batch-size", "2", "--backward-step", "1", "--num-samples", "4", "--learning-rate-cycles", "1"]
    args = training_options(data, folder, *words, *options)
    args.loss, args.arch, args.diff_aug = "l1lpips", "inpaint.light_inpaint_v1", True
    run = iw3("iw3.training.inpaint.trainer").InpaintTrainer(args)
    run.fit()
    return run


class OurDepth:
    """FastDepth with the interface that iw3's generator expects; iw3's own networks would have to be downloaded."""

    def __init__(self) -> None:
        self.model = create_depth_model("FastDepth")

    def load(self, **options: Any) -> None:
        pass

    def disable_ema(self) -> None:
        pass

    def is_metric(self) -> bool:
        return False

    def infer(self, picture: Any, **options: Any) -> Tensor:
        pixels = iw3("torchvision.transforms.functional").to_tensor(picture)[None]
        return torch.nn.functional.interpolate(self.model.infer(pixels), pixels.shape[-2:], mode="bilinear")[0]

    def minmax_normalize_chw(self, depth: Tensor) -> Tensor:
        return depth
