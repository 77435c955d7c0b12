"""A depth network of any family behind the one interface of the kit."""

from __future__ import annotations

import hashlib
import warnings
from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from inpaintkit.depth.fastdepth import limited_size
from inpaintkit.depth.preparation import CENTRED, IMAGENET, add_border, network_size, normalise, remove_border
from inpaintkit.depth.protocol import DepthModelSpec, min_max
from inpaintkit.errors import InputError

PREPARATION_VERSION = "prep1"
SKY_CERTAINTY = 0.3
FAR_QUANTILE = 0.98
INVERSE_OFFSET = 0.1  # in medians of the distance; keeps the inverse of near things within bounds


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


def _short_side(pictures: Tensor, spec: DepthModelSpec, resolution: int | None) -> int:
    portrait = pictures.shape[2] > pictures.shape[3]
    return resolution or (spec.portrait_resolution if portrait else None) or spec.resolution


def _resized(pictures: Tensor, spec: DepthModelSpec, resolution: int | None, mode: str) -> Tensor:
    short = _short_side(pictures, spec, resolution)
    size = network_size(pictures.shape[2], pictures.shape[3], short, spec.multiple)
    return F.interpolate(pictures, size, mode=mode, antialias=True)


def _four_dimensional(depth: Tensor) -> Tensor:
    return depth if depth.dim() == 4 else depth[:, None]


def depth_anything(network: nn.Module, pictures: Tensor, spec: DepthModelSpec, resolution: int | None) -> Tensor:
    """Depth Anything v1, v2 and Distill Any Depth: bicubic, ImageNet scale."""
    answer = network(normalise(_resized(pictures, spec, resolution, "bicubic"), IMAGENET))
    return _four_dimensional(answer if isinstance(answer, Tensor) else answer.predicted_depth)


def zoedepth(network: nn.Module, pictures: Tensor, spec: DepthModelSpec, resolution: int | None) -> Tensor:
    """ZoeDepth: mirror border around the picture, scale -1..1."""
    prepared = normalise(_resized(add_border(pictures), spec, resolution, "bilinear"), CENTRED)
    depth = _four_dimensional(network(prepared).predicted_depth)
    return remove_border(depth, pictures.shape[2], pictures.shape[3])


def zoedepth_any(network: nn.Module, pictures: Tensor, spec: DepthModelSpec, resolution: int | None) -> Tensor:
    """ZoeDepth's head on Depth Anything: the network scales colours itself and answers with a dictionary."""
    depth = _four_dimensional(network(_resized(add_border(pictures), spec, resolution, "bilinear"))["metric_depth"])
    return remove_border(depth, pictures.shape[2], pictures.shape[3])


def depth_pro(network: nn.Module, pictures: Tensor, spec: DepthModelSpec, resolution: int | None) -> Tensor:
    """DepthPro: one fixed square size; the raw answer is inverse depth, which is brought back to the picture's shape."""
    side = depth_pro_side(network)
    prepared = F.interpolate(normalise(pictures, CENTRED), (side, side), mode="bilinear")
    depth = _four_dimensional(network(prepared).predicted_depth)
    size = limited_size(pictures.shape[2], pictures.shape[3], side)
    return F.interpolate(depth, size, mode="bilinear", antialias=True)


def depth_anything_3(network: nn.Module, pictures: Tensor, spec: DepthModelSpec, resolution: int | None) -> Tensor:
    """Depth Anything 3 mono: distance up to scale, and where the sky is; turned into inverse depth."""
    answer = network(normalise(_resized(pictures, spec, resolution, "bicubic"), IMAGENET)[:, None])
    shape = (pictures.shape[0], 1, *answer["depth"].shape[-2:])
    distance, sky = answer["depth"].float().reshape(shape), answer["sky"].float().reshape(shape)
    rows = (distance / distance.flatten(1).median(1).values.clamp(min=1e-6)[:, None, None, None]).flatten(1)
    far = rows.sort(1).values[:, round(FAR_QUANTILE * (rows.shape[1] - 1))][:, None, None, None]
    distance = torch.where(sky > SKY_CERTAINTY, far, rows.reshape(shape).minimum(far))
    return 1 / (distance + INVERSE_OFFSET)


FAMILIES: dict[str, Callable[[nn.Module, Tensor, DepthModelSpec, int | None], Tensor]] = {
    "depth_anything": depth_anything,
    "depth_anything_3": depth_anything_3,
    "depth_pro": depth_pro,
    "zoedepth": zoedepth,
    "zoedepth_any": zoedepth_any,
}


class NetworkDepthModel:
    """Depth by a loaded network: prepare, run (half precision on CUDA), turn near up, scale to 0..1."""

    def __init__(
        self, name: str, spec: DepthModelSpec, network: nn.Module, device: str, resolution: int | None
    ) -> None:
        if spec.family == "depth_pro" and resolution not in (None, depth_pro_side(network)):
            raise InputError(f"resolution: {name} only works at {depth_pro_side(network)} px; leave resolution empty")
        self.name, self.spec, self.metric = name, spec, spec.metric
        self.resolution = resolution or spec.resolution
        self._asked_resolution = resolution
        self.device = torch.device(device)
        self.version = f"{spec.source}-{weights_digest(network)}-{PREPARATION_VERSION}"
        self.network = network.float().eval().requires_grad_(False).to(self.device)

    @torch.inference_mode()
    def infer(self, pictures: Tensor) -> Tensor:
        """Return depth (B, 1, h, w), float32 in 0..1, 1 = near, at the network's resolution, for `pictures` (B, 3, H, W).

        A batch that doesn't fit into the GPU's memory is halved, with a warning, until it does or is one picture.
        """
        try:
            with torch.autocast("cuda", torch.float16, enabled=self.device.type == "cuda"):
                moved = pictures.to(self.device, torch.float32)
                depth = FAMILIES[self.spec.family](self.network, moved, self.spec, self._asked_resolution).float()
        except torch.OutOfMemoryError:
            half = pictures.shape[0] // 2
            if not half:
                raise InputError(
                    f"{self.name}: one picture does not fit into the memory of {self.device}; lower resolution or use device=cpu"
                ) from None
            warnings.warn(f"{self.name}: out of memory, going on with {half} pictures at a time", stacklevel=2)
            return torch.cat([self.infer(pictures[:half]), self.infer(pictures[half:])])
        if not bool(torch.isfinite(depth).all()):
            raise InputError(
                f"{self.name}: its answer holds NaN or infinite values; use another checkpoint or device=cpu"
            )
        return min_max(-depth if self.metric else depth)
