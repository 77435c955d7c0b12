"""LPIPS: how different two pictures look to a network trained to recognise things.

Zhang et al., "The Unreasonable Effectiveness of Deep Features as a Perceptual Metric", CVPR 2018, version 0.1.
"""

import functools
from collections.abc import Iterator
from pathlib import Path

import torch
import torch.nn.functional as F
from safetensors.torch import load_file
from torch import Tensor, nn

from inpaintkit.config import require_known
from inpaintkit.depth.hub_access import is_reachable
from inpaintkit.errors import InputError

WEIGHTS_FOLDER = Path(__file__).parent / "weights"
VGG_TRUNK = Path("models") / "perceptual" / "vgg16_features.safetensors"
TORCHVISION_VGG = "vgg16-397923af.pth"
TORCHVISION_URL = f"https://download.pytorch.org/models/{TORCHVISION_VGG}"

# For a picture in -1..1 (the ImageNet statistics as the authors of LPIPS rounded them).
PICTURE_SHIFT = (-0.030, -0.088, -0.188)
PICTURE_SCALE = (0.458, 0.448, 0.450)
# Added once per channel inside the square root: keeps the gradient finite where all features are zero.
NORM_EPS = 1e-8

# Per stage: (kernel, stride) of the pooling before it, then (index in torchvision's `features`, stride, padding) of its
# convolutions. The last ReLU of each stage is compared.
Stage = tuple[tuple[int, int] | None, tuple[tuple[int, int, int], ...]]
STAGES: dict[str, tuple[Stage, ...]] = {
    "vgg": (
        (None, ((0, 1, 1), (2, 1, 1))),
        ((2, 2), ((5, 1, 1), (7, 1, 1))),
        ((2, 2), ((10, 1, 1), (12, 1, 1), (14, 1, 1))),
        ((2, 2), ((17, 1, 1), (19, 1, 1), (21, 1, 1))),
        ((2, 2), ((24, 1, 1), (26, 1, 1), (28, 1, 1))),
    ),
    "alex": (
        (None, ((0, 4, 2),)),
        ((3, 2), ((3, 1, 2),)),
        ((3, 2), ((6, 1, 1),)),
        (None, ((8, 1, 1),)),
        (None, ((10, 1, 1),)),
    ),
}


class Lpips(nn.Module):
    """LPIPS v0.1 with the public heads; frozen, and without an entry in `parameters()` or `state_dict()`.

    Args:
        network: ``vgg`` (VGG16, for training) or ``alex`` (AlexNet, cheaper).
        trunk_path: file with the network's convolutions as ``features.N.weight/bias`` (safetensors, or a
            torchvision ``.pth``); None: the package's own file for alex, `find_vgg_trunk` for vgg.

    Raises `InputError` for an unknown network, or if the trunk's file is missing or damaged.
    """

    def __init__(self, network: str = "vgg", trunk_path: str | Path | None = None) -> None:
        super().__init__()
        require_known("perceptual", network, STAGES)
        self.network = network
        if trunk_path is None:
            trunk_path = find_vgg_trunk() if network == "vgg" else WEIGHTS_FOLDER / "alexnet_features.safetensors"
        for name, tensor in _load_trunk(Path(trunk_path), network).items():
            self.register_buffer(name, tensor, persistent=False)
        heads = load_file(WEIGHTS_FOLDER / "lpips_heads.safetensors")
        for i in range(len(STAGES[network])):
            self.register_buffer(f"head_{i}", heads[f"{network}.lin{i}.weight"], persistent=False)
        # One affine map from 0..1 to the trunk's input, instead of two (0..1 -> -1..1 -> shifted and scaled).
        shift, scale = (torch.tensor(v).view(1, 3, 1, 1) for v in (PICTURE_SHIFT, PICTURE_SCALE))
        self.register_buffer("input_scale", 2 / scale, persistent=False)
        self.register_buffer("input_shift", (-1 - shift) / scale, persistent=False)
        self.eval()

    def forward(self, input: Tensor, target: Tensor) -> Tensor:
        """Return the distance of each pair, (B,) float32; 0 = equal.

        `input` and `target` are pictures (B, 3, H, W) in 0..1 (values outside are allowed), H, W >= 64 for safe
        results. The gradient flows to `input` only.
        """
        return self.per_layer(input, target).sum(dim=0)

    def per_layer(self, input: Tensor, target: Tensor) -> Tensor:
        """Return each layer's share of the distance, (layers, B)."""
        return torch.stack([m.float().mean(dim=(1, 2, 3)) for m in self._layer_maps(input, target)])

    def distance_map(self, input: Tensor, target: Tensor) -> Tensor:
        """Return the distance per pixel, (B, 1, H, W): layer maps enlarged bilinearly and summed (`spatial` LPIPS)."""
        size = input.shape[-2:]
        maps = (
            F.interpolate(m.float(), size=size, mode="bilinear", align_corners=False)
            for m in self._layer_maps(input, target)
        )
        return functools.reduce(torch.add, maps)

    def features(self, picture: Tensor) -> Iterator[Tensor]:
        """Yield the compared ReLU outputs (B, C, h, w), shallow to deep, of a picture (B, 3, H, W) in 0..1."""
        x = picture * self.get_buffer("input_scale") + self.get_buffer("input_shift")
        x = x.contiguous(memory_format=torch.channels_last)
        for pool, convolutions in STAGES[self.network]:
            if pool is not None:
                x = F.max_pool2d(x, *pool)
            for index, stride, padding in convolutions:
                weight, bias = self.get_buffer(f"weight_{index}"), self.get_buffer(f"bias_{index}")
                x = F.relu_(F.conv2d(x, weight, bias, stride, padding))
            yield x

    def _layer_maps(self, input: Tensor, target: Tensor) -> Iterator[Tensor]:
        with torch.no_grad():
            references = [_normalise(feature) for feature in self.features(target)]
        for i, feature in enumerate(self.features(input)):
            difference = _normalise(feature) - references[i]
            yield F.conv2d(difference.square(), self.get_buffer(f"head_{i}"))


def _normalise(feature: Tensor) -> Tensor:
    # The norm adds up in float32: squares of VGG features overflow float16.
    norm = torch.linalg.vector_norm(feature, dim=1, keepdim=True, dtype=torch.float32)
    inverse = torch.rsqrt(norm.square() + feature.shape[1] * NORM_EPS)
    return feature * inverse.to(feature.dtype)


def _load_trunk(path: Path, network: str) -> dict[str, Tensor]:
    try:
        if path.suffix == ".pth":
            stored = torch.load(path, map_location="cpu", weights_only=True, mmap=True)
        else:
            stored = load_file(path)
        trunk = {}
        for _, convolutions in STAGES[network]:
            for index, _, _ in convolutions:
                weight = stored[f"features.{index}.weight"].float()
                trunk[f"weight_{index}"] = weight.contiguous(memory_format=torch.channels_last)
                trunk[f"bias_{index}"] = stored[f"features.{index}.bias"].float().clone()
    except Exception as error:
        raise InputError(
            f"perceptual: {path} does not hold the convolutions of {network} ({error}); copy the file again"
        ) from error
    return trunk


def find_vgg_trunk() -> Path:
    """Return a file with VGG16's convolutions, downloading torchvision's only if there is none on disk.

    Searched in this order: ``models/perceptual/vgg16_features.safetensors`` under the working folder, the package
    and the folders above them; torchvision's cache; torchvision's download server. Raises `InputError` if all fail.
    """
    starts = (Path.cwd(), Path(__file__).resolve().parent)
    for folder in (f for start in starts for f in (start, *start.parents)):
        if (folder / VGG_TRUNK).is_file():
            return folder / VGG_TRUNK
    cached = Path(torch.hub.get_dir()) / "checkpoints" / TORCHVISION_VGG
    return cached if cached.is_file() else _download_vgg(cached)


def _download_vgg(path: Path) -> Path:
    try:
        # torch.hub has no time limit of its own: find out first whether the server can be reached.
        if not is_reachable(TORCHVISION_URL):
            raise OSError(f"no answer came from {TORCHVISION_URL}")
        path.parent.mkdir(parents=True, exist_ok=True)
        torch.hub.download_url_to_file(TORCHVISION_URL, str(path), hash_prefix="397923af", progress=True)
    except (OSError, RuntimeError) as error:
        raise InputError(
            f"perceptual: the VGG16 weights are missing and can't be downloaded ({error}); copy them to {VGG_TRUNK} "
            f"in the project folder, connect to the internet, or train with perceptual=alex"
        ) from error
    return path
