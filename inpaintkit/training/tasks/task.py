"""What the training loop asks of whatever it trains."""

import contextlib
from collections.abc import Mapping, Sequence
from typing import Any, Protocol

from torch import Tensor

from inpaintkit.data.resident import Batch
from inpaintkit.model import LightInpaintV1
from inpaintkit.training.loss_log import BatchLosses
from inpaintkit.training.progress import Moment, Row


class Task(Protocol):
    """Networks, how they learn from a batch, and how they are judged. It knows neither files nor epochs."""

    model: LightInpaintV1
    """The network that the run is for; what it holds within `judging` is what gets saved."""

    def train_mode(self) -> None:
        """Make everything ready for training steps."""

    def step(self, batch: Batch, moment: Moment) -> BatchLosses:
        """Add the gradients of a batch and return its losses."""

    def update(self, moment: Moment) -> None:
        """Update the weights with the gradients added so far."""

    def next_epoch(self) -> None:
        """Move the learning-rate schedules on."""

    def change_schedule(self, epochs_done: int) -> None:
        """Go on with the learning rate and schedule of today's options instead of those of the loaded state."""

    def rates(self) -> dict[str, float]:
        """Return learning rate and weight decay, as the loss CSV shows them."""

    def skipped_updates(self) -> int:
        """Return how many updates were skipped so far because a gradient was NaN or infinite."""

    def judging(self) -> contextlib.AbstractContextManager[None]:
        """For the time of the context the model holds the weights to use, in evaluation mode."""

    def judge(self, batch: Batch) -> tuple[Tensor, dict[str, Tensor]]:
        """Return the output for a batch, and each figure per record, (B,)."""

    def score(self, row: Row, history: Sequence[Row]) -> float:
        """Return what the best model has least of, from an evaluation's `row`; `history`: the rows before it."""

    def state(self) -> dict[str, Any]:
        """Return all that a checkpoint keeps of the task."""

    def load_state(self, state: Mapping[str, Any]) -> None:
        """Take back what `state` returned."""
