"""The interface between the training loop and whatever it trains."""

import contextlib
from collections.abc import Mapping, Sequence
from typing import Any, Protocol

from torch import Tensor

from inpaintkit.data.resident import Batch
from inpaintkit.model import LightInpaintV1
from inpaintkit.training.loss_log import BatchLosses
from inpaintkit.training.progress import Row, StepPlace
from inpaintkit.training.tasks.updater import Updater


class Task(Protocol):
    """Networks, how they learn from a batch, and how they are evaluated. A task knows neither files nor epochs."""

    model: LightInpaintV1
    """The network that the run is for; its weights within `evaluating` are the ones that get saved."""

    updaters: Sequence[Updater]
    """Updaters of all networks' weights; the first one has the model's."""

    def train_mode(self) -> None:
        """Prepare everything for training steps."""

    def step(self, batch: Batch, place: StepPlace) -> BatchLosses:
        """Add the gradients of a batch and return its losses."""

    def update(self, place: StepPlace) -> None:
        """Update the weights with the gradients added so far."""

    def evaluating(self) -> contextlib.AbstractContextManager[None]:
        """Within the context the model holds the weights to use; it stays in evaluation mode until `train_mode`."""

    def evaluate(self, batch: Batch) -> tuple[Tensor, dict[str, Tensor]]:
        """Return the output for a batch, and each figure per record, (B,)."""

    def score(self, row: Row, history: Sequence[Row]) -> tuple[Row, float]:
        """Return an evaluation's `row` with the task's additions, and its score; the best model has the lowest.

        `history`: the rows before it.
        """

    def state(self) -> dict[str, Any]:
        """Return the task's part of a checkpoint."""

    def load_state(self, state: Mapping[str, Any]) -> None:
        """Restore what `state` returned."""
