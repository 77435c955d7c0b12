"""Records small enough to compute by hand, and a generator whose weights behave like trained ones."""

import pytest
import torch
from toy_records import SIDE, write_records

from inpaintkit.data import InpaintDataset
from inpaintkit.model import LightInpaintV1
from inpaintkit.seeds import torch_rng

MIXING = 0.01
"""Standard deviation of the weights that mix places: five times what a hundred steps of training give."""
BIAS = 0.05
"""Standard deviation of biases; they start at 0, and then a missing one would go unnoticed."""
CONTRAST = 0.25
"""Standard deviation of natural pictures, which a trained network predicts."""


@pytest.fixture(scope="session")
def generator() -> LightInpaintV1:
    """A generator with strong mixing between places, biases, and predictions of natural contrast: every layer counts."""
    model = LightInpaintV1(torch_rng("generator"), grey_start=True).eval()
    with torch.no_grad():
        for name, weight in model.named_parameters():
            if name.endswith("proj_spatial.weight"):
                weight.normal_(0, MIXING, generator=torch_rng(name))
            elif name.endswith("bias"):
                weight.add_(torch.randn(weight.shape, generator=torch_rng(name)), alpha=BIAS)
        picture = torch.rand(1, 3, 128, 128, generator=torch_rng("picture")) * 2 - 1
        prediction = model.predict(picture, torch.zeros(1, 1, 32, 32, dtype=torch.bool), 128, 128)
        model.to_image[1].weight.mul_(CONTRAST / prediction.std())
    return model.eval()


@pytest.fixture(scope="session")
def records(tmp_path_factory: pytest.TempPathFactory) -> InpaintDataset:
    """Four records of 96 px: grey pictures, each with a hole 2 px wide and one 12 px wide."""
    folder = tmp_path_factory.mktemp("data") / "eval"
    write_records(folder, 4)
    return InpaintDataset(folder, training=False, seed=0, crop_size=SIDE)
