"""The discriminators give the reference's numbers, and ensembles pick members with the stated probabilities."""

from __future__ import annotations

import itertools
import json
from pathlib import Path

import pytest
import torch
from golden_weights import load_golden_weights
from safetensors.torch import load_file

from inpaintkit.errors import InputError
from inpaintkit.model import DISCRIMINATORS, create_discriminator
from inpaintkit.seeds import torch_rng

GOLDEN = Path(__file__).parents[1] / "golden"
FORMAT = json.loads((GOLDEN / "checkpoint_format.json").read_text())["models"]
FACTS = json.loads((GOLDEN / "discriminators.json").read_text())["models"]


@pytest.mark.parametrize("name", FACTS)
def test_layers_equal_the_originals(name: str) -> None:
    discriminator, entry = create_discriminator(name, torch_rng(name)), FORMAT[name]
    shapes = {key: list(tensor.shape) for key, tensor in discriminator.state_dict().items()}
    assert shapes == {key: item["shape"] for key, item in entry["state_dict"].items()}
    assert list(shapes) == list(entry["state_dict"])
    assert discriminator.name == entry["registered_name"]
    assert list(discriminator.probabilities) == pytest.approx(FACTS[name]["prob"] or [1.0])


@pytest.mark.parametrize("name", FACTS)
def test_logits_and_dilated_masks_are_golden(name: str) -> None:
    golden = load_file(GOLDEN / "discriminators.safetensors")
    discriminator = create_discriminator(name)
    load_golden_weights(discriminator).eval()
    for member in range(len(discriminator.probabilities)):
        for case in "ab":
            fake, cond = golden[f"{case}.fake"] / 255, golden[f"{case}.cond"] / 255
            mask = golden["a.mask"].bool() if case == "a" else golden["b.mask"]
            with torch.no_grad():
                logits, dilated = discriminator(fake, cond, mask, member=member)
                if case == "b":
                    assert torch.equal(discriminator(fake, cond, member=member), logits)
            key = f"{name}.{case}" if len(discriminator.probabilities) == 1 else f"{name}.{member}.{case}"
            expected = golden[f"{key}.logits"]
            assert logits.shape == dilated.shape == expected.shape
            assert float((logits - expected).abs().max()) <= 1e-4 * float(expected.abs().max())
            fourier = "ffc" in name and not (name == "l3cffce" and member < 2)
            mask_key = f"{'ffc' if fourier else 'l3c'}.{case}.dilated"
            assert dilated.dtype == (torch.float32 if fourier else torch.bool)
            torch.testing.assert_close(dilated.float(), golden[mask_key].float(), rtol=0, atol=1e-6)


def test_members_are_picked_by_their_odds() -> None:
    ensemble = create_discriminator("l3cffce", torch_rng(0))
    draws = torch.rand(20000, generator=torch_rng("pick"), dtype=torch.float64).tolist()
    counts = torch.bincount(torch.tensor([ensemble.pick(u) for u in draws]), minlength=4) / len(draws)
    torch.testing.assert_close(counts, torch.tensor([2, 1, 2, 1]) / 6, rtol=0, atol=0.015)
    assert ensemble.pick(0.0) == 0
    assert ensemble.pick(0.9999999999999999) == 3
    assert create_discriminator("ffc", torch_rng(0)).pick(0.7) == 0


def test_an_ensemble_must_be_told_which_member_judges() -> None:
    picture = torch.zeros(1, 3, 64, 64)
    with pytest.raises(ValueError, match="ensemble"):
        create_discriminator("ffce", torch_rng(0))(picture, picture)


def test_an_unknown_name_is_refused_with_the_known_ones() -> None:
    with pytest.raises(InputError, match=rf"'l4c' is unknown.*; choose one of {', '.join(DISCRIMINATORS)}"):
        create_discriminator("l4c")


@pytest.mark.parametrize("name", ["l3c", "ffc", "l3ce"])
def test_initial_weights_depend_only_on_the_rng(name: str) -> None:
    states = []
    for seed in (1, 2):
        torch.manual_seed(seed)
        states.append(create_discriminator(name, torch_rng("same")).state_dict())
    assert all(torch.equal(states[0][key], states[1][key]) for key in states[0])
    first = [value for key, value in states[0].items() if key.endswith("features.1.weight") and value.dim() == 4]
    assert all(not torch.equal(*pair) for pair in itertools.combinations(first, 2)), "each member starts elsewhere"


def test_spectral_norm_starts_exact() -> None:
    discriminator = create_discriminator("l3c", torch_rng("spectral"))
    for layer in (discriminator.get_submodule("classifier.6"), discriminator.get_submodule("to_cond.fc.0.2")):
        assert float(torch.linalg.matrix_norm(layer.weight.detach().flatten(1), 2)) == pytest.approx(1, abs=1e-5)


@pytest.mark.parametrize("name", ["l3c", "ffc"])
def test_bfloat16_gradients_reach_the_picture(name: str) -> None:
    discriminator = create_discriminator(name, torch_rng("bf16"))
    fake = torch.rand(1, 3, 64, 64, generator=torch_rng("fake"), requires_grad=True)
    with torch.autocast("cpu", torch.bfloat16):
        logits = discriminator(fake, fake.detach())
    logits.float().mean().backward()
    assert fake.grad is not None
    assert bool(torch.isfinite(fake.grad).all())
    assert float(fake.grad.abs().max()) > 0


@pytest.mark.parametrize("name", DISCRIMINATORS)
def test_every_member_starts_with_small_logits(name: str) -> None:
    """Members share one adaptive weight, so none may start with logits, and so gradients, far beyond the others'."""
    discriminator = create_discriminator(name, torch_rng("start", name))
    picture = torch.rand(2, 3, 96, 96, generator=torch_rng("start"))
    for member in range(len(discriminator.probabilities)):
        with torch.no_grad():
            logits = discriminator(picture, picture, member=member)
        assert float(logits.square().mean().sqrt()) < 5, member


@pytest.mark.parametrize("name", ["l3c", "ffc"])
def test_channels_last_gives_the_same(name: str) -> None:
    discriminator = create_discriminator(name, torch_rng("layout")).eval()
    fake, truth = torch.rand(2, 1, 3, 72, 80, generator=torch_rng("layout picture"))
    with torch.no_grad():
        expected = discriminator(fake, truth)
        twin = discriminator.to(memory_format=torch.channels_last)
        result = twin(*(x.contiguous(memory_format=torch.channels_last) for x in (fake, truth)))
    torch.testing.assert_close(result, expected, rtol=1e-4, atol=1e-5)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["l3c", "ffc"])
def test_a_member_compiles_to_one_graph(name: str) -> None:
    discriminator = create_discriminator(name, torch_rng("compile")).eval()
    fake, truth = torch.rand(2, 1, 3, 72, 80, generator=torch_rng("compile picture"))
    compiled = torch.compile(discriminator, fullgraph=True, backend="aot_eager")
    torch.testing.assert_close(compiled(fake, truth), discriminator(fake, truth), rtol=1e-4, atol=1e-5)
    torch._dynamo.reset()
