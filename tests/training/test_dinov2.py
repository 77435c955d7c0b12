"""The DINOv2 distance, on a real transformers checkpoint with tiny random weights."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
import transformers
from torch.nn import functional as F

from inpaintkit.errors import InputError
from inpaintkit.seeds import torch_rng
from inpaintkit.training.dinov2 import DEVIATION, MEAN, DinoDistance
from inpaintkit.training.losses import create_loss, pad_to_multiple


def pictures(seed: int, size: int = 56) -> torch.Tensor:
    return torch.rand(2, 3, size, size, generator=torch_rng("picture", seed))


def test_it_is_one_minus_the_cosine_of_patch_tokens(tiny_dinov2: Path) -> None:
    """Computed again from transformers' own last hidden state."""
    network = transformers.Dinov2Model.from_pretrained(tiny_dinov2).eval()
    mean, deviation = (torch.tensor(values).view(1, 3, 1, 1) for values in (MEAN, DEVIATION))
    expected = torch.zeros(2)
    with torch.no_grad():
        answers = [network((p - mean) / deviation, output_hidden_states=True) for p in (pictures(1), pictures(2))]
        first = [network.layernorm(answer.hidden_states[1])[:, 1:] for answer in answers]
        last = [answer.last_hidden_state[:, 1:] for answer in answers]
    for a, b in (first, last):
        expected += (1 - (F.normalize(a, dim=-1) * F.normalize(b, dim=-1)).sum(dim=-1)).mean(dim=1) / 2
    found = DinoDistance(tiny_dinov2)(pictures(1), pictures(2))
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-6)
    assert (found > 1e-3).all()


def test_equal_pictures_have_no_distance_and_others_a_gradient(tiny_dinov2: Path) -> None:
    distance = DinoDistance(tiny_dinov2)
    torch.testing.assert_close(distance(pictures(1), pictures(1)), torch.zeros(2), rtol=0, atol=1e-6)
    picture, target = pictures(1).requires_grad_(), pictures(2).requires_grad_()
    distance(picture, target).sum().backward()
    assert picture.grad is not None
    assert picture.grad.abs().max() > 0
    assert target.grad is None


def test_the_network_is_invisible_to_optimisers_and_checkpoints(tiny_dinov2: Path) -> None:
    distance = DinoDistance(tiny_dinov2)
    assert not list(distance.parameters())
    assert not distance.state_dict()
    assert distance.double()._network[0].layernorm.weight.dtype == torch.float64  # it moves along


def test_the_loss_pads_to_whole_patches(tiny_dinov2: Path) -> None:
    total, losses = create_loss("l1dinov2", perceptual_path=tiny_dinov2)(pictures(1, 50), pictures(2, 50))
    assert torch.isfinite(total)
    assert float(total) == pytest.approx(float(losses.terms["l1"] + 0.4 * losses.terms["dinov2"]), rel=1e-5)
    distance = DinoDistance(tiny_dinov2)(*(pad_to_multiple(p, 14) for p in (pictures(1, 50), pictures(2, 50))))
    assert float(losses.terms["dinov2"]) == pytest.approx(float(distance.mean()), rel=1e-5)


class TestRefusals:
    def test_offline_without_a_checkpoint(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        from huggingface_hub import constants

        monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
        with pytest.raises(InputError, match=r"set perceptual_path .* or train with loss=l1lpips") as refused:
            DinoDistance()
        assert "\n" not in str(refused.value)

    def test_a_folder_without_a_checkpoint(self, tmp_path: Path) -> None:
        with pytest.raises(InputError, match="DINOv2 can't be loaded from"):
            DinoDistance(tmp_path)

    def test_another_network(self, tmp_path: Path) -> None:
        (tmp_path / "config.json").write_text('{"model_type": "vit"}')
        with pytest.raises(InputError, match="holds a vit network"):
            DinoDistance(tmp_path)
