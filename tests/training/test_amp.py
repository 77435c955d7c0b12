"""Which arithmetic a training takes: measured, said, and overruled by whoever knows better."""

from __future__ import annotations

import pytest
import torch

from inpaintkit.config import resolve_device
from inpaintkit.training import amp


@pytest.mark.parametrize(("fast", "chosen"), [(True, "bf16"), (False, "off")])
def test_on_a_processor_bf16_is_taken_where_it_has_instructions_for_it(
    fast: bool, chosen: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(amp, "bf16_is_fast", lambda: fast)
    assert amp.choose_amp("auto", "cpu")[0] == chosen
    assert "amp=" in amp.choose_amp("auto", "cpu")[1], "says how to change it"


def test_the_answer_is_always_the_same() -> None:
    """A measurement isn't: on a busy machine two of thirty came out wrong."""
    assert len({amp.choose_amp("auto", "cpu") for _ in range(30)}) == 1


@pytest.mark.parametrize("mode", ["off", "bf16", "fp16"])
def test_an_order_is_followed_without_measuring(mode: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(amp, "bf16_is_fast", lambda: pytest.fail("asked although the answer was given"))
    assert amp.choose_amp(mode, "cpu") == (mode, f"arithmetic: {mode}, as asked")


def test_figures_on_a_gpu_are_made_in_full_precision(monkeypatch: pytest.MonkeyPatch) -> None:
    """In torch's default, TF32, a structural similarity of 0.966 became 0.890."""
    monkeypatch.setattr("torch.backends.cudnn.allow_tf32", True)
    resolve_device("auto")
    assert not torch.backends.cudnn.allow_tf32


def test_the_context_computes_in_what_was_chosen() -> None:
    product = {}
    for mode in ("off", "bf16"):
        with amp.autocast(mode, "cpu"):
            product[mode] = (torch.ones(2, 2) @ torch.ones(2, 2)).dtype
    assert product == {"off": torch.float32, "bf16": torch.bfloat16}
