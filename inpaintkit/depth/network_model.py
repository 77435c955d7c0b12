"""A depth network of any family behind the one interface of the kit."""

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
SKY_CERTAINTY = 0.3  # what Depth Anything 3 takes for sky
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
    """Return the one side length in px that a DepthPro network works at: its patch, at the smallest of its scales."""
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
    """Depth Anything v1, v2 and Distill Any Depth: bicubic, ImageNet scale."""
    answer = network(normalise(_resized(pictures, spec, resolution, "bicubic"), IMAGENET))
    return _four_dimensional(answer if isinstance(answer, Tensor) else answer.predicted_depth)


def zoedepth(network: nn.Module, pictures: Tensor, spec: DepthModelSpec, resolution: int | None) -> Tensor:
    """ZoeDepth, its head on Depth Anything too, as in iw3: mirror border around the picture, scale -1..1."""
    answer = network(normalise(_resized(add_border(pictures), spec, resolution, "bilinear"), CENTRED))
    depth = answer["metric_depth" if "metric_depth" in answer else "predicted_depth"]
    return remove_border(_four_dimensional(depth), pictures.shape[2], pictures.shape[3])


def depth_pro(network: nn.Module, pictures: Tensor, spec: DepthModelSpec, resolution: int | None) -> Tensor:
    """DepthPro: one fixed square size; the raw answer is inverse depth, which is brought back to the picture's shape."""
    side = depth_pro_side(network)
    prepared = F.interpolate(normalise(pictures, CENTRED), (side, side), mode="bilinear")
    depth = _four_dimensional(network(prepared).predicted_depth)
    size = limited_size(pictures.shape[2], pictures.shape[3], side)
    return F.interpolate(depth, size, mode="bilinear", antialias=True)


def _inverse_distance(distance: Tensor, sky: Tensor) -> Tensor:
    """Return inverse depth for `distance` (1, h, w), known up to scale; `sky` (bool) gets the depth of the farthest land."""
    if bool(sky.all()):
        return torch.zeros_like(distance)
    unit = distance[~sky].median().clamp(min=torch.finfo(distance.dtype).tiny)
    inverse = (distance.clamp(min=0) / unit + INVERSE_OFFSET).reciprocal()
    return inverse.masked_fill(sky, float(inverse[~sky].min()))


def depth_anything_3(network: nn.Module, pictures: Tensor, spec: DepthModelSpec, resolution: int | None) -> Tensor:
    """Depth Anything 3 mono: takes series of views (B, 1, 3, H, W), answers with ``depth``, a distance, and ``sky``."""
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
    """Return a picture (1, 3, 480, 640) of soft coloured blobs, always the same, to try a network on."""
    cells = torch.rand(1, 3, *PROBE_CELLS, generator=torch_rng("depth probe"))
    return F.interpolate(cells, PROBE_SIZE, mode="bicubic").clamp(0, 1)


class NetworkDepthModel:
    """Depth by a loaded network: prepare, run, turn near up, scale to 0..1.

    Half precision on CUDA; on a CPU bf16 where that is possible and faster, with this network too, and changes no depth of a
    probe picture by more than 0.01. With `flip`, depth is averaged with that of the mirrored picture.
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
        self._asked_resolution = resolution
        self.device = torch.device(device)
        digest = weights_digest(network)
        network = network.float().eval().requires_grad_(False)
        self.network = network.to(self.device).to(memory_format=torch.channels_last)
        self.dtype: torch.dtype | None = torch.float16 if self.device.type == "cuda" else self._cpu_dtype()
        # portrait pictures get another size then, which `resolution` doesn't tell
        portrait = f"-portrait{spec.portrait_resolution}" if spec.portrait_resolution and resolution is None else ""
        self._base_version = f"{spec.source}-{digest}-{PREPARATION_VERSION}{portrait}"

    @property
    def version(self) -> str:
        """Source, weights, preparation and arithmetic: whatever decides about the depth of an unchanged picture."""
        return self._version_in(self.dtype)

    def _version_in(self, dtype: torch.dtype | None) -> str:
        return self._base_version + ARITHMETIC_NAMES[dtype] + ("-flip" if self.flip else "")

    def compute_like(self, version: str | None) -> None:
        """On a CPU, take the arithmetic of the model called `version` if that is the only difference, else stay as it is.

        Which arithmetic is faster is measured, and may come out differently when a data set is continued.
        """
        choices = {self._version_in(dtype): dtype for dtype in (torch.bfloat16, None)}
        if self.device.type == "cpu" and version in choices:
            self.dtype = choices[version]

    def _cpu_dtype(self) -> torch.dtype | None:
        if self.device.type != "cpu" or not bf16_is_fast():
            return None
        depths, seconds = {}, {}
        for dtype in (torch.bfloat16, None):  # bf16 first: whoever is first pays for warming up
            self.dtype, started = dtype, time.perf_counter()
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
        """Return the network's own kind of depth (B, 1, h, w), float32."""
        reduced = torch.autocast(self.device.type, self.dtype) if self.dtype else contextlib.nullcontext()
        with reduced:
            return FAMILIES[self.spec.family](self.network, pictures, self.spec, self._asked_resolution).float()

    def _averaged(self, pictures: Tensor) -> Tensor:
        """Return that of `pictures`, averaged with that of the mirrored ones where that is asked for."""
        moved = pictures.to(self.device, torch.float32)
        depth = self._raw(moved)
        return (depth + self._raw(moved.flip(3)).flip(3)) / 2 if self.flip else depth

    @torch.inference_mode()
    def infer(self, pictures: Tensor) -> Tensor:
        """Return depth (B, 1, h, w), float32 in 0..1, 1 = near, at the network's resolution, for `pictures` (B, 3, H, W).

        Raises `InputError` if the memory of the GPU doesn't suffice, and for an answer with NaN or infinity.
        """
        depth = None
        # over before the sentence is told: until then the error holds what had been taken of the memory
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
