"""LPIPS equals the published metric, and reports clearly if its weights are missing."""

from __future__ import annotations

import json
import urllib.error
import urllib.request
import warnings
from pathlib import Path

import lpips
import pytest
import torch
from safetensors.torch import load_file

from inpaintkit.errors import InputError
from inpaintkit.training import perceptual
from inpaintkit.training.perceptual import Lpips

GOLDEN = Path(__file__).parents[1] / "golden"
# The shipped trunks are rounded to float16, which moves a distance by up to 0.05 %.
ROUNDED_WEIGHTS = 5e-4


@pytest.fixture(scope="module", params=["vgg", "alex"])
def network(request: pytest.FixtureRequest) -> Lpips:
    return Lpips(request.param)


@pytest.fixture(scope="module")
def pair() -> tuple[torch.Tensor, torch.Tensor]:
    tensors = load_file(GOLDEN / "losses.safetensors")
    return tensors["p2.input"].float(), tensors["target"].float() / 255


def package_twin(network: Lpips, spatial: bool = False) -> lpips.LPIPS:
    """Return the `lpips` package's metric with our trunk, so that only the formula is compared."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        twin = lpips.LPIPS(net=network.network, pnet_rand=True, verbose=False, spatial=spatial, eval_mode=True)
    for name, parameter in twin.net.named_parameters():
        index, kind = name.split(".")[1:]
        parameter.data.copy_(network.get_buffer(f"{kind}_{index}"))
    return twin


def test_distance_equals_the_golden_one(network: Lpips, pair: tuple[torch.Tensor, torch.Tensor]) -> None:
    values = json.loads((GOLDEN / "losses.json").read_text())["pairs"]["p2"]["values"]
    expected = torch.tensor(values[f"lpips_fix_{network.network}_per_image"])
    with torch.no_grad():
        torch.testing.assert_close(network(*pair), expected, rtol=ROUNDED_WEIGHTS, atol=0)
        layers = network.per_layer(*pair).T
    expected_layers = torch.tensor(values[f"lpips_fix_{network.network}_per_layer_per_image"]).T
    torch.testing.assert_close(layers, expected_layers, rtol=2 * ROUNDED_WEIGHTS, atol=1e-6)


@torch.no_grad()
def test_distance_and_map_equal_the_lpips_package(network: Lpips) -> None:
    generator = torch.Generator().manual_seed(0)
    target = torch.rand(1, 3, 64, 72, generator=generator)
    output = (target + 0.2 * torch.rand(1, 3, 64, 72, generator=generator)).clamp(0, 1)
    expected = package_twin(network)(output, target, normalize=True)
    torch.testing.assert_close(network(output, target), expected.flatten(), rtol=1e-4, atol=1e-6)
    expected_map = package_twin(network, spatial=True)(output, target, normalize=True)
    torch.testing.assert_close(network.distance_map(output, target), expected_map, rtol=1e-3, atol=1e-5)


def test_gradient_reaches_the_output_only(network: Lpips) -> None:
    output, target = torch.zeros(1, 3, 64, 64, requires_grad=True), torch.ones(1, 3, 64, 64, requires_grad=True)
    network(output, target).sum().backward()
    assert output.grad is not None
    assert output.grad.isfinite().all()
    assert output.grad.abs().sum() > 0
    assert target.grad is None


def test_equal_pictures_have_no_distance(network: Lpips) -> None:
    picture = torch.rand(1, 3, 64, 64, generator=torch.Generator().manual_seed(1))
    assert network(picture, picture).item() == 0


def test_network_is_invisible_to_optimisers_and_checkpoints(network: Lpips) -> None:
    assert list(network.parameters()) == []
    assert network.state_dict() == {}


def test_unknown_network_is_refused() -> None:
    with pytest.raises(InputError, match="vgg, alex"):
        Lpips("squeeze")


def test_missing_vgg_names_the_three_ways_out(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def no_network(*args: object, **kwargs: object) -> None:
        raise urllib.error.URLError("no route")

    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(perceptual, "__file__", str(tmp_path / "perceptual.py"))
    monkeypatch.setattr(torch.hub, "get_dir", lambda: str(tmp_path / "hub"))
    monkeypatch.setattr(urllib.request, "urlopen", no_network)
    with pytest.raises(InputError, match=r"copy them to .*connect.*perceptual=alex"):
        Lpips("vgg")


def test_torchvision_cache_is_used(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    cached = tmp_path / "hub" / "checkpoints" / perceptual.TORCHVISION_VGG
    cached.parent.mkdir(parents=True)
    torch.save(load_file(perceptual.find_vgg_trunk()) | {"classifier.0.weight": torch.zeros(3)}, cached)
    expected = Lpips("vgg").get_buffer("weight_28")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(perceptual, "VGG_TRUNK", Path("nowhere.safetensors"))
    monkeypatch.setattr(torch.hub, "get_dir", lambda: str(tmp_path / "hub"))
    assert perceptual.find_vgg_trunk() == cached
    assert torch.equal(Lpips("vgg").get_buffer("weight_28"), expected)


def test_broken_trunk_file_is_named(tmp_path: Path) -> None:
    broken = tmp_path / "vgg.pth"
    broken.write_bytes(b"not weights")
    with pytest.raises(InputError, match=r"vgg\.pth"):
        Lpips("vgg", broken)
