"""What the training loop asks of whatever it trains."""

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
    """Networks, how they learn from a batch, and how they are judged. It knows neither files nor epochs."""

    model: LightInpaintV1
    """The network that the run is for; what it holds within `judging` is what gets saved."""

    updaters: Sequence[Updater]
    """Who moves the weights; the first one has the model's."""

    def train_mode(self) -> None:
        """Make everything ready for training steps."""

    def step(self, batch: Batch, place: StepPlace) -> BatchLosses:
        """Add the gradients of a batch and return its losses."""

    def update(self, place: StepPlace) -> None:
        """Update the weights with the gradients added so far."""

    def judging(self) -> contextlib.AbstractContextManager[None]:
        """For the time of the context the model holds the weights to use; it is in evaluation mode until `train_mode`."""

    def judge(self, batch: Batch) -> tuple[Tensor, dict[str, Tensor]]:
        """Return the output for a batch, and each figure per record, (B,)."""

    def score(self, row: Row, history: Sequence[Row]) -> tuple[Row, float]:
        """Return an evaluation's `row` with what the task adds to it, and what the best model has least of.

        `history`: the rows before it.
        """

    def state(self) -> dict[str, Any]:
        """Return all that a checkpoint keeps of the task."""

    def load_state(self, state: Mapping[str, Any]) -> None:
        """Take back what `state` returned."""
