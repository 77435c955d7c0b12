"""Training states in iw3's format: the order of an optimiser's parameters, and converted runs of iw3 to resume here.

An optimiser's state identifies parameters only by their position. Loaded in another order, it would silently assign the
moments of one weight to another. iw3's order is by name within each group.
"""

import dataclasses
from collections.abc import Mapping
from typing import Any

import torch
from torch import nn

from inpaintkit.config import GanConfig, TrainConfig
from inpaintkit.errors import InputError
from inpaintkit.training.progress import Progress
from inpaintkit.training.schedule import last_epoch

ORDER_KEY, BY_NAME = "inpaintkit_parameter_order", "by name"
"""Checkpoint entry that says the optimisers' states are in this order; checkpoints of earlier versions lack it."""

MOMENTS = {"adamw": {"step", "exp_avg", "exp_avg_sq"}, "adamw_schedulefree": {"z", "exp_avg_sq"}}
"""Entries that the state of an optimiser holds for each weight."""

GROUPS = 2
"""Number of parameter groups: decaying weights and others. Adam and RAdam have the same moments, but one group."""

ALTERNATIVE = "take its weights alone with reset_state=True"


State = dict[str, Any]


def to_name_order(optimizer: torch.optim.Optimizer, network: nn.Module) -> State:
    """Return the state of `optimizer`, which trains `network`, with the parameters of each group ordered by name."""
    state = optimizer.state_dict()
    places = places_by_name(optimizer, network)
    return {**state, "state": {new: state["state"][old] for new, old in enumerate(places) if old in state["state"]}}


def from_name_order(state: State, optimizer: torch.optim.Optimizer, network: nn.Module) -> State:
    """Return a `state` made by `to_name_order`, with the parameters in the order of `optimizer`."""
    places = places_by_name(optimizer, network)
    return {**state, "state": {old: state["state"][new] for new, old in enumerate(places) if new in state["state"]}}


def places_by_name(optimizer: torch.optim.Optimizer, network: nn.Module) -> list[int]:
    """Return the positions of the optimiser's parameters, sorted by name within each group."""
    names = {parameter: name for name, parameter in network.named_parameters()}
    places: list[int] = []
    for group in optimizer.param_groups:
        first = len(places)
        own = [names[parameter] for parameter in group["params"]]
        places += [first + index for index in sorted(range(len(own)), key=own.__getitem__)]
    return places


def from_iw3(state: Mapping[str, Any], config: TrainConfig) -> State:
    """Return iw3's checkpoint `state` as that of a run of `config` at the start of its next epoch.

    Weights and optimiser state are kept. iw3 doesn't keep the losses of single records, and its best loss is a
    different one, so records are drawn evenly at first, and the weights taken over are evaluated as the run's start.
    Raises `InputError` if anything else is missing or doesn't match `config`.
    """
    where = f"resume: {config.model_dir} holds a run of iw3"
    if isinstance(config, GanConfig):
        raise InputError(f"{where}, which keeps no discriminator; {ALTERNATIVE}")
    if config.ema_decay:
        raise InputError(
            f"{where}, which keeps no weights beside their moving average; set ema_decay=0, or {ALTERNATIVE}"
        )
    optimizer = state["optimizer_state_dict"][0]
    if not optimizer["state"]:
        raise InputError(f"{where} that ended before its first update; {ALTERNATIVE}")
    kept = set(next(iter(optimizer["state"].values())))
    groups = len(optimizer["param_groups"])
    if kept != MOMENTS.get(config.optimizer) or groups != GROUPS:
        raise InputError(
            f"{where} with another optimizer than {config.optimizer}; set optimizer to that one, or {ALTERNATIVE}"
        )
    epoch = int(state["last_epoch"]) + 1
    if epoch > last_epoch(config):
        raise InputError(
            f"{where} of {epoch - 1} epochs; give a larger max_epoch (now {config.max_epoch}), or {ALTERNATIVE}"
        )
    return {
        **state,
        "training_state_dict": None,
        "grad_scaler_state_dict": [{}],
        "train_kwargs": dataclasses.asdict(config),
        "inpaintkit_progress": dataclasses.asdict(Progress(epoch)),
        "inpaintkit_processes": config.processes,
        "inpaintkit_amp": None,
        "inpaintkit_data_key": None,
        ORDER_KEY: BY_NAME,
    }
