"""FastDepth: the small depth network that ships with the kit, for machines that can't reach a model hub.

Encoder and decoder follow Wofk et al., "FastDepth: Fast Monocular Depth Estimation on Embedded Systems" (ICRA 2019),
in the pruned variant whose weights are in ``weights/`` (batch norm folded into the convolutions).
"""

import hashlib
from pathlib import Path

import torch
import torch.nn.functional as F
from safetensors.torch import load_file
from torch import Tensor, nn

from inpaintkit.depth.preparation import limited_size
from inpaintkit.depth.sharpen import SHARPEN_VERSION, sharpen_depth
from inpaintkit.errors import InputError

WEIGHTS = Path(__file__).parent / "weights" / "fastdepth.safetensors"
INPUT_SIDE = 224
DEFAULT_RESOLUTION = 720
NEAREST_DISTANCE = 0.1  # metres; keeps the inverse finite
LOW_PERCENTILE, HIGH_PERCENTILE = 0.01, 0.99

ENCODER_CHANNELS = (16, 56, 88, 120, 144, 256, 408, 376, 272, 288, 296, 328, 480, 512)
HALVING_BLOCKS = (2, 4, 6, 12)
DECODER_CHANNELS = (512, 200, 256, 120, 56, 16)
# decoder block -> encoder block whose output is added after its upsampling
SKIPS = {2: 5, 3: 3, 4: 1}


class _Depthwise(nn.Conv2d):
    """Depthwise convolution with zero padding, fast in float64 as well."""

    def __init__(self, channels: int, kernel: int, stride: int) -> None:
        super().__init__(channels, channels, kernel, stride, kernel // 2, groups=channels)

    def forward(self, x: Tensor) -> Tensor:
        if x.dtype != torch.float64:
            return super().forward(x)
        # torch's own is slow in float64: adding up shifted pictures takes a fifth of its time
        (size, _), (stride, _) = self.kernel_size, self.stride
        reach = size // 2
        padded = F.pad(x.permute(0, 2, 3, 1), (0, 0, reach, reach, reach, reach))
        rows, columns = (1 + (side - 1) // stride for side in x.shape[2:])
        assert self.bias is not None
        total = self.bias.repeat(len(x), rows, columns, 1)
        for down in range(size):
            for right in range(size):
                shifted = padded[:, down:, right:][:, : stride * rows : stride, : stride * columns : stride]
                total.addcmul_(shifted, self.weight[:, 0, down, right])
        return total.permute(0, 3, 1, 2)


class _Separable(nn.Module):
    """Depthwise then pointwise convolution, each followed by `activation`."""

    def __init__(self, inputs: int, outputs: int, kernel: int, stride: int, activation: nn.Module) -> None:
        super().__init__()
        self.dw = _Depthwise(inputs, kernel, stride)
        self.pw = nn.Conv2d(inputs, outputs, 1)
        self.activation = activation

    def forward(self, x: Tensor) -> Tensor:
        return self.activation(self.pw(self.activation(self.dw(x))))  # type: ignore[no-any-return]


class FastDepthNetwork(nn.Module):
    """Picture (B, 3, 224, 224), RGB in 0..1 -> distance (B, 1, 224, 224), nominally metres, larger = farther."""

    def __init__(self) -> None:
        super().__init__()
        relu6 = nn.ReLU6()
        relu = nn.ReLU()
        self.enc = nn.ModuleList([nn.Conv2d(3, ENCODER_CHANNELS[0], 3, 2, 1)])
        for index in range(1, len(ENCODER_CHANNELS)):
            inputs, outputs = ENCODER_CHANNELS[index - 1 : index + 1]
            self.enc.append(_Separable(inputs, outputs, 3, 2 if index in HALVING_BLOCKS else 1, relu6))
        # the stored names count decoder blocks from 1
        self.dec = nn.ModuleDict(
            {
                str(index): _Separable(DECODER_CHANNELS[index - 1], DECODER_CHANNELS[index], 5, 1, relu)
                for index in range(1, len(DECODER_CHANNELS))
            }
        )
        self.head = nn.Conv2d(DECODER_CHANNELS[-1], 1, 1)

    def forward(self, pictures: Tensor) -> Tensor:
        x = F.relu6(self.enc[0](pictures))
        kept = {}
        for index, block in enumerate(self.enc):
            if index:
                x = block(x)
            if index in SKIPS.values():
                kept[index] = x
        for index in range(1, len(DECODER_CHANNELS)):
            x = F.interpolate(self.dec[str(index)](x), scale_factor=2, mode="nearest")
            if index in SKIPS:
                x = x + kept[SKIPS[index]]
        return F.relu(self.head(x))


def load_fastdepth(weights: Path = WEIGHTS) -> FastDepthNetwork:
    """Return the network in eval mode with `weights` loaded; raise `InputError` if they are missing or damaged."""
    try:
        tensors = {name: value.float() for name, value in load_file(weights).items()}
        if not all(value.isfinite().all() for value in tensors.values()):
            raise ValueError("a weight is NaN or infinite")
        network = FastDepthNetwork()
        network.load_state_dict(tensors)
    except Exception as error:
        raise InputError(
            f"FastDepth: its weights {weights} are missing or damaged; reinstall inpaintkit or give another model_path"
        ) from error
    return network.eval().requires_grad_(False)


def distance_to_depth(distance: Tensor) -> Tensor:
    """Return depth (B, 1, h, w), 0..1, 1 = near: inverse `distance` (in metres), scaled by each picture's percentiles.

    The percentiles keep a few outliers from taking up the range. A flat map becomes 0.
    """
    inverse = distance.clamp(min=NEAREST_DISTANCE).reciprocal()
    ranked = inverse.flatten(1).sort(dim=1).values
    last = ranked.shape[1] - 1
    low = ranked[:, round(LOW_PERCENTILE * last)][:, None, None, None]
    high = ranked[:, round(HIGH_PERCENTILE * last)][:, None, None, None]
    return ((inverse - low) / (high - low).clamp(min=torch.finfo(inverse.dtype).eps)).clamp(0, 1)


class FastDepth:
    """The shipped depth model: network at 224x224, inverse depth, upsampled and sharpened along the picture's edges.

    With `flip`, distance is averaged with that of the mirrored picture.
    """

    name = "FastDepth"
    metric = False

    def __init__(
        self, device: str = "cpu", resolution: int | None = None, weights: Path = WEIGHTS, flip: bool = False
    ) -> None:
        self.flip = flip
        self.resolution = resolution or DEFAULT_RESOLUTION
        self.device = torch.device(device)
        # float32 convolutions round differently with the number of threads; with float64, results don't show it
        self._dtype = torch.float64 if self.device.type == "cpu" else torch.float32
        self.network = load_fastdepth(weights).to(self.device, self._dtype).to(memory_format=torch.channels_last)
        digest = hashlib.sha256(weights.read_bytes()).hexdigest()[:12]
        self.version = f"fastdepth-{digest}-{SHARPEN_VERSION}{'-flip' if flip else ''}"

    @torch.inference_mode()
    def infer(self, pictures: Tensor) -> Tensor:
        """Return depth (B, 1, h, w), float32 in 0..1, 1 = near, for `pictures` (B, 3, H, W), RGB in 0..1.

        The short side of the result is `resolution`, or the picture's own if that is smaller.
        """
        pictures = pictures.to(self.device, torch.float32)
        size = limited_size(pictures.shape[2], pictures.shape[3], self.resolution)
        squeezed = F.interpolate(pictures, (INPUT_SIDE, INPUT_SIDE), mode="bilinear", antialias=True)
        squeezed = squeezed.to(self._dtype).contiguous(memory_format=torch.channels_last)
        distance = self.network(squeezed)
        if self.flip:
            distance = (distance + self.network(squeezed.flip(3)).flip(3)) / 2
        depth = distance_to_depth(distance.float())
        return sharpen_depth(depth.contiguous(), F.interpolate(pictures, size, mode="bilinear", antialias=True))
