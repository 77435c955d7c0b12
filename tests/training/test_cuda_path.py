"""On a GPU no tensor is left on the CPU: everything that moves tensors runs on a fake GPU without numbers.

Only forward passes: ``benchmarks/gpu.py`` checks gradients on a real GPU and what depends on values.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from fake_gpu import FakeGpu, fake_gpu, zero_gradients
from torch import Tensor
from torch.utils._pytree import tree_map

from inpaintkit.config import HOLE_METHODS, LOSSES, GanConfig
from inpaintkit.data import InpaintDataset
from inpaintkit.data.resident import ResidentRecords
from inpaintkit.data.sample_draw import Chances
from inpaintkit.depth.fastdepth import FastDepth
from inpaintkit.inspection.holes import hole_iou, hole_ring, hole_widths, stray_pixels
from inpaintkit.inspection.spectrum import step_products
from inpaintkit.model import LightInpaintV1, create_discriminator
from inpaintkit.model.ensembles import DISCRIMINATORS
from inpaintkit.model.layers import ReplicationPad
from inpaintkit.seeds import torch_rng
from inpaintkit.synthesis import (
    close_hole,
    dilate_inner,
    dilate_outer,
    find_hole,
    forward_warp,
    prepare_depth,
    seen_from_left,
)
from inpaintkit.training import Lpips, create_loss, metrics, row_fill
from inpaintkit.training.distributed import Group
from inpaintkit.training.loss_log import LossLog
from inpaintkit.training.progress import StepPlace
from inpaintkit.training.tasks.gan import GanTask
from inpaintkit.training.tasks.plain import PlainTask

SIDE = 96
CONFIG = {
    "data_dir": "data", "model_dir": "model", "crop_size": SIDE, "device": "cuda", "perceptual": "alex",
    "checkpoint_file": "start.pth", "discriminator": "l3c", "generator_warmup_iteration": 0,
}  # fmt: skip
STEPS = [
    ("plain", "adamw", 0.99, "bf16", []),
    ("gan", "adamw", 0.99, "fp16", ["gan.py"]),
    ("gan", "muon", 0.0, "off", ["gan.py", "updater.py"]),
]
"""Kind of task, optimiser, moving average, arithmetic; places where a step makes the host wait: to compare the
gradients of a GAN step, and to skip updates of optimisers that torch doesn't fuse."""


@pytest.fixture
def gpu() -> Iterator[FakeGpu]:
    with fake_gpu() as gpu:
        yield gpu


def picture(side: int = SIDE) -> Tensor:
    return torch.rand(2, 3, side, side, device="cuda")


def hole(side: int = SIDE) -> Tensor:
    return torch.rand(2, 1, side, side, device="cuda") > 0.5


def all_there(*tensors: Tensor) -> bool:
    return all(tensor.is_cuda for tensor in tensors)


def float64_at(gpu: FakeGpu) -> set[str]:
    """Return the files that computed in float64 on the device, which Apple's devices don't support."""
    return {where.partition(":")[0] for where in gpu.float64}


def test_values_left_on_the_cpu_are_found(gpu: FakeGpu) -> None:
    with pytest.raises(AssertionError, match="of the CPU and of the GPU"):
        picture() + torch.zeros(SIDE)
    with pytest.raises(AssertionError, match="of the CPU and of the GPU"):
        picture()[torch.tensor([0, 1])]
    assert float(picture().sum()) == 1
    picture().cpu()
    torch.zeros(2).to("cuda")
    torch.zeros(2).to("cuda", non_blocking=True)
    torch.zeros(1 << 20).to("cuda", non_blocking=True)
    torch.zeros(1 << 20).pin_memory().to("cuda", non_blocking=True)
    torch.zeros(2, device="cuda")
    assert len(gpu.waits) == 1
    assert sum(gpu.waits.values()) == 4


@pytest.mark.parametrize("mode", ["train", "eval"])
def test_the_generator(gpu: FakeGpu, mode: str) -> None:
    model = LightInpaintV1(torch_rng(0)).to("cuda").train(mode == "train")
    with torch.autocast("cuda", torch.bfloat16):
        masked, soft = model.preprocess(picture(), hole(), closing=True, inner_dilation=1, outer_dilation=2)
        assert all_there(model(masked, soft), model.infer(picture(), hole()))


def test_feature_maps_keep_running_channels_last(gpu: FakeGpu) -> None:
    """Otherwise every 3x3 convolution would run in the slow layout."""
    x = torch.rand(2, 48, 16, 24, device="cuda").contiguous(memory_format=torch.channels_last)
    assert ReplicationPad()(x).is_contiguous(memory_format=torch.channels_last)


@pytest.mark.parametrize("name", DISCRIMINATORS)
def test_every_discriminator(gpu: FakeGpu, name: str) -> None:
    discriminator = create_discriminator(name, torch_rng(0)).to("cuda")
    for member in range(len(discriminator.probabilities)):
        with torch.autocast("cuda", torch.bfloat16):
            assert all_there(*discriminator(picture(), picture(), mask=hole().float(), member=member))


@pytest.mark.parametrize("name", LOSSES)
def test_every_loss_for_any_augmentation(gpu: FakeGpu, name: str, tiny_dinov2: Path) -> None:
    path = tiny_dinov2 if "dino" in name else None
    loss = create_loss(name, "alex", 2.0 if "l1" in name else 1.0, path, grid_weight=1.0).to("cuda")
    for seed in range(6):
        total, losses = loss(picture(), picture(), hole(), torch_rng(seed))
        assert all_there(total, losses.per_sample, *losses.terms.values())


def test_every_figure(gpu: FakeGpu) -> None:
    pair, missing = (picture(), picture()), hole()
    lpips = Lpips("alex").to("cuda")
    figures = [
        metrics.hole_psnr(*pair, missing),
        metrics.hole_lpips(*pair, missing, lpips),
        metrics.artefact_score(*pair, missing),
        hole_widths(missing),
        hole_ring(missing),
        hole_iou(missing, hole()),
        stray_pixels(missing, hole()),
    ]
    assert all_there(*figures)
    step_products(picture(), missing)


@pytest.mark.parametrize("method", HOLE_METHODS)
def test_every_hole_method(gpu: FakeGpu, method: str) -> None:
    depth = prepare_depth(picture()[:, :1], "div_6", 2, (SIDE, SIDE))
    for mirrored in (False, True):
        assert all_there(find_hole(method, depth, 4.0, 0.5, mirrored))


@pytest.mark.parametrize("eye", ["left", "right"])
def test_the_warp(gpu: FakeGpu, eye: str) -> None:
    depth, missing = picture()[:, :1], hole()
    assert all_there(*forward_warp(picture(), depth, 4.0, 0.5, eye, fill=True), seen_from_left(depth, 4.0, 0.5))
    assert all_there(
        close_hole(missing), dilate_inner(missing, 2), dilate_outer(missing, 2), row_fill(picture(), missing)
    )


def test_the_shipped_depth_model(gpu: FakeGpu) -> None:
    assert all_there(FastDepth("cuda", flip=True).infer(picture(256)))


def test_records_in_the_memory_of_the_device(gpu: FakeGpu, records: Path) -> None:
    resident = ResidentRecords(
        InpaintDataset(
            records / "train", True, crop_size=SIDE, chances=Chances(mixed_border=0.5, thin_hole=0.3, border_hole=0.4)
        ),
        "cuda",
    )
    items = [(0, epoch, draw) for epoch in range(2) for draw in range(32)]  # their mixed borders exceed 64 KiB
    resident.batch(items)  # the first call copies the tables of hues
    gpu.waits.clear()
    *batch, numbers = resident.batch(items)
    assert all_there(*batch)
    assert numbers.tolist() == [0] * len(items)
    assert not gpu.waits
    assert float64_at(gpu) <= {"batch_colours.py"}, "it asks for the device first"


def make_task(kind: str, **options: object) -> PlainTask | GanTask:
    config = GanConfig.from_params({**CONFIG, **options})
    plain = PlainTask(config, LightInpaintV1(torch_rng(0)), config.amp, config.device, Group())
    return plain if kind == "plain" else GanTask(config, plain)


@pytest.mark.parametrize(("kind", "optimizer", "ema_decay", "amp", "waits"), STEPS)
def test_a_training_step(gpu: FakeGpu, kind: str, optimizer: str, ema_decay: float, amp: str, waits: list[str]) -> None:
    task = make_task(kind, amp=amp, optimizer=optimizer, ema_decay=ema_decay)
    task.train_mode()
    batch = (picture(), hole(), picture(SIDE - 32), torch.arange(2))
    log = LossLog()
    for number in (1, 2):
        gpu.waits.clear()
        zero_gradients(task.model)
        if isinstance(task, GanTask):
            zero_gradients(task.discriminator)
        place = StepPlace(0, 1, number, number, number)
        log.add(batch[3], task.step(batch, place))
        task.update(place)
    assert sorted(place.partition(":")[0] for place in gpu.waits) == waits, gpu.waits
    gpu.waits.clear()
    log.take(Group())
    assert len(gpu.waits) == 1, "the losses of all steps are read at once"
    with task.evaluating():
        output, figures = task.evaluate(batch)
    assert all_there(output, *figures.values())
    assert float64_at(gpu) <= {"updater.py"}, "torch's own gradient scale, which asks for the device first"
    state = tree_map(lambda x: x.cpu() if isinstance(x, Tensor) else x, task.state())
    for group in state["optimizer_state_dict"][0]["param_groups"]:
        group["fused"] = None  # as saved on another device, or by iw3
    task.load_state(state)
    counts = [kept["step"] for kept in task.updaters[0].optimizer.state.values() if "step" in kept]
    assert all_there(*counts), "torch's fused AdamW reads them on the device, wherever they lie"
    zero_gradients(task.model)
    task.step(batch, place)
    task.update(place)
    if isinstance(task, GanTask):
        task.realness(torch.rand(1, 3, SIDE, SIDE), torch.rand(1, 3, SIDE, SIDE))
