"""The state of an optimiser in iw3's order of parameters: by name within each group.

An optimiser's state knows parameters by their place alone. In another order it would be loaded without a word, moments of one
weight upon another.
"""

from typing import Any

import torch
from torch import nn

ORDER_KEY, BY_NAME = "inpaintkit_parameter_order", "by name"
"""Entry of a checkpoint that says its optimisers' states are in this order; checkpoints of earlier versions have none."""

State = dict[str, Any]


def to_names(state: State, optimizer: torch.optim.Optimizer, network: nn.Module) -> State:
    """Return the `state` of an `optimizer` of `network` with the parameters of each group in order of their names."""
    places = places_by_name(optimizer, network)
    return {**state, "state": {new: state["state"][old] for new, old in enumerate(places) if old in state["state"]}}


def from_names(state: State, optimizer: torch.optim.Optimizer, network: nn.Module) -> State:
    """Undo `to_names`."""
    places = places_by_name(optimizer, network)
    return {**state, "state": {old: state["state"][new] for new, old in enumerate(places) if new in state["state"]}}


def places_by_name(optimizer: torch.optim.Optimizer, network: nn.Module) -> list[int]:
    """Return the places of the optimiser's parameters, sorted by name within each group."""
    names = {parameter: name for name, parameter in network.named_parameters()}
    places: list[int] = []
    for group in optimizer.param_groups:
        first = len(places)
        own = [names[parameter] for parameter in group["params"]]
        places += [first + index for index in sorted(range(len(own)), key=own.__getitem__)]
    return places
