"""Layers of the generator and the discriminators.

The generator's feature maps are ``(B, C, H, W)`` tensors in channels-last memory, so that ``permute(0, 2, 3, 1)`` is a
contiguous view on which linear layers, norms and windows work. This affects speed only.
"""

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn


class GaussianBlur(nn.Module):
    """Separable Gaussian of `size` taps with replicated border, ``(B, 1, H, W) -> (B, 1, H, W)``.

    The standard deviation follows OpenCV's rule for a given size: 0.15 * size + 0.35. Always computed in float32.
    """

    kernel: Tensor

    def __init__(self, size: int) -> None:
        super().__init__()
        sigma = 0.15 * size + 0.35
        taps = torch.arange(size, dtype=torch.float32) - (size - 1) / 2
        weights = torch.exp(-0.5 * (taps / sigma) ** 2)
        self.radius = size // 2
        self.register_buffer("kernel", weights / weights.sum(), persistent=False)

    def forward(self, x: Tensor) -> Tensor:
        with torch.autocast(x.device.type, enabled=False):
            padded = F.pad(x.float(), (self.radius,) * 4, mode="replicate")
            rows = F.conv2d(padded, self.kernel.view(1, 1, 1, -1))
            return F.conv2d(rows, self.kernel.view(1, 1, -1, 1))


class _Replicate(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, detached: bool) -> Tensor:
        ctx.detached = detached
        # autocast on the CPU would pad in float32
        with torch.autocast(x.device.type, enabled=False):
            if x.is_contiguous():
                return F.pad(x, (1, 1, 1, 1), mode="replicate")
            # on CUDA, padding of four axes loses the channels-last memory format, which slows down the next convolution
            padded = F.pad(x.permute(0, 2, 3, 1)[:, None], (0, 0, 1, 1, 1, 1), mode="replicate")
            return padded[:, 0].permute(0, 3, 1, 2)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None]:
        gradient = gradients[0]
        if not ctx.detached:
            gradient = gradient.clone()
            gradient[:, :, 1] += gradient[:, :, 0]
            gradient[:, :, -2] += gradient[:, :, -1]
            gradient[..., 1] += gradient[..., 0]
            gradient[..., -2] += gradient[..., -1]
        return gradient[:, :, 1:-1, 1:-1], None


class ReplicationPad(nn.Module):
    """Padding that repeats the border pixels of ``(B, C, H, W)`` once on all sides.

    `detached` repetitions pass no gradient back. It has its own backward pass, because torch's is not deterministic on
    CUDA and fails when compiled for channels-last.
    """

    def __init__(self, detached: bool = True) -> None:
        super().__init__()
        self.detached = detached

    def forward(self, x: Tensor) -> Tensor:
        padded: Tensor = _Replicate.apply(x, self.detached)
        return padded


class BiaslessLayerNorm(nn.Module):
    """Layer norm over the last axis with a weight and no bias, computed in the dtype of its input."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(channels))

    def forward(self, x: Tensor) -> Tensor:
        with torch.autocast(x.device.type, enabled=False):
            return F.layer_norm(x, self.weight.shape, self.weight.to(x.dtype))


def to_windows(x: Tensor, window: int, shifted: bool) -> Tensor:
    """Cut ``(B, H, W, C)`` into square windows: ``(window * window, B * windows, C)``, one row per place in a window.

    With places first, mixing the places of all windows is ONE matrix product. `shifted` windows begin half a window
    further up and left: half a window of zeros is added there, and more below and right, up to whole windows.
    """
    if shifted:
        border = window // 2
        below, right = (next_multiple(size + border - 1, window) - size - border for size in x.shape[1:3])
        x = F.pad(x, (0, 0, border, right, border, below))
    b, h, w, c = x.shape
    x = x.reshape(b, h // window, window, w // window, window, c)
    return x.permute(2, 4, 0, 1, 3, 5).reshape(window * window, -1, c)


def from_windows(tokens: Tensor, window: int, shifted: bool, shape: torch.Size) -> Tensor:
    """Undo `to_windows` for a result of `shape` ``(B, H, W, C)``."""
    b, h, w, c = shape
    border = window // 2 if shifted else 0
    rows, columns = (next_multiple(size + border - 1, window) // window for size in (h, w))
    x = tokens.reshape(window, window, b, rows, columns, c).permute(2, 3, 0, 4, 1, 5)
    x = x.reshape(b, rows * window, columns * window, c)
    return x[:, border : border + h, border : border + w]


class SpatialGatingMLP(nn.Module):
    """The gMLP of Liu et al., "Pay Attention to MLPs" (2021), on windows: ``(places, windows, C)`` tokens."""

    def __init__(self, channels: int, places: int) -> None:
        super().__init__()
        self.proj_in = nn.Linear(channels, 4 * channels)
        self.proj_spatial = nn.Conv1d(places, places, kernel_size=1)
        self.proj_out = nn.Linear(2 * channels, channels)

    def forward(self, tokens: Tensor, norm1: nn.Module, norm2: nn.Module) -> Tensor:
        # Two products with half the weights each, because the halves of a single one wouldn't be contiguous.
        (weight_u, weight_v), (bias_u, bias_v) = self.proj_in.weight.chunk(2), self.proj_in.bias.chunk(2)
        normed = norm1(tokens)
        u = F.gelu(F.linear(normed, weight_u, bias_u))
        v = F.gelu(F.linear(normed, weight_v, bias_v))
        gated: Tensor = self.proj_out(u * self.mix_places(norm2(v)))
        return tokens + gated

    def mix_places(self, v: Tensor) -> Tensor:
        """Return the 1x1 convolution across places (the places are its channels) of ``(places, windows, C)`` tokens."""
        bias = self.proj_spatial.bias
        assert bias is not None
        mixed: Tensor = torch.addmm(bias[:, None], self.proj_spatial.weight[:, :, 0], v.flatten(1)).view_as(v)
        return mixed


class WindowGMLP(nn.Module):
    """`SpatialGatingMLP` on square windows of a feature map, ``(B, C, H, W) -> (B, C, H, W)``."""

    def __init__(self, channels: int, window: int, shifted: bool) -> None:
        super().__init__()
        self.window = window
        self.shifted = shifted
        self.gmlp = SpatialGatingMLP(channels, window * window)

    def forward(self, x: Tensor, norm1: nn.Module, norm2: nn.Module) -> Tensor:
        nhwc = x.permute(0, 2, 3, 1)
        tokens = to_windows(nhwc, self.window, self.shifted)
        tokens = self.gmlp(tokens, norm1, norm2)
        return from_windows(tokens, self.window, self.shifted, nhwc.shape).permute(0, 3, 1, 2)


def conv_as_linear(layer: nn.Conv2d, x: Tensor) -> Tensor:
    """Apply a convolution with stride = kernel size as a linear layer on patches: ``(..., C * k * k) -> (..., C')``.

    On contiguous channels that is the faster kernel.
    """
    return F.linear(x, layer.weight.flatten(1), layer.bias)


class GLUConv(nn.Module):
    """1x1 convolution, gated linear unit (halves the channels), 3x3 convolution; ``(B, C, H, W) -> (B, C, H, W)``."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.w1 = nn.Conv2d(channels, channels, kernel_size=1)
        self.pad = ReplicationPad()
        self.w2 = nn.Conv2d(channels // 2, channels, kernel_size=3)

    def gate(self, x: Tensor) -> Tensor:
        """Return the first convolution and the gate: ``(..., C) -> (..., C / 2)``."""
        return F.glu(conv_as_linear(self.w1, x), dim=-1)

    def forward(self, x: Tensor) -> Tensor:
        gated = self.gate(x.permute(0, 2, 3, 1)).permute(0, 3, 1, 2)
        out: Tensor = self.w2(self.pad(gated))
        return out


class GMLPBlock(nn.Module):
    """x + gmlp(x), then x + GLU-conv(x); the gMLP has its own residual inside. ``(B, C, H, W) -> (B, C, H, W)``."""

    def __init__(self, channels: int, window: int, shifted: bool) -> None:
        super().__init__()
        self.gmlp = WindowGMLP(channels, window, shifted)
        self.norm1 = BiaslessLayerNorm(channels)
        self.norm2 = BiaslessLayerNorm(2 * channels)
        self.glu_conv = GLUConv(channels)

    def forward(self, x: Tensor) -> Tensor:
        x = x + self.gmlp(x, self.norm1, self.norm2)
        x = x + self.glu_conv(x)
        return x


LINEAR_STD = 0.02
SPATIAL_LIMIT = 1e-3


def initialise(module: nn.Module, generator: torch.Generator | None) -> None:
    """Draw new weights for the convolutions and linear layers in `module` from `generator` (None: torch's global one).

    Convolutions get Kaiming normal weights (fan_out, ReLU gain), linear layers truncated normal ones with standard
    deviation 0.02; biases are 0. The mixing of places starts as the identity gate: weights U(±1e-3 / C) and bias 1.
    """
    for layer in module.modules():
        if isinstance(layer, nn.Conv2d):
            nn.init.kaiming_normal_(layer.weight, mode="fan_out", nonlinearity="relu", generator=generator)
        elif isinstance(layer, nn.Linear):
            nn.init.trunc_normal_(layer.weight, std=LINEAR_STD, generator=generator)
        if isinstance(layer, nn.Conv2d | nn.Linear) and layer.bias is not None:
            nn.init.zeros_(layer.bias)
        if isinstance(layer, SpatialGatingMLP):
            limit = SPATIAL_LIMIT / layer.proj_in.in_features
            nn.init.uniform_(layer.proj_spatial.weight, -limit, limit, generator=generator)
            assert layer.proj_spatial.bias is not None
            nn.init.ones_(layer.proj_spatial.bias)


def initialise_icnr(conv: nn.Conv2d, scale: int, generator: torch.Generator | None) -> None:
    """Initialise a convolution before `pixel_shuffle(scale)` so that its output starts as nearest-neighbour upsampling.

    ICNR of Aitken et al. (2017): the scale * scale channels that become one block of pixels get equal Kaiming normal
    weights, drawn from `generator`.
    """
    block = scale * scale
    one_per_block = torch.empty(conv.out_channels // block, *conv.weight.shape[1:])
    nn.init.kaiming_normal_(one_per_block, generator=generator)
    with torch.no_grad():
        conv.weight.copy_(one_per_block.repeat_interleave(block, dim=0))


def next_multiple(size: int, step: int) -> int:
    """Return the smallest multiple of `step` that is larger than `size` (never `size` itself)."""
    return (size // step + 1) * step
