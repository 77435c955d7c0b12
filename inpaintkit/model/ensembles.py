"""Discriminators by name: single ones, and ensembles from which each step picks one member."""

from collections.abc import Callable, Sequence

import torch
from torch import Tensor, nn

from inpaintkit.config import DISCRIMINATOR_NAMES, registry, require_known
from inpaintkit.model.discriminator import Discriminator, FFCDiscriminator, Judgement, L3CDiscriminator


class EnsembleDiscriminator(Discriminator):
    """Discriminators of which one judges at a time, so that the generator can't learn to fool any single one.

    Args:
        name: registered name in nunif.
        list_name: start of the state dict's keys.
        members: the discriminators.
        weights: how often each is picked, relative to the others.
    """

    def __init__(self, name: str, list_name: str, members: Sequence[Discriminator], weights: Sequence[float]) -> None:
        super().__init__()
        self.name, self.list_name = name, list_name
        self.add_module(list_name, nn.ModuleList(members))
        self.probabilities = tuple(weight / sum(weights) for weight in weights)

    def forward(self, fake: Tensor, cond: Tensor, mask: Tensor | None = None, member: int | None = None) -> Judgement:
        if member is None:
            raise ValueError(f"{self.name} is an ensemble: say which member judges, e.g. member=D.pick(u)")
        judged: Judgement = self.get_submodule(f"{self.list_name}.{member}")(fake, cond, mask)
        return judged


Maker = Callable[[torch.Generator | None], Discriminator]
"""Makes a discriminator with weights drawn from a generator."""


def _ensemble(name: str, list_name: str, members: Sequence[tuple[Maker, float]]) -> Maker:
    """Return a maker of the ensemble of `members`, each of which is given as (maker, weight)."""
    makers, weights = zip(*members, strict=True)
    return lambda generator: EnsembleDiscriminator(name, list_name, [make(generator) for make in makers], weights)


_L3C, _FFC = L3CDiscriminator, FFCDiscriminator
DISCRIMINATORS: dict[str, Maker] = registry(
    DISCRIMINATOR_NAMES,
    {
        "l3c": _L3C,
        "l3ce": _ensemble(
            "inpaint.l3_conditional_ensemble_discriminator", "l3c", [(_L3C, 1), (_L3C, 0.5), (_L3C, 0.25)]
        ),
        "ffc": _FFC,
        "ffce": _ensemble("inpaint.ffc_ensemble_discriminator", "ffc", [(_FFC, 1), (_FFC, 0.5), (_FFC, 0.25)]),
        "l3cffce": _ensemble(
            "inpaint.l3c_ffc_ensemble_discriminator", "desc", [(_L3C, 1), (_L3C, 0.5), (_FFC, 1), (_FFC, 0.5)]
        ),
    },
)


def create_discriminator(name: str, generator: torch.Generator | None = None) -> Discriminator:
    """Return a new discriminator by its short name, see `DISCRIMINATORS`.

    Args:
        name: one of `DISCRIMINATORS`.
        generator: source of the initial weights, None: torch's global one.

    Raises:
        InputError: when the name is unknown.
    """
    require_known("discriminator", name, DISCRIMINATORS)
    return DISCRIMINATORS[name](generator)
