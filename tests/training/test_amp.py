"""Which arithmetic a training uses: it is measured, reported, and can be overruled by an option."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

import pytest
import torch

from inpaintkit.config import TrainConfig, resolve_device
from inpaintkit.errors import InputError
from inpaintkit.training import amp
from inpaintkit.training.distributed import Group
from inpaintkit.training.tasks.updater import Updater


@pytest.mark.parametrize(("fast", "chosen"), [(True, "bf16"), (False, "off")])
def test_a_cpu_uses_bf16_if_it_has_instructions_for_it(
    fast: bool, chosen: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(amp, "bf16_is_fast", lambda: fast)
    assert amp.choose_amp("auto", "cpu")[0] == chosen
    assert "amp=" in amp.choose_amp("auto", "cpu")[1], "says how to change it"


def test_only_the_gpu_that_trains_is_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    cards = {"cuda:0": False, "cuda:1": True}
    turned_to = ["cuda:0"]

    @contextlib.contextmanager
    def turn_to(device: str) -> Iterator[None]:
        turned_to.append(device)
        yield
        turned_to.pop()

    monkeypatch.setattr("torch.cuda.device", turn_to)
    monkeypatch.setattr("torch.cuda.is_bf16_supported", lambda **_: cards[turned_to[-1]])
    monkeypatch.setattr("torch.cuda.get_device_name", lambda *_: turned_to[-1])
    assert amp.choose_amp("auto", "cuda:1") == ("bf16", "arithmetic: bf16 on cuda:1")
    assert amp.choose_amp("auto", "cuda:0") == ("fp16", "arithmetic: fp16 on cuda:0")


@pytest.mark.parametrize("mode", ["off", "bf16", "fp16"])
def test_an_explicit_mode_is_never_measured(mode: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(amp, "bf16_is_fast", lambda: pytest.fail("asked although the answer was given"))
    assert amp.choose_amp(mode, "cpu") == (mode, f"arithmetic: {mode}, as asked")


def test_figures_on_a_gpu_are_made_in_full_precision(monkeypatch: pytest.MonkeyPatch) -> None:
    """In torch's default, TF32, a structural similarity of 0.966 became 0.890."""
    monkeypatch.setattr("torch.backends.cudnn.allow_tf32", True)
    resolve_device("auto")
    assert not torch.backends.cudnn.allow_tf32


@pytest.mark.parametrize(("mode", "counted"), [("off", 20), ("fp16", 4)])
def test_the_fp16_scale_search_is_not_counted_as_skipped(mode: str, counted: int) -> None:
    """It begins at 2^16. Once, a run with few updates per epoch was ended as diverged at its first ones."""
    layer = torch.nn.Linear(1, 1)
    updater = Updater(TrainConfig(), layer, mode, "cpu", Group())
    for number in range(1, 21):
        updater.scale(layer(torch.full((1, 1), torch.inf)).sum()).backward()  # type: ignore[no-untyped-call]
        updater.update(number)
    assert updater.skipped() == counted


@pytest.mark.parametrize("mode", ["off", "fp16"])
def test_an_update_clips_the_mean_of_its_steps_warms_up_and_clears_gradients(mode: str) -> None:
    """Compared with AdamW by hand, whose moves depend on the lengths of gradients only through clipping."""
    layer, twin = torch.nn.Linear(2, 1, bias=False), torch.nn.Parameter(torch.ones(1, 2))
    torch.nn.init.ones_(layer.weight)
    config = TrainConfig(clip_grad_norm=1.0, learning_rate=0.1, warmup_steps=2)
    updater = Updater(config, layer, mode, "cpu", Group())
    if mode == "fp16":  # the default scale has to be searched first, see above
        updater.scaler = torch.amp.GradScaler("cpu", init_scale=8.0)
    adamw = torch.optim.AdamW([twin], lr=0.1, weight_decay=config.weight_decay)
    for number, steps in enumerate((((1.0, 0.4), (0.4, 0.0)), ((0.1, 0.2), (0.1, -0.6)), ((3.0, 4.0), (3.0, 4.0))), 1):
        for step in steps:
            updater.scale(layer(torch.tensor([step])).sum(), len(steps)).backward()  # type: ignore[no-untyped-call]
        updater.update(number)
        twin.grad = torch.tensor([steps]).mean(dim=1)
        twin.grad /= max(1.0, float(twin.grad.norm()))
        adamw.param_groups[0]["lr"] = 0.05 if number == 1 else 0.1
        adamw.step()
        torch.testing.assert_close(layer.weight, twin)


@pytest.mark.parametrize(("capability", "chosen"), [((6, 1), "cpu"), ((7, 5), "cuda")])
def test_a_gpu_that_torch_does_not_support_is_not_used(
    capability: tuple[int, int], chosen: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Any calculation on it would fail with an error of CUDA."""
    monkeypatch.setattr("torch.cuda.is_available", lambda: True)
    monkeypatch.setattr("torch.cuda.device_count", lambda: 1)
    monkeypatch.setattr("torch.cuda.get_arch_list", lambda: ["sm_75", "sm_90a", "compute_120"])
    monkeypatch.setattr("torch.cuda.get_device_capability", lambda device: capability)
    monkeypatch.setattr("torch.cuda.get_device_name", lambda device: "GTX 1080")
    monkeypatch.setattr("torch.backends.mps.is_available", lambda: False)
    assert resolve_device("auto") == chosen
    if chosen == "cuda":
        assert resolve_device("cuda:0") == "cuda:0"
    else:
        with pytest.raises(InputError, match=r"has no code for cuda:0, a GTX 1080; install one .*, or use device=cpu"):
            resolve_device("cuda:0")


def test_the_context_uses_the_chosen_dtype() -> None:
    product = {}
    for mode in ("off", "bf16"):
        with amp.autocast(mode, "cpu"):
            product[mode] = (torch.ones(2, 2) @ torch.ones(2, 2)).dtype
    assert product == {"off": torch.float32, "bf16": torch.bfloat16}
