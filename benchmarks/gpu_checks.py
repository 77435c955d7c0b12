"""Check that a GPU gives the same results as the CPU, up to rounding; part ``checks`` of gpu.py.

Each check returns figures; `LIMITS` holds the largest value up to which a figure is right. In a rehearsal on the CPU
all of them are 0 or nearly 0.
"""

from __future__ import annotations

import copy
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from inpaintkit.config import HOLE_METHODS, LOSSES, GanConfig, TrainConfig
from inpaintkit.data import InpaintDataset
from inpaintkit.data.resident import ResidentRecords
from inpaintkit.data.sample_draw import Chances
from inpaintkit.depth.fastdepth import FastDepth
from inpaintkit.inspection import Inpainter
from inpaintkit.model import LightInpaintV1, create_discriminator, load_model, load_state
from inpaintkit.model.ensembles import DISCRIMINATORS
from inpaintkit.seeds import torch_rng
from inpaintkit.synthesis import find_hole, forward_warp, prepare_depth
from inpaintkit.training import Callback, GanTrainer, Lpips, RunView, StepInfo, Trainer, create_loss, metrics

Figures = dict[str, float]

LIMITS = {
    "generator, fp32": 1e-3, "generator, soft mask": 1e-5, "loss": 1e-3, "gradient of a loss": 1e-2, "discriminators": 1e-2,
    "LPIPS": 1e-4, "holes that differ": 1e-3, "warp": 1e-3, "depth": 2e-2, "samples that differ": 0.0,
    "inpainter against whole frame": 1 / 255, "known pixels that differ": 0.0, "waits of a plain step": 0.0,
    "samples of a resumed run that differ": 0.0, "loss that isn't finite ends a step": 0.0,
}  # fmt: skip
"""Figures that aren't here are reported but not judged: they follow from rounding, which grows over the steps."""


@dataclass(frozen=True)
class Place:
    """Where the checks work: the `device`, the records in `data`, a trained `model`, and the side of pictures."""

    device: str
    data: Path
    model: Path
    side: int


def pictures(side: int, count: int = 2) -> Tensor:
    """Return smooth pictures (count, 3, side, side), 0..1, always the same."""
    coarse = torch.rand(count, 3, side // 8, side // 8, generator=torch_rng("gpu pictures"))
    return torch.nn.functional.interpolate(coarse, (side, side), mode="bicubic").clamp(0, 1)


def holes(side: int, count: int = 2) -> Tensor:
    """Return holes (count, 1, side, side): upright bars."""
    columns = torch.arange(side) % 48 < 12
    return columns.expand(count, 1, side, side).contiguous()


def largest(one: Tensor, other: Tensor) -> float:
    """Return the largest difference of two tensors, on whatever devices."""
    return float((one.detach().cpu().double() - other.detach().cpu().double()).abs().max())


def generator(place: Place) -> Figures:
    x, hole = pictures(place.side), holes(place.side)
    model = load_model(place.model)[0].eval()
    there = copy.deepcopy(model).to(place.device)
    with torch.no_grad():
        expected, soft = model.infer(x, hole), model.preprocess(x, hole)[1]
        x, hole = x.to(place.device), hole.to(place.device)
        found = {"generator, fp32": there.infer(x, hole), "generator, soft mask": there.preprocess(x, hole)[1]}
        with torch.autocast(place.device.partition(":")[0], torch.bfloat16):
            found["generator, bf16"] = there.infer(x, hole)
    return {name: largest(value, soft if "mask" in name else expected) for name, value in found.items()}


def losses(place: Place) -> Figures:
    figures = {"loss": 0.0, "gradient of a loss": 0.0}
    for name in (name for name in LOSSES if name != "l1dinov2"):  # that one needs a package
        totals, gradients = [], []
        for device in ("cpu", place.device):
            output = pictures(place.side).flip(-1).to(device).requires_grad_()
            total, _ = create_loss(name, "alex").to(device)(output, pictures(place.side).to(device), None, torch_rng(1))
            totals.append(total)
            gradients += torch.autograd.grad(total, output)
        figures["loss"] = max(figures["loss"], largest(*totals) / float(totals[0]))
        relative = largest(*gradients) / float(gradients[0].abs().max())
        figures["gradient of a loss"] = max(figures["gradient of a loss"], relative)
    return figures


def discriminators(place: Place) -> Figures:
    x, worst = pictures(place.side), 0.0
    for name in DISCRIMINATORS:
        network = create_discriminator(name, torch_rng(0)).eval()
        there = copy.deepcopy(network).to(place.device)
        with torch.no_grad():
            for member in range(len(network.probabilities)):
                mine = there(x.to(place.device), x.to(place.device), member=member)
                worst = max(worst, largest(network(x, x, member=member), mine))
    return {"discriminators": worst}


def figures_of_holes(place: Place) -> Figures:
    x, hole = pictures(place.side), holes(place.side)
    y, lpips = (x + 0.02 * torch.rand(x.shape, generator=torch_rng("noise"))).clamp(0, 1), Lpips("alex")
    found = [metrics.hole_lpips(y.to(d), x.to(d), hole.to(d), lpips.to(d)) for d in ("cpu", place.device)]
    return {"LPIPS": largest(*found)}


def synthesis(place: Place) -> Figures:
    x = pictures(place.side)
    depth = prepare_depth(x[:, :1], "none", 1, (place.side, place.side))
    different = 0.0
    for method in HOLE_METHODS:
        mine = find_hole(method, depth.to(place.device), 5.0, 0.5).cpu()
        different = max(different, float((mine ^ find_hole(method, depth, 5.0, 0.5)).float().mean()))
    seen = [forward_warp(x.to(d), depth.to(d), 5.0, 0.5, "right", fill=True)[0] for d in ("cpu", place.device)]
    depths = [FastDepth(d).infer(x) for d in ("cpu", place.device)]
    away = float((depths[0] - depths[1].cpu()).abs().mean())
    return {"holes that differ": different, "warp": float((seen[0] - seen[1].cpu()).abs().mean()), "depth": away}


def samples(place: Place) -> Figures:
    data = InpaintDataset(
        place.data / "train",
        training=True,
        crop_size=place.side,
        chances=Chances(mixed_border=0.5, thin_hole=0.3, border_hole=0.4),
    )
    items = [(draw % len(data), 1, draw) for draw in range(64)]
    *parts, _ = ResidentRecords(data, place.device).batch(items)
    expected = [torch.stack(part) for part in zip(*(data[item][:3] for item in items), strict=True)]
    unequal = torch.zeros(len(items), dtype=torch.bool)
    for mine, loaders in zip(parts, expected, strict=True):
        unequal |= (mine.cpu() != loaders).flatten(1).any(dim=1)
    away = max(largest(mine.float(), loaders.float()) for mine, loaders in zip(parts, expected, strict=True))
    return {"samples that differ": float(unequal.sum()), "largest difference of a sample": away}


def inpainter(place: Place) -> Figures:
    side = 3 * place.side
    x, hole = pictures(side, 1), torch.zeros(1, 1, side, side, dtype=torch.bool)
    hole[..., side // 4 : side // 2, side // 3 : side // 3 + 10] = True
    model = load_model(place.model)[0].eval().to(place.device)
    filled = Inpainter(model, place.device)(x, hole, closing=False)
    with torch.no_grad():
        whole = model.infer(x.to(place.device), hole.to(place.device)).cpu()
    soft = model.preprocess(x.to(place.device), hole.to(place.device))[1].cpu().expand_as(x)
    outside = (filled != x) & (soft == 0)
    return {
        "inpainter against whole frame": largest(filled[hole.expand_as(x)], whole[hole.expand_as(x)]),
        "known pixels that differ": float(outside.sum()),
    }


class _StopHalfway(Callback):
    def on_step(self, run: RunView, info: StepInfo) -> None:
        run.stop.asked = run.stop.asked or run.steps_done == run.total_steps // 2


def config_of(place: Place, folder: str, **changes: Any) -> dict[str, Any]:
    """Return the options of a run of 8 steps, or of 2 at the small size."""
    count = 32 if place.side >= 128 else 8
    return {
        "data_dir": str(place.data), "model_dir": folder, "device": place.device, "crop_size": place.side,
        "perceptual": "alex", "batch_size": 4, "backward_step": 1, "num_samples": count, "max_epoch": 1, "scheduler": "none",
        "eval_records": 2, "checkpoint_file": str(place.model), "optimizer": "adamw", "ema_decay": 0.9,
    } | changes  # fmt: skip


def resumed(place: Place) -> Figures:
    """Compare the whole run with one that was stopped halfway and resumed, and with one that was repeated."""
    weights: dict[str, dict[str, Tensor]] = {}
    seen: dict[str, Any] = {}
    for name in ("whole", "repeated", "resumed"):
        with tempfile.TemporaryDirectory() as folder:
            config = TrainConfig.from_params(config_of(place, folder))
            if name == "resumed":
                Trainer(config, [_StopHalfway()]).fit()
            trainer = Trainer(config, [])
            trainer.fit()
            weights[name] = load_state(trainer.files.state)["training_state_dict"]
            seen[name] = trainer.data.sampler.state_dict()["count"]
    return {
        "samples of a resumed run that differ": float((seen["whole"] != seen["resumed"]).sum()),
        **{
            f"weights of a {name} run": max(largest(weights["whole"][key], weights[name][key]) for key in weights[name])
            for name in ("repeated", "resumed")
        },
    }


def waits(place: Place) -> Figures:
    """Count the operations that, as torch reports, make the host wait in a plain step and in making its samples."""
    with tempfile.TemporaryDirectory() as folder:
        trainer = Trainer(TrainConfig.from_params(config_of(place, folder, resident="on")), [])
        step = one_step(trainer)
        step(1)
        if not place.device.startswith("cuda"):
            return {"waits of a plain step": 0.0}
        import warnings

        torch.cuda.set_sync_debug_mode("warn")
        try:
            with warnings.catch_warnings(record=True) as heard:
                warnings.simplefilter("always")
                step(2)
        finally:
            torch.cuda.set_sync_debug_mode("default")
    waiting = [warning for warning in heard if "synchroniz" in str(warning.message)]
    print("waits:", [f"{warning.filename}:{warning.lineno}" for warning in waiting])
    return {"waits of a plain step": float(len(waiting))}


def one_step(trainer: Trainer) -> Callable[[int], Any]:
    """Return a function that makes a batch and runs step `number`, including the update."""
    from inpaintkit.training.progress import StepPlace

    feed, task, count = trainer.setup.feed, trainer.setup.task, trainer.config.batch_size
    task.train_mode()

    def step(number: int) -> Any:
        batch = next(feed.batches([(draw % len(trainer.train_set), number, draw) for draw in range(count)]))
        place = StepPlace(0, 1, number, number, number)
        losses = task.step(batch, place)
        if number % trainer.config.backward_step == 0:
            task.update(place)
        return losses

    return step


def gan(place: Place) -> Figures:
    """Run a few GAN steps, measure the spread of the realness map, and check a step whose loss isn't finite."""
    with tempfile.TemporaryDirectory() as folder:
        options = config_of(place, folder, generator_warmup_iteration=1, discriminator="l3c")
        trainer = GanTrainer(GanConfig.from_params(options), [])
        report = trainer.fit()
        x = pictures(place.side)
        spread = float(trainer.realness(1 - x, x).std())
        task = trainer.setup.task
        with torch.no_grad():
            next(task.model.parameters()).fill_(torch.nan)
        losses = one_step(trainer)(1)
        failed = float(torch.isfinite(torch.stack([term.double() for term in losses.terms.values()])).all())
    return {"spread of a realness map": spread, "discriminator's loss": float(report.rows("train")[-1]["discriminator"]),
            "loss that isn't finite ends a step": failed}  # fmt: skip


CHECKS = (generator, losses, discriminators, figures_of_holes, synthesis, samples, inpainter, waits, resumed, gan)


def judged(name: str, value: float) -> str:
    """Return the verdict on a figure: ``ok``, ``TOO MUCH``, or empty if it has no limit."""
    if name not in LIMITS:
        return ""
    return "ok" if value <= LIMITS[name] else f"TOO MUCH (limit {LIMITS[name]:.2g})"


def start_model(folder: Path, released: Path) -> Path:
    """Return the released checkpoint, or, if it is missing, the file of a fresh generator in `folder`."""
    from inpaintkit.model import save_model

    return released if released.is_file() else save_model(LightInpaintV1(torch_rng(0), True), folder / "start.pth")
