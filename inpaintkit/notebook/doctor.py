"""Report what this machine has, and what that means for the kit."""

import shutil
import textwrap
import timeit
from collections.abc import Iterable
from pathlib import Path

import torch

from inpaintkit.config import resolve_device
from inpaintkit.depth import available_models
from inpaintkit.errors import InputError
from inpaintkit.notebook.machine import machine_facts, versions
from inpaintkit.training.amp import choose_amp
from inpaintkit.training.perceptual import find_vgg_trunk

ROUNDS = 3


def _product_gflops() -> float:
    size = 2048
    a = torch.ones(size, size)
    return 2 * size**3 / min(timeit.repeat(lambda: a @ a, repeat=ROUNDS, number=1)) / 1e9


def _vgg_state() -> str:
    try:
        return f"found at {find_vgg_trunk()}"
    except InputError as error:
        return str(error)


def _sections() -> dict[str, dict[str, str]]:
    facts = machine_facts()
    device = resolve_device("auto")
    here = Path.cwd()
    return {
        "machine": {
            "system": f"{facts['system']} {facts['processor']}, {facts['cores']} cores, torch uses {facts['threads']} threads",
            "vector extensions": ", ".join(facts["cpu_features"]) or "none known",
            "accelerators": ", ".join(facts["gpus"]) or "none",
            "device=auto means": device,
            "fp32 matrix product": f"{_product_gflops():.0f} GFLOP/s on the CPU",
            "amp=auto means": choose_amp("auto", device)[1],
            "disk": f"{shutil.disk_usage(here).free / 1e9:.0f} GB free in {here}",
        },
        "versions": versions(),
        "perceptual networks": {"alex": "shipped", "vgg": _vgg_state()},
    }


def _by_state(models: Iterable[tuple[str, str]]) -> list[str]:
    """Return each state once, with the names of its `models` below it, because most models share a state."""
    names: dict[str, list[str]] = {}
    for name, state in models:
        names.setdefault(state, []).append(name)
    lists = {state: textwrap.indent(textwrap.fill(", ".join(names[state]), 94), " " * 6) for state in names}
    return [f"  {state}\n{listed}" for state, listed in lists.items()]


def report() -> str:
    """Return the findings as aligned text, section by section."""
    lines = []
    for title, rows in _sections().items():
        width = max(map(len, rows))
        lines += [title, *(f"  {name:<{width}}  {value}" for name, value in rows.items()), ""]
    return "\n".join([*lines, "depth models", *_by_state(available_models())])
