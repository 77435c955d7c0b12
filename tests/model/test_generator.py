"""The generator gives iw3's numbers, is initialised as stated, and works compiled, under autocast and in any layout."""

from __future__ import annotations

import json
import math
from pathlib import Path

import pytest
import torch
from golden_weights import load_golden_weights
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.torch import load_file
from torch import Tensor, nn

from inpaintkit.model import LightInpaintV1
from inpaintkit.model.layers import GMLPBlock, ReplicationPad
from inpaintkit.seeds import torch_rng

GOLDEN = Path(__file__).parents[1] / "golden"
TOLERANCE = 1e-4


@pytest.fixture(scope="module")
def golden() -> dict[str, Tensor]:
    return load_file(GOLDEN / "generator.safetensors")


@pytest.fixture(scope="module")
def model() -> LightInpaintV1:
    network = LightInpaintV1()
    load_golden_weights(network)
    return network


def case(golden: dict[str, Tensor], name: str) -> tuple[Tensor, Tensor]:
    return golden[f"{name}.x"].float(), golden[f"{name}.hole"].bool()


def assert_near(value: Tensor, expected: Tensor, tolerance: float = TOLERANCE) -> None:
    assert value.shape == expected.shape
    assert float((value - expected).abs().max()) <= tolerance * float(expected.abs().max())


def test_state_dict_has_iw3s_names_shapes_and_order() -> None:
    entry = json.loads((GOLDEN / "checkpoint_format.json").read_text())["models"]["light_inpaint_v1"]
    state = LightInpaintV1().state_dict()
    assert [(name, list(tensor.shape)) for name, tensor in state.items()] == [
        (name, item["shape"]) for name, item in entry["state_dict"].items()
    ]
    assert sum(tensor.numel() for tensor in state.values()) == entry["n_parameters"]
    assert LightInpaintV1.name == entry["registered_name"]
    assert LightInpaintV1.i2i_offset == entry["attributes"]["i2i_offset"]


@pytest.mark.parametrize("name", ["b", "c"])
def test_preprocess_gives_the_golden_soft_mask(golden: dict[str, Tensor], model: LightInpaintV1, name: str) -> None:
    picture, mask = model.preprocess(*case(golden, name))
    assert float((mask - golden[f"{name}.mask_p"]).abs().max()) <= 1e-6
    assert bool((picture[golden[f"{name}.hole"].bool().expand_as(picture)] == 0).all())
    if name == "c":
        assert torch.equal(picture, golden["c.x_p"].float())


def test_training_output_of_a_batch_is_golden(golden: dict[str, Tensor], model: LightInpaintV1) -> None:
    picture, mask = model.preprocess(*case(golden, "a"))
    assert float((mask[:, :, ::3, ::3] - golden["a.mask_p_every3"]).abs().max()) <= 1e-6
    with torch.no_grad():
        filled = model.train()(picture, mask)
    assert_near(filled[:, :, ::3, ::3], golden["a.train_every3"])


@pytest.mark.parametrize("name", ["b", "c"])
def test_odd_sizes_are_golden_in_training_and_inference(
    golden: dict[str, Tensor], model: LightInpaintV1, name: str
) -> None:
    x, hole = case(golden, name)
    with torch.no_grad():
        assert_near(model.train()(*model.preprocess(x, hole)), golden[f"{name}.train"])
        whole = model.infer(x, hole, closing=True, inner_dilation=2, outer_dilation=3)
        assert_near(whole, golden[f"{name}.infer_unclamped"])
        clamped = model.eval().infer(x, hole, closing=True, inner_dilation=2, outer_dilation=3)
    assert torch.equal(clamped, whole.clamp(0, 1))


def test_eval_mode_only_clamps(golden: dict[str, Tensor], model: LightInpaintV1) -> None:
    inputs = model.preprocess(*case(golden, "c"))
    with torch.no_grad():
        trained, evaluated = model.train()(*inputs), model.eval()(*inputs)
    assert torch.equal(evaluated, trained.clamp(0, 1))
    assert float((evaluated - golden["c.eval"]).abs().max()) <= 1e-2


def test_every_stage_is_golden(golden: dict[str, Tensor], model: LightInpaintV1) -> None:
    seen: dict[str, Tensor] = {}
    stages = {"patch": model.patch, "enc1": model.enc1, "enc2": model.enc2[-1], "dec1": model.dec1}
    hooks = [
        part.register_forward_hook(lambda _, __, out, name=name: seen.__setitem__(name, out.clone()))
        for name, part in stages.items()
    ]
    x = torch.nn.functional.pad(golden["c.x_p"].float() * 2 - 1, (0, 4, 0, 28), mode="replicate")
    mask = torch.nn.functional.pad(golden["c.mask_p"], (0, 4, 0, 28), mode="replicate")
    with torch.no_grad():
        net = model.predict(x, torch.nn.functional.max_pool2d(mask, 4) > 0.99, *x.shape[-2:])
    for hook in hooks:
        hook.remove()
    assert_near(net[..., :128, :64], golden["c.net"])
    for name in stages:
        assert_near(seen[name], golden[f"c.act.{name}"])


def test_gradients_are_golden(golden: dict[str, Tensor], model: LightInpaintV1) -> None:
    expected = json.loads((GOLDEN / "generator.json").read_text())["cases"]["c"]["grad_l2_of_mean_square_train_output"]
    model.zero_grad()
    model.train()(*model.preprocess(*case(golden, "c"))).square().mean().backward()
    for name, length in expected.items():
        gradient = model.get_parameter(name).grad
        assert gradient is not None
        assert float(gradient.norm()) == pytest.approx(length, rel=1e-3)
    model.zero_grad()


def test_pixels_outside_the_soft_mask_stay_bit_for_bit(golden: dict[str, Tensor], model: LightInpaintV1) -> None:
    x, hole = case(golden, "c")
    _, mask = model.preprocess(x, hole)
    with torch.no_grad():
        filled = model.eval().infer(x, hole)
    outside = (mask == 0).expand_as(x)
    assert bool(outside.any())
    assert torch.equal(filled[outside], x[outside])


def test_initial_weights_depend_only_on_the_rng() -> None:
    torch.manual_seed(1)
    first = LightInpaintV1(torch_rng("weights", 1)).state_dict()
    torch.manual_seed(2)
    second = LightInpaintV1(torch_rng("weights", 1)).state_dict()
    other = LightInpaintV1(torch_rng("weights", 2)).state_dict()
    assert all(torch.equal(first[name], second[name]) for name in first)
    assert not torch.equal(first["patch.0.weight"], other["patch.0.weight"])


@torch.no_grad()
def test_initial_weights_follow_the_stated_laws() -> None:
    network = LightInpaintV1(torch_rng("laws"))
    for name, module in network.named_modules():
        if isinstance(module, nn.Conv2d):
            scale = 4 if name == "to_image.1" else 1
            fan = module.in_channels if scale == 4 else module.out_channels
            expected = math.sqrt(2 / (fan * module.kernel_size[0] * module.kernel_size[1]))
            assert float(module.weight.std()) == pytest.approx(expected, rel=0.06), name
        elif isinstance(module, nn.Linear):
            assert float(module.weight.std()) == pytest.approx(0.02, rel=0.03), name
        elif isinstance(module, nn.Conv1d):
            channels = 96 if module.in_channels == 256 else 192
            assert float(module.weight.abs().max()) == pytest.approx(1e-3 / channels, rel=0.01)
            assert float(module.weight.std()) == pytest.approx(1e-3 / channels / math.sqrt(3), rel=0.03)
            assert bool((module.bias == 1).all())
        if isinstance(module, nn.Conv2d | nn.Linear):
            assert bool((module.bias == 0).all()), name
    assert float(network.mask_bias.std()) == pytest.approx(0.01, rel=0.3)
    output = network.to_image[1].weight.unflatten(0, (3, 16))
    assert torch.equal(output, output[:, :1].expand_as(output))


def test_grey_start_begins_near_mid_grey() -> None:
    x = torch.rand(1, 3, 64, 64, generator=torch_rng("grey"))
    hole = torch.zeros(1, 1, 64, 64, dtype=torch.bool)
    hole[..., 24:40, 24:40] = True
    network = LightInpaintV1(torch_rng("grey", "weights"), grey_start=True)
    with torch.no_grad():
        inside = network.infer(x, hole)[hole.expand_as(x)]
    assert abs(float(inside.mean()) - 0.45) < 0.1
    assert float(inside.std()) < 0.3


def test_channels_last_gives_the_same(golden: dict[str, Tensor], model: LightInpaintV1) -> None:
    inputs = model.preprocess(*case(golden, "c"))
    twin = LightInpaintV1()
    twin.load_state_dict(model.state_dict())
    twin = twin.to(memory_format=torch.channels_last)
    with torch.no_grad():
        expected = model.train()(*inputs)
        result = twin(*(part.contiguous(memory_format=torch.channels_last) for part in inputs))
    assert_near(result, expected)


def test_bfloat16_autocast_keeps_the_picture_exact_and_the_fill_close() -> None:
    network = LightInpaintV1(torch_rng("bf16"), grey_start=True)
    x = torch.rand(1, 3, 96, 96, generator=torch_rng("bf16 picture"))
    hole = torch.zeros(1, 1, 96, 96, dtype=torch.bool)
    hole[..., 30:60, 40:60] = True
    exact_picture, exact_mask = network.preprocess(x, hole)
    exact = network(exact_picture, exact_mask)
    with torch.autocast("cpu", torch.bfloat16):
        picture, mask = network.preprocess(x, hole)
        filled = network(picture, mask)
    filled.square().mean().backward()
    assert torch.equal(mask, exact_mask)
    assert filled.dtype == torch.float32
    # Fresh weights amplify rounding from block to block: each roughly doubles its input.
    assert float((filled.detach() - exact.detach()).norm() / exact.detach().norm()) < 0.15
    assert all(p.grad is not None and bool(torch.isfinite(p.grad).all()) for p in network.parameters())


def test_gradients_run_channels_last_and_stay_bfloat16() -> None:
    """Otherwise the backward pass of every encoder layer is slower: a step on 256 px by a tenth."""
    network = LightInpaintV1(torch_rng("layout"))
    gradients: list[Tensor] = []
    for part in (network.enc1, network.enc2[-2], network.enc1.glu_conv.pad):
        part.register_forward_hook(lambda _part, _inputs, output: output.register_hook(gradients.append) and None)
    with torch.autocast("cpu", torch.bfloat16):
        # the network pads 64 px to 128, of which the decoder needs a quarter
        filled = network(torch.rand(1, 3, 64, 64, generator=torch_rng("picture")), torch.ones(1, 1, 64, 64))
    filled.sum().backward()
    assert [gradient.stride(1) for gradient in gradients] == [1, 1, 1]
    assert {gradient.dtype for gradient in gradients} == {torch.bfloat16}


@pytest.mark.slow
def test_the_whole_network_compiles_to_one_graph() -> None:
    network = LightInpaintV1(torch_rng("compile"))
    x, hole = torch.rand(1, 3, 80, 72, generator=torch_rng("x")), torch.zeros(1, 1, 80, 72)
    hole[..., 30:50, 30:40] = 1
    inputs = network.preprocess(x, hole)
    compiled = torch.compile(network, fullgraph=True, backend="aot_eager")
    torch.testing.assert_close(compiled(*inputs), network(*inputs))
    torch._dynamo.reset()


@pytest.mark.slow
def test_its_parts_train_when_compiled() -> None:
    parts = nn.Sequential(GMLPBlock(8, 4, shifted=True), ReplicationPad(detached=False), nn.Conv2d(8, 4, 3))
    x = torch.rand(1, 8, 8, 8, generator=torch_rng("parts")).to(memory_format=torch.channels_last)
    try:
        torch.compile(lambda value: value + 1)(torch.zeros(2))
    except Exception as error:
        pytest.skip(f"no working compiler for torch.compile on this machine: {str(error).splitlines()[0]}")
    results = []
    for module in (torch.compile(parts, fullgraph=True), parts):
        parts.zero_grad()
        module(x).square().sum().backward()
        results.append(parts[0].glu_conv.w2.weight.grad.clone())
    torch.testing.assert_close(*results, rtol=1e-4, atol=1e-6)
    torch._dynamo.reset()


@settings(max_examples=8, deadline=None)
@given(height=st.integers(1, 70), width=st.integers(1, 70))
def test_any_size_is_filled(height: int, width: int) -> None:
    network = LightInpaintV1(torch_rng("sizes")).eval()
    x = torch.rand(1, 3, height, width, generator=torch_rng("sizes", height, width))
    with torch.no_grad():
        filled = network.infer(x, torch.ones(1, 1, height, width, dtype=torch.bool), closing=True)
    assert filled.shape == x.shape
    assert bool(torch.isfinite(filled).all())
    assert 0 <= float(filled.min()) <= float(filled.max()) <= 1
