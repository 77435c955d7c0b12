"""The full state of a run of iw3, as a run here takes it over."""

import dataclasses
from collections.abc import Mapping
from typing import Any

from inpaintkit.config import GanConfig, TrainConfig
from inpaintkit.errors import InputError
from inpaintkit.training.parameter_order import BY_NAME, ORDER_KEY
from inpaintkit.training.progress import Plan, Progress

MOMENTS = {"adamw": {"step", "exp_avg", "exp_avg_sq"}, "adamw_schedulefree": {"z", "exp_avg_sq"}}
"""What the state of an optimiser holds for each weight."""

ALTERNATIVE = "take its weights alone with reset_state=True"


def from_iw3(state: Mapping[str, Any], config: TrainConfig) -> dict[str, Any]:
    """Return iw3's checkpoint `state` as one of a run of `config` that stands at the beginning of its next epoch.

    Weights and optimiser go on. Losses of single records aren't kept by iw3, and its best loss is another one, so records are drawn
    evenly at first and the state is judged as the run's start. Raises `InputError` where more is missing.
    """
    where = f"resume: {config.model_dir} holds a run of iw3"
    if isinstance(config, GanConfig):
        raise InputError(f"{where}, which keeps no discriminator; {ALTERNATIVE}")
    if config.ema_decay:
        raise InputError(
            f"{where}, which keeps no weights beside their moving average; set ema_decay=0, or {ALTERNATIVE}"
        )
    optimizer = state["optimizer_state_dict"][0]
    kept = set(next(iter(optimizer["state"].values())))
    coupled = not optimizer["param_groups"][0].get("decoupled_weight_decay", True)  # Adam's, not AdamW's
    if kept != MOMENTS.get(config.optimizer) or coupled:
        raise InputError(
            f"{where} with another optimizer than {config.optimizer}; set optimizer to that one, or {ALTERNATIVE}"
        )
    epoch = int(state["last_epoch"]) + 1
    if epoch > Plan.of(config, config.processes).last_epoch:
        raise InputError(
            f"{where} of {epoch - 1} epochs; give a larger max_epoch (now {config.max_epoch}), or {ALTERNATIVE}"
        )
    return {
        **state,
        "training_state_dict": state["state_dict"],
        "grad_scaler_state_dict": [{}],
        "train_kwargs": dataclasses.asdict(config),
        "inpaintkit_progress": dataclasses.asdict(Progress(epoch)),
        "inpaintkit_processes": config.processes,
        "inpaintkit_amp": None,
        "inpaintkit_data_key": None,
        ORDER_KEY: BY_NAME,
    }
