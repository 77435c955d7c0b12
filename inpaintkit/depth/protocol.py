"""The interface of a depth model, and the facts that the kit keeps about each one."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Protocol

import torch
from torch import Tensor

NON_COMMERCIAL_LICENCES = ("CC-BY-NC-4.0", "apple-amlr")


@dataclass(frozen=True)
class DepthModelSpec:
    """One row of the table of depth models.

    `loader` selects what loads the model: ``fastdepth`` (shipped), ``file`` (maps beside the pictures),
    ``transformers`` or ``torch.hub``. `source` is the hub's id. `entry` is the hub function and `arguments` are its
    arguments (for transformers: entries of its configuration that differ). `weights` is the file under ``checkpoints``
    in the hub's folder, and `downloadable` tells whether the function downloads it. `family` determines how pictures
    are prepared and the output is read. `resolution` is the short side in px fed to the network (FastDepth: that of the
    map), for portrait pictures `portrait_resolution` if given; both are rounded up to a multiple of `multiple`.
    `metric` means that the network returns a distance (larger = farther).
    """

    loader: str
    source: str
    family: str
    metric: bool
    resolution: int
    multiple: int
    licence: str
    portrait_resolution: int | None = None
    entry: str = ""
    arguments: Mapping[str, str | int | bool] = field(default_factory=dict)
    weights: str = ""
    downloadable: bool = True

    @property
    def non_commercial(self) -> bool:
        """True if the licence of the weights forbids commercial use."""
        return self.licence in NON_COMMERCIAL_LICENCES


class DepthModel(Protocol):
    """What turns pictures into depth. `version` changes whenever the depth of an unchanged picture may change."""

    name: str
    metric: bool
    resolution: int

    @property
    def version(self) -> str: ...

    def infer(self, pictures: Tensor) -> Tensor:
        """Return depth (B, 1, h, w), float32 in 0..1, 1 = near, for `pictures` (B, 3, H, W), RGB in 0..1.

        Raises `InputError` instead of returning anything that isn't finite for finite pictures.
        """
        ...


def min_max(depth: Tensor) -> Tensor:
    """Scale each picture's depth (B, 1, h, w) to 0..1 by its own minimum and maximum; a flat map becomes 0."""
    depth = depth / 2  # the difference of two floats can be too large for a float, that of their halves can't
    low, high = torch.aminmax(depth.flatten(1), dim=1)
    low, span = low[:, None, None, None], (high - low)[:, None, None, None]
    return torch.where(span > 0, (depth - low) / span.clamp(min=torch.finfo(depth.dtype).tiny), 0.0)
