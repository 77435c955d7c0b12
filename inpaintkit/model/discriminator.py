"""The discriminators of GAN fine-tuning: ``l3c`` and ``ffc``, structured as in nagadomi/nunif.

All are patch discriminators: one logit per 8x8 cell of the picture, without the 2 outermost cells on each side. Their
ensembles are in `ensembles`.
"""

import bisect
import itertools

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.utils.parametrizations import spectral_norm

from inpaintkit.model.layers import ReplicationPad, initialise

CELL = 8
CUT_CELLS = 2
CELLS_PER_DILATION = 8
SLOPE = 0.2
GROUPS = 32
SQUEEZE = 8
CONDITION_CHANNELS = 32
CONDITION_GROUPS = 4
CONDITION_GRID = 4


class SqueezeExcite(nn.Module):
    """Gate 0..1 on each channel from all channels' means (Hu et al., 2018), ``(B, C, H, W) -> (B, C, H, W)``."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(channels, channels // SQUEEZE, kernel_size=1)
        self.conv2 = nn.Conv2d(channels // SQUEEZE, channels, kernel_size=1)

    def forward(self, x: Tensor) -> Tensor:
        gate = self.conv2(F.relu(self.conv1(x.mean(dim=(2, 3), keepdim=True))))
        return x * torch.sigmoid(gate)


class ResidualBlock(nn.Module):
    """Two 3x3 convolutions beside a 1x1 one, each with group norm, ``(B, C, H, W) -> (B, D, H, W)``."""

    def __init__(self, channels: int, out_channels: int) -> None:
        super().__init__()
        self.conv = nn.Sequential(
            nn.Conv2d(channels, out_channels, kernel_size=3, padding=1, bias=False),
            nn.GroupNorm(GROUPS, out_channels),
            nn.LeakyReLU(SLOPE),
            nn.Conv2d(out_channels, out_channels, kernel_size=3, padding=1, bias=False),
            nn.GroupNorm(GROUPS, out_channels),
        )
        self.identity = nn.Sequential(
            nn.Conv2d(channels, out_channels, kernel_size=1, bias=False),
            nn.GroupNorm(GROUPS, out_channels),
        )

    def forward(self, x: Tensor) -> Tensor:
        return F.leaky_relu(self.conv(x) + self.identity(x), SLOPE)


class FourierUnit(nn.Module):
    """1x1 convolution of the spectrum: every output pixel depends on all pixels, ``(B, C, H, W) -> (B, C, H, W)``.

    Chi et al., "Fast Fourier Convolution". The transforms run in float32, also under autocast.
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(2 * channels, 2 * channels, kernel_size=1, bias=False)
        self.norm = nn.GroupNorm(GROUPS, 2 * channels)

    def forward(self, x: Tensor) -> Tensor:
        b, c, h, w = x.shape
        with torch.autocast(x.device.type, enabled=False):
            spectrum = torch.view_as_real(torch.fft.rfft2(x.float().contiguous(), norm="ortho"))
            parts = spectrum.permute(0, 1, 4, 2, 3).reshape(b, 2 * c, h, -1)
            parts = F.leaky_relu(self.norm(self.conv(parts)), SLOPE)
            spectrum = parts.reshape(b, c, 2, h, -1).permute(0, 1, 3, 4, 2).contiguous()
            mixed: Tensor = torch.fft.irfft2(torch.view_as_complex(spectrum), s=(h, w), norm="ortho")
        return mixed


class FourierBlock(nn.Module):
    """x + convolutions of (x, `FourierUnit` of x), ``(B, C, H, W) -> (B, C, H, W)``."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.ffc = FourierUnit(channels)
        self.fusion = nn.Sequential(
            nn.Conv2d(2 * channels, channels, kernel_size=1),
            nn.LeakyReLU(SLOPE),
            ReplicationPad(),
            nn.Conv2d(channels, channels, kernel_size=3),
        )

    def forward(self, x: Tensor) -> Tensor:
        fused: Tensor = self.fusion(torch.cat((x, self.ffc(x).to(x.dtype)), dim=1))
        return x + fused


class ConditionVector(nn.Module):
    """Colour and texture of a picture as one vector: ``(B, 3, H, W)``, -1..1, to ``(B, C, 1, 1)``.

    It can tell roughly where they are, from means over a grid of 4 x 4.
    """

    def __init__(self, out_channels: int) -> None:
        super().__init__()
        c = CONDITION_CHANNELS
        self.features = nn.Sequential(
            nn.Conv2d(3, c, kernel_size=3, padding=1, padding_mode="replicate"),
            nn.GroupNorm(CONDITION_GROUPS, c),
            nn.ReLU(),
            nn.AdaptiveAvgPool2d(CONDITION_GRID),
        )
        self.aggregate = nn.Linear(c * CONDITION_GRID**2, c)
        self.fc = nn.ModuleList([nn.Sequential(nn.Linear(c, c), nn.ReLU(), nn.Linear(c, out_channels))])

    def forward(self, picture: Tensor) -> Tensor:
        vector: Tensor = self.fc[0](self.aggregate(self.features(picture).flatten(1)))
        return vector[:, :, None, None]


Judgement = Tensor | tuple[Tensor, Tensor]
"""Logits; with a mask also that mask per logit."""


class Discriminator(nn.Module):
    """Base class of all discriminators; `name` is that of the same one in nunif, if there is one."""

    name: str
    probabilities: tuple[float, ...] = (1.0,)

    def pick(self, u: float) -> int:
        """Return the member that a uniform random number ``0 <= u < 1`` selects, by `probabilities`."""
        ends = list(itertools.accumulate(self.probabilities))
        return bisect.bisect(ends[:-1], u)  # the last member also gets what rounding leaves beyond the last end

    def forward(self, fake: Tensor, cond: Tensor, mask: Tensor | None = None, member: int | None = None) -> Judgement:
        """Judge a picture.

        Args:
            fake: picture to judge ``(B, 3, H, W)``, 0..1.
            cond: the target picture, at least as large; only its centre is used. `ffc` ignores it.
            mask: soft mask ``(B, 1, h, w)`` of the hole, bool or 0..1, at least as large; only its centre is used.
            member: which member of an ensemble judges; single discriminators have only member 0.

        Returns:
            logits ``(B, 1, H // 8 - 4, W // 8 - 4)``, high = looks real; with a mask also that mask per logit, dilated:
            > 0 where the hole or its surroundings are (bool for `l3c`, floats 0..1 for `ffc`).
        """
        raise NotImplementedError


class PatchDiscriminator(Discriminator):
    """Base class of single discriminators; a new one only has to define `name` and `logits`."""

    def forward(self, fake: Tensor, cond: Tensor, mask: Tensor | None = None, member: int | None = None) -> Judgement:
        if member not in (None, 0):
            raise ValueError(f"{self.name} has no member {member}")
        fake = crop_to_cells(fake)
        size = (fake.shape[-2], fake.shape[-1])
        logits = inner_cells(self.logits(fake * 2 - 1, crop_centre(cond, size) * 2 - 1))
        if mask is None:
            return logits
        return logits, inner_cells(self.dilated_cells(crop_centre(mask, size)))

    def logits(self, fake: Tensor, cond: Tensor) -> Tensor:
        """Return one logit per cell ``(B, 1, H / 8, W / 8)`` of pictures -1..1 whose sides are multiples of 8."""
        raise NotImplementedError

    def dilated_cells(self, mask: Tensor) -> Tensor:
        """Return the greatest mask value around each cell, ``(B, 1, H, W) -> (B, 1, H / 8, W / 8)``."""
        cells = F.max_pool2d(mask.float(), CELL)
        rounds = cells.shape[-1] // CELLS_PER_DILATION + 1
        for _ in range(rounds):
            cells = F.max_pool2d(cells, 3, stride=1, padding=1)
        return cells


class L3CDiscriminator(PatchDiscriminator):
    """Patch discriminator that also gets the target's colours and texture, as one vector for the whole picture."""

    name = "inpaint.l3_conditional_discriminator"

    def __init__(self, generator: torch.Generator | None = None) -> None:
        super().__init__()
        self.features = nn.Sequential(
            ReplicationPad(),
            nn.Conv2d(3, 64, kernel_size=4, stride=2),
            nn.GroupNorm(GROUPS, 64),
            nn.LeakyReLU(SLOPE),
            ReplicationPad(),
            nn.Conv2d(64, 128, kernel_size=4, stride=2, bias=False),
            nn.GroupNorm(GROUPS, 128),
            nn.LeakyReLU(SLOPE),
            SqueezeExcite(128),
            ReplicationPad(),
            nn.Conv2d(128, 256, kernel_size=4, stride=2, bias=False),
        )
        self.classifier = nn.Sequential(
            nn.GroupNorm(GROUPS, 256),
            nn.LeakyReLU(SLOPE),
            SqueezeExcite(256),
            ResidualBlock(256, 512),
            SqueezeExcite(512),
            ReplicationPad(),
            nn.Conv2d(512, 1, kernel_size=3),
        )
        self.to_cond = ConditionVector(256)
        initialise(self, generator)
        _normalise_spectrum(self.classifier[-1])
        _normalise_spectrum(self.to_cond.get_submodule("fc.0.2"))

    def logits(self, fake: Tensor, cond: Tensor) -> Tensor:
        judged: Tensor = self.classifier(self.features(fake) + self.to_cond(cond))
        return judged

    def dilated_cells(self, mask: Tensor) -> Tensor:
        return super().dilated_cells(mask) > 0


class FFCDiscriminator(PatchDiscriminator):
    """Patch discriminator whose every logit sees the whole picture's spectrum, and so finds periodic artefacts."""

    name = "inpaint.ffc_discriminator"

    def __init__(self, generator: torch.Generator | None = None) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        for channels, out_channels in ((3, 64), (64, 128), (128, 256)):
            layers += [
                ReplicationPad(),
                nn.Conv2d(channels, out_channels, kernel_size=4, stride=2),
                nn.GroupNorm(GROUPS, out_channels),
                nn.LeakyReLU(SLOPE),
                FourierBlock(out_channels),
            ]
        self.features = nn.Sequential(*layers)
        self.classifier = nn.Conv2d(256, 1, kernel_size=1)
        initialise(self, generator)
        # With fan_out, for 1 output channel, it would start with logits of some 20: far outside the hinge's -1..1, and with
        # gradients 40 times those of an l3c, with which it shares one adaptive weight.
        nn.init.kaiming_normal_(self.classifier.weight, mode="fan_in", nonlinearity="linear", generator=generator)

    def logits(self, fake: Tensor, cond: Tensor) -> Tensor:
        judged: Tensor = self.classifier(self.features(fake))
        return judged


def crop_to_cells(x: Tensor) -> Tensor:
    """Crop the sides of ``(B, C, H, W)`` to multiples of 8 around the centre.

    An odd pixel is removed at the bottom or right.
    """
    h, w = x.shape[-2:]
    top, left = h % CELL // 2, w % CELL // 2
    return x[..., top : top + h - h % CELL, left : left + w - w % CELL]


def crop_centre(x: Tensor, size: tuple[int, int]) -> Tensor:
    """Crop ``(B, C, H, W)`` to `size` (height, width) around the centre.

    An odd pixel is removed at the top or left.
    """
    top, left = (x.shape[-2] - size[0] + 1) // 2, (x.shape[-1] - size[1] + 1) // 2
    return x[..., top : top + size[0], left : left + size[1]]


def inner_cells(cells: Tensor) -> Tensor:
    """Drop the 2 outermost cells on each side, whose receptive fields reach far beyond the picture."""
    return cells[..., CUT_CELLS:-CUT_CELLS, CUT_CELLS:-CUT_CELLS]


def _normalise_spectrum(layer: nn.Module) -> None:
    """Apply spectral norm to `layer`, starting its power iteration at the exact singular vectors: nothing is random."""
    spectral_norm(layer)
    norm = layer.get_submodule("parametrizations.weight.0")
    weight = layer.get_parameter("parametrizations.weight.original").detach().flatten(1)
    u, _, vh = torch.linalg.svd(weight, full_matrices=False)
    norm.get_buffer("_u").copy_(u[:, 0])
    norm.get_buffer("_v").copy_(vh[0])
