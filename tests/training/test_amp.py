"""Which arithmetic a training takes: measured, said, and overruled by whoever knows better."""

from __future__ import annotations

import pytest
import torch

from inpaintkit.training import amp


def test_on_a_processor_bf16_is_taken_only_where_it_was_measured_to_be_faster(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(amp, "bf16_speedup", lambda: 4.0)
    assert amp.choose_amp("auto", "cpu") == (
        "bf16",
        "arithmetic: bf16; a bf16 matrix product takes 0.25 of the fp32 time on this CPU",
    )
    monkeypatch.setattr(amp, "bf16_speedup", lambda: 0.5)
    assert amp.choose_amp("auto", "cpu")[0] == "off"


def test_this_machine_is_really_measured() -> None:
    chosen, why = amp.choose_amp("auto", "cpu")
    assert chosen in ("bf16", "off")
    assert float(why.split("takes ")[1].split(" of")[0]) > 0


@pytest.mark.parametrize("mode", ["off", "bf16", "fp16"])
def test_an_order_is_followed_without_measuring(mode: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(amp, "bf16_speedup", lambda: pytest.fail("measured although the answer was given"))
    assert amp.choose_amp(mode, "cpu") == (mode, f"arithmetic: {mode}, as asked")


def test_the_context_computes_in_what_was_chosen() -> None:
    product = {}
    for mode in ("off", "bf16"):
        with amp.autocast(mode, "cpu"):
            product[mode] = (torch.ones(2, 2) @ torch.ones(2, 2)).dtype
    assert product == {"off": torch.float32, "bf16": torch.bfloat16}
