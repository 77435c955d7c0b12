"""A small real data set: records generated from two of the shipped photos."""

from pathlib import Path

import pytest
import torch
from PIL import Image

from inpaintkit.config import GenerateConfig
from inpaintkit.data import generate_dataset

SAMPLES = Path(__file__).parents[2] / "data" / "samples"


@pytest.fixture(scope="session")
def records(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a data set folder with a few records of 256 px in train/ and eval/."""
    root = tmp_path_factory.mktemp("records")
    for split, names in {"train": ("mountain_path", "fig_bowl"), "eval": ("astronaut",)}.items():
        (root / "pictures" / split).mkdir(parents=True)
        for name in names:
            photo = Image.open(SAMPLES / split / f"{name}.jpg")
            photo.thumbnail((640, 640))
            photo.save(root / "pictures" / split / f"{name}.png")
    config = GenerateConfig(
        str(root / "pictures"), str(root / "data"), "test", size=256, num_samples=2, divergence_level=3, workers=0
    )
    generate_dataset(config)
    return root / "data"


@pytest.fixture(scope="session")
def tiny_dinov2(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the folder of a real transformers checkpoint of DINOv2, of two small layers with random weights."""
    from transformers import Dinov2Config, Dinov2Model

    folder = tmp_path_factory.mktemp("dinov2")
    config = Dinov2Config(hidden_size=24, num_hidden_layers=2, num_attention_heads=2, patch_size=14, image_size=56)
    with torch.random.fork_rng():
        torch.manual_seed(0)
        Dinov2Model(config).save_pretrained(folder)
    return folder
