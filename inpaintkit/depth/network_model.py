"""Depth networks of all families behind the kit's one interface, `DepthModel`."""

import contextlib
import hashlib
import time
from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from inpaintkit.arithmetic import bf16_is_fast
from inpaintkit.depth.preparation import (
    CENTRED,
    IMAGENET,
    add_border,
    limited_size,
    network_size,
    normalise,
    remove_border,
)
from inpaintkit.depth.protocol import DepthModelSpec, min_max
from inpaintkit.errors import InputError
from inpaintkit.seeds import torch_rng

PREPARATION_VERSION = "prep2"
SKY_CERTAINTY = 0.3  # above it, Depth Anything 3 takes a pixel for sky
INVERSE_OFFSET = 0.1  # in median distances; keeps the nearest things from taking up the whole range
BF16_TOLERANCE = 1e-2  # of the depth range 0..1
PROBE_CELLS, PROBE_SIZE = (9, 12), (480, 640)
ARITHMETIC_NAMES = {torch.float16: "-fp16", torch.bfloat16: "-bf16", None: ""}


def weights_digest(network: nn.Module) -> str:
    """Return 12 hex digits that depend on every name and value of the network's weights."""
    digest = hashlib.blake2b(digest_size=6)
    for name, value in sorted(network.state_dict().items()):
        digest.update(name.encode())
        digest.update(value.detach().cpu().contiguous().flatten().view(torch.uint8).numpy())
    return digest.hexdigest()


def depth_pro_side(network: nn.Module) -> int:
    """Return the only side length in px that a DepthPro network accepts: its patch size over its smallest scale."""
    config: Any = network.config
    return int(config.patch_size / min(config.scaled_images_ratios))


def _resized(pictures: Tensor, spec: DepthModelSpec, resolution: int | None, mode: str) -> Tensor:
    height, width = pictures.shape[2:]
    short = resolution or (spec.portrait_resolution if height > width else None) or spec.resolution
    size = network_size(height, width, short, spec.multiple)
    return F.interpolate(pictures, size, mode=mode, antialias=True)


def _four_dimensional(depth: Tensor) -> Tensor:
    return depth if depth.dim() == 4 else depth[:, None]


def depth_anything(network: nn.Module, pictures: Tensor, spec: DepthModelSpec, resolution: int | None) -> Tensor:
    """Run Depth Anything v1, v2 or Distill Any Depth: bicubic resizing, ImageNet normalisation."""
    answer = network(normalise(_resized(pictures, spec, resolution, "bicubic"), IMAGENET))
    return _four_dimensional(answer if isinstance(answer, Tensor) else answer.predicted_depth)


def zoedepth(network: nn.Module, pictures: Tensor, spec: DepthModelSpec, resolution: int | None) -> Tensor:
    """Run ZoeDepth, also with Depth Anything as its backbone, as iw3 does: mirrored border, colours in -1..1."""
    answer = network(normalise(_resized(add_border(pictures), spec, resolution, "bilinear"), CENTRED))
    depth = answer["metric_depth" if "metric_depth" in answer else "predicted_depth"]
    return remove_border(_four_dimensional(depth), pictures.shape[2], pictures.shape[3])


def depth_pro(network: nn.Module, pictures: Tensor, spec: DepthModelSpec, resolution: int | None) -> Tensor:
    """Run DepthPro at its one square size; the output, inverse depth, is resized to the picture's aspect ratio."""
    side = depth_pro_side(network)
    prepared = F.interpolate(normalise(pictures, CENTRED), (side, side), mode="bilinear")
    depth = _four_dimensional(network(prepared).predicted_depth)
    size = limited_size(pictures.shape[2], pictures.shape[3], side)
    return F.interpolate(depth, size, mode="bilinear", antialias=True)


def _inverse_distance(distance: Tensor, sky: Tensor) -> Tensor:
    """Return inverse depth for `distance` (1, h, w), known up to scale; `sky` (bool) gets the farthest depth found."""
    if bool(sky.all()):
        return torch.zeros_like(distance)
    unit = distance[~sky].median().clamp(min=torch.finfo(distance.dtype).tiny)
    inverse = (distance.clamp(min=0) / unit + INVERSE_OFFSET).reciprocal()
    return inverse.masked_fill(sky, float(inverse[~sky].min()))


def depth_anything_3(network: nn.Module, pictures: Tensor, spec: DepthModelSpec, resolution: int | None) -> Tensor:
    """Run Depth Anything 3 mono: takes series of views (B, 1, 3, H, W), returns ``depth``, a distance, and ``sky``."""
    answer = network(normalise(_resized(pictures, spec, resolution, "bicubic"), IMAGENET)[:, None])
    shape = (pictures.shape[0], 1, *answer["depth"].shape[-2:])
    pairs = zip(answer["depth"].float().reshape(shape), answer["sky"].float().reshape(shape), strict=True)
    return torch.stack([_inverse_distance(distance, sky > SKY_CERTAINTY) for distance, sky in pairs])


FAMILIES: dict[str, Callable[[nn.Module, Tensor, DepthModelSpec, int | None], Tensor]] = {
    "depth_anything": depth_anything,
    "depth_anything_3": depth_anything_3,
    "depth_pro": depth_pro,
    "zoedepth": zoedepth,
}


def probe_picture() -> Tensor:
    """Return a picture (1, 3, 480, 640) of soft coloured blobs, always the same, to test a network on."""
    cells = torch.rand(1, 3, *PROBE_CELLS, generator=torch_rng("depth probe"))
    return F.interpolate(cells, PROBE_SIZE, mode="bicubic").clamp(0, 1)


class NetworkDepthModel:
    """Depth model that runs a loaded network: prepare the picture, run, make near large, scale to 0..1.

    It computes in half precision on CUDA. On a CPU it uses bf16 if the processor is fast at it, this network runs
    faster with it, and no depth of a probe picture changes by more than 0.01. With `flip`, depth is averaged with that
    of the mirrored picture.
    """

    def __init__(
        self,
        name: str,
        spec: DepthModelSpec,
        network: nn.Module,
        device: str,
        resolution: int | None,
        flip: bool = False,
    ) -> None:
        if spec.family == "depth_pro" and resolution not in (None, depth_pro_side(network)):
            raise InputError(f"resolution: {name} only works at {depth_pro_side(network)} px; leave resolution empty")
        self.name, self.spec, self.metric, self.flip = name, spec, spec.metric, flip
        self.resolution = resolution or spec.resolution
        self._requested_resolution = resolution
        self.device = torch.device(device)
        digest = weights_digest(network)
        network = network.float().eval().requires_grad_(False)
        self.network = network.to(self.device).to(memory_format=torch.channels_last)
        self.dtype: torch.dtype | None = torch.float16 if self.device.type == "cuda" else self._cpu_dtype()
        # portrait pictures then get another size, which `resolution` doesn't show
        portrait = f"-portrait{spec.portrait_resolution}" if spec.portrait_resolution and resolution is None else ""
        self._base_version = f"{spec.source}-{digest}-{PREPARATION_VERSION}{portrait}"

    @property
    def version(self) -> str:
        """Source, weights, preparation and arithmetic: everything that determines the depth of a given picture."""
        return self._version_in(self.dtype)

    def _version_in(self, dtype: torch.dtype | None) -> str:
        return self._base_version + ARITHMETIC_NAMES[dtype] + ("-flip" if self.flip else "")

    def compute_like(self, version: str | None) -> None:
        """On a CPU, switch to the arithmetic in `version` if this model's differs in nothing else; else change nothing.

        Which arithmetic is faster is measured, and the result may differ when a data set is continued.
        """
        choices = {self._version_in(dtype): dtype for dtype in (torch.bfloat16, None)}
        if self.device.type == "cpu" and version in choices:
            self.dtype = choices[version]

    def _cpu_dtype(self) -> torch.dtype | None:
        if self.device.type != "cpu" or not bf16_is_fast():
            return None
        depths, seconds = {}, {}
        for dtype in (torch.bfloat16, None):  # bf16 first: the first one also pays for warming up
            self.dtype = dtype
            started = time.perf_counter()
            try:
                depths[dtype] = self.infer(probe_picture())
            except (RuntimeError, InputError):
                if dtype is None:
                    raise
                return None  # torch lacks some operation in bf16 (DepthPro's resizing), or it overflows
            seconds[dtype] = time.perf_counter() - started
        close = bool((depths[torch.bfloat16] - depths[None]).abs().max() <= BF16_TOLERANCE)
        return torch.bfloat16 if close and seconds[torch.bfloat16] < seconds[None] else None

    def _raw(self, pictures: Tensor) -> Tensor:
        """Return the network's raw depth (B, 1, h, w), float32: inverse depth or distance, in any range."""
        reduced = torch.autocast(self.device.type, self.dtype) if self.dtype else contextlib.nullcontext()
        with reduced:
            return FAMILIES[self.spec.family](self.network, pictures, self.spec, self._requested_resolution).float()

    def _averaged(self, pictures: Tensor) -> Tensor:
        """Return the raw depth of `pictures`, with `flip` averaged with that of the mirrored pictures."""
        moved = pictures.to(self.device, torch.float32)
        depth = self._raw(moved)
        return (depth + self._raw(moved.flip(3)).flip(3)) / 2 if self.flip else depth

    @torch.inference_mode()
    def infer(self, pictures: Tensor) -> Tensor:
        """Return depth (B, 1, h, w), float32, 0..1, 1 = near, of `pictures` (B, 3, H, W), at the network's resolution.

        Raises `InputError` if the GPU runs out of memory or the network's output has NaN or infinite values.
        """
        depth = None
        # InputError is raised outside of the handler: inside, the caught error still holds the memory taken so far
        with contextlib.suppress(torch.OutOfMemoryError):
            depth = self._averaged(pictures)
        if depth is None:
            raise InputError(
                f"{self.name}: the picture does not fit into the memory of {self.device}; lower resolution or use device=cpu"
            )
        if not bool(torch.isfinite(depth).all()):
            raise InputError(
                f"{self.name}: its answer holds NaN or infinite values; use another checkpoint or device=cpu"
            )
        return min_max(-depth if self.metric else depth)
