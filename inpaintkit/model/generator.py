"""The generator ``inpaint.light_inpaint_v1``, with which iw3 fills holes; its files are interchangeable with iw3's."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from inpaintkit.model.layers import GaussianBlur, GMLPBlock, ReplicationPad, initialise, initialise_icnr, next_multiple
from inpaintkit.neighbours import closed, running_max, scaled_reach

PATCH = 4
SIZE_STEP = 64
CHANNELS = 96
WINDOW = 16
DECODER_REACH = 2
SOFT_TAPS = 15
HIDDEN_ABOVE = 0.99
MASK_BIAS_STD = 0.01
GREY = 0.45
CALM_SCALES = {"down": 0.1, "up": 0.2, "output": 0.05}
"""Factors on the initial weights of three layers with `grey_start`.

Every gMLP block at least doubles its activations. With the usual initial weights the first outputs deviate by 50 to
100 from mid-grey, and a short run is spent on reducing that. With these factors the activations start between 0.1
and 6.
"""


class LightInpaintV1(nn.Module):
    """The network that fills the hole of a picture; 2,259,888 parameters, structured as in nagadomi/nunif.

    Args:
        generator: source of the initial weights, None: torch's global one. No other randomness enters them.
        grey_start: start with an output near mid-grey and small activations before it, which helps short runs a lot.
    """

    name = "inpaint.light_inpaint_v1"
    i2i_offset = 16

    def __init__(self, generator: torch.Generator | None = None, grey_start: bool = False) -> None:
        super().__init__()
        c = CHANNELS
        self.mask_blur = GaussianBlur(SOFT_TAPS)
        self.mask_bias = nn.Parameter(torch.empty(1, c, 1, 1))
        self.patch = nn.Sequential(nn.Conv2d(3 * PATCH**2, c, kernel_size=1), nn.LeakyReLU(0.2))
        self.enc1 = GMLPBlock(c, window=WINDOW, shifted=True)
        self.down = nn.Conv2d(c, 2 * c, kernel_size=2, stride=2)
        self.enc2 = nn.Sequential(
            *(GMLPBlock(2 * c, window=WINDOW // 2, shifted=odd) for odd in (False, True, False, True))
        )
        self.up = nn.Conv2d(2 * c, 4 * c, kernel_size=1)
        self.dec1 = GMLPBlock(c, window=WINDOW, shifted=False)
        self.to_image = nn.Sequential(ReplicationPad(detached=False), nn.Conv2d(c, 3 * PATCH**2, kernel_size=3))
        self.reset_parameters(generator, grey_start)

    def reset_parameters(self, generator: torch.Generator | None, grey_start: bool) -> None:
        """Draw new weights from `generator`, as the original does.

        Only those of `down` and `up` differ: in the original they start 1.7 times smaller.
        """
        initialise(self, generator)
        nn.init.trunc_normal_(self.mask_bias, std=MASK_BIAS_STD, generator=generator)
        output = self.to_image[1]
        assert isinstance(output, nn.Conv2d)
        assert output.bias is not None
        initialise_icnr(output, PATCH, generator)
        if grey_start:
            with torch.no_grad():
                output.bias.fill_(GREY)
                for layer, scale in ((self.down, "down"), (self.up, "up"), (output, "output")):
                    layer.weight.mul_(CALM_SCALES[scale])

    def preprocess(
        self,
        x: Tensor,
        hole: Tensor,
        closing: bool = False,
        inner_dilation: int = 0,
        outer_dilation: int = 0,
        base_width: int | None = None,
    ) -> tuple[Tensor, Tensor]:
        """Return what `forward` takes: the picture with 0 in its hole, and the soft mask.

        Args:
            x: picture ``(B, 3, H, W)``, 0..1.
            hole: ``(B, 1, H, W)``, bool (True = missing) or float 0..1.
            closing: make cracks and pinholes part of the hole first.
            inner_dilation: pixels by which the hole grows to the left, into the near object.
            outer_dilation: pixels by which the hole grows to the right, into the background.
            base_width: picture width that the dilations are meant for, None: this picture's.

        Returns:
            picture ``(B, 3, H, W)`` and soft mask ``(B, 1, H, W)`` of floats 0..1: 1 in the hole, falling to 0 around
            it.
        """
        hole = hole.to(x.dtype)
        if closing:
            hole = closed(hole)
        if inner_dilation or outer_dilation:
            inner, outer = (scaled_reach(n, x.shape[-1], base_width) for n in (inner_dilation, outer_dilation))
            hole = running_max((hole > 0).to(x.dtype), outer, inner, -1)
        soft = (self.mask_blur(hole) + hole).clamp(0, 1)
        return x * (1 - hole), soft

    def forward(self, x: Tensor, mask: Tensor) -> Tensor:
        """Fill the hole, and cut off a margin of 16 px (`i2i_offset`), where the network sees too little around.

        Args:
            x: picture ``(B, 3, H, W)``, 0..1, with 0 in its hole; H, W > 32.
            mask: soft mask ``(B, 1, H, W)``, 0..1; both as `preprocess` returns them.

        Returns:
            ``(B, 3, H - 32, W - 32)``; clamped to 0..1 in eval mode only.
        """
        return self.fill(x, mask, margin=self.i2i_offset)

    def infer(
        self,
        x: Tensor,
        hole: Tensor,
        closing: bool = False,
        inner_dilation: int = 0,
        outer_dilation: int = 0,
        base_width: int | None = None,
    ) -> Tensor:
        """Preprocess and fill a whole picture, without cutting off a margin; returns ``(B, 3, H, W)``.

        The arguments are those of `preprocess`.
        """
        x, mask = self.preprocess(x, hole, closing, inner_dilation, outer_dilation, base_width)
        return self.fill(x, mask, margin=0)

    def fill(self, x: Tensor, mask: Tensor, margin: int) -> Tensor:
        """Blend the prediction into ``x (B, 3, H, W)`` by the soft mask and cut off a `margin`.

        The result is clamped to 0..1 in eval mode only.
        """
        height, width = x.shape[-2:]
        padding = (0, next_multiple(width, SIZE_STEP) - width, 0, next_multiple(height, SIZE_STEP) - height)
        picture = F.pad(x * 2 - 1, padding, mode="replicate")
        hidden = F.max_pool2d(F.pad(mask, padding, mode="replicate"), PATCH) > HIDDEN_ABOVE
        inside = (..., slice(margin, height - margin), slice(margin, width - margin))
        prediction = self.predict(picture, hidden, height - margin, width - margin)
        x, m, prediction = x[inside], mask[inside], prediction[inside].to(x.dtype)
        filled = x * (1 - m) + prediction * m
        return filled if self.training else filled.clamp(0, 1)

    def predict(self, picture: Tensor, hidden: Tensor, height: int, width: int) -> Tensor:
        """Run the network.

        Args:
            picture: ``(B, 3, H, W)``, -1..1, H and W multiples of 64.
            hidden: bool ``(B, 1, H / 4, W / 4)``: cells whose features are replaced by the learned `mask_bias`.
            height: rows of the result that are used; the last blocks skip what only the rows below them need.
            width: columns of the result that are used.

        Returns:
            ``(B, 3, h, w)`` with h >= `height`, w >= `width`; meant to be 0..1 (unlike the input), not clamped.
        """
        x = F.pixel_unshuffle(picture, PATCH).contiguous(memory_format=torch.channels_last)
        x = self.patch(x)
        x = torch.where(hidden, self.mask_bias.to(x.dtype), x)
        skip = self.enc1(x)
        x = self.enc2[:-1](self.down(skip))
        rows, columns = decoder_cells(height), decoder_cells(width)
        x = self.enc2[-1](top_left(x, last_block_cells(rows // 2), last_block_cells(columns // 2)))
        x = F.pixel_shuffle(self.up(top_left(x, rows // 2, columns // 2)), 2) + top_left(skip, rows, columns)
        x = self.dec1(x)
        return F.pixel_shuffle(self.to_image(x), PATCH)


def top_left(x: Tensor, rows: int, columns: int) -> Tensor:
    """Return the first rows and columns of ``(B, C, H, W)``.

    The slice is taken with channels last, because its gradient takes the memory format of the slice: channels first
    would slow down the backward pass of the whole encoder.
    """
    return x.permute(0, 2, 3, 1)[:, :rows, :columns].permute(0, 3, 1, 2)


def last_block_cells(cells: int) -> int:
    """Return how many 8 px cells the encoder's last block needs as input for `cells` valid ones.

    `cells` is a multiple of 8. The block's 3x3 convolution needs one more cell, hence half a window of 8 more: windows
    are shifted by half their side.
    """
    return cells + WINDOW // 4


def decoder_cells(size: int) -> int:
    """Return how many 4 px cells the decoder needs for `size` px: 2 more for its 3x3 convolutions, in whole windows."""
    # add before dividing, so that no negative number is divided: ONNX rounds quotients towards 0
    cells = (size + PATCH - 1) // PATCH + DECODER_REACH
    return (cells + WINDOW - 1) // WINDOW * WINDOW
