"""A perceptual distance from DINOv2: how different two pictures look to a network that learnt from pictures alone.

Oquab et al., "DINOv2: Learning Robust Visual Features without Supervision", 2023. The reference has a loss of that name
whose definition is not documented; this one is our own.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from inpaintkit.depth.hub_access import is_reachable
from inpaintkit.depth.preparation import IMAGENET
from inpaintkit.depth.transformers_models import is_installed
from inpaintkit.errors import InputError
from inpaintkit.text import first_line

CHECKPOINT = "facebook/dinov2-small"
LAYERS = 4
"""Number of layers that are compared, spread evenly up to the last one."""
MEAN, DEVIATION = IMAGENET  # as the network was trained


class DinoDistance(nn.Module):
    """Distance of two pictures: 1 - cosine similarity of their patch tokens.

    The network is frozen, without an entry in `parameters()` or `state_dict()`.

    Args:
        path: folder of a transformers checkpoint of DINOv2; None: `CHECKPOINT` from the cache or the hub.

    Raises `InputError` if the network can't be loaded.
    """

    def __init__(self, path: str | Path | None = None) -> None:
        super().__init__()
        network: Any = load_dinov2(path).eval().requires_grad_(False)
        self._network = (network,)  # in a tuple, so that torch doesn't register its weights as parameters
        count = network.config.num_hidden_layers
        self.layers = sorted({max(1, count * number // LAYERS) for number in range(1, LAYERS + 1)})
        self.patch: int = network.config.patch_size
        self.register_buffer("mean", torch.tensor(MEAN).view(1, 3, 1, 1), persistent=False)
        self.register_buffer("deviation", torch.tensor(DEVIATION).view(1, 3, 1, 1), persistent=False)

    def _apply(self, fn: Any, recurse: bool = True) -> DinoDistance:
        self._network[0]._apply(fn)
        super()._apply(fn, recurse)  # type: ignore[no-untyped-call]
        return self

    def forward(self, input: Tensor, target: Tensor) -> Tensor:
        """Return the distance of each pair, (B,) float32, 0..2; 0 = equal.

        `input` and `target` are pictures (B, 3, H, W) in 0..1 (values outside are allowed), H and W multiples of
        `patch`. The distance is the mean over patches and layers; the gradient flows to `input` only.
        """
        with torch.no_grad():
            references = self.features(target)
        distances = [
            1 - F.cosine_similarity(feature.float(), reference.float(), dim=-1).mean(dim=1)
            for feature, reference in zip(self.features(input), references, strict=True)
        ]
        return torch.stack(distances).mean(dim=0)

    def features(self, picture: Tensor) -> list[Tensor]:
        """Return the patch tokens (B, patches, channels) of each compared layer, layer-normed, shallow to deep."""
        network = self._network[0]
        normalised = (picture - self.get_buffer("mean")) / self.get_buffer("deviation")
        states = network(pixel_values=normalised, output_hidden_states=True).hidden_states
        return [network.layernorm(states[layer])[:, 1:] for layer in self.layers]


def load_dinov2(path: str | Path | None) -> nn.Module:
    """Return transformers' DINOv2 from the folder `path`; None: from the cache, else from the hub.

    Raises `InputError` if it can't be loaded.
    """
    if not is_installed():
        raise InputError("loss: l1dinov2 needs the package transformers; run `pip install transformers`")
    from huggingface_hub import constants
    from transformers import AutoConfig, Dinov2Model

    source = str(path or CHECKPOINT)
    reason = ""
    for here in (True, False):
        if not here and (path is not None or constants.HF_HUB_OFFLINE or not is_reachable(constants.ENDPOINT)):
            break
        try:
            kind = AutoConfig.from_pretrained(source, local_files_only=here).model_type
            if kind != "dinov2":
                raise InputError(
                    f"perceptual_path: {source} holds a {kind} network; give a folder with a DINOv2 checkpoint"
                )
            network: nn.Module = Dinov2Model.from_pretrained(source, local_files_only=here)
            return network
        except InputError:
            raise
        except Exception as error:  # of many kinds: a missing file, a damaged one, no answer
            reason = first_line(error).rstrip(".")
    raise InputError(
        f"loss: DINOv2 can't be loaded from {source} ({reason}); set perceptual_path to a folder with config.json "
        f"and model.safetensors of {CHECKPOINT}, connect to the internet, or train with loss=l1lpips"
    )
