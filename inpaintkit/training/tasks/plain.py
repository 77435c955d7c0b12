"""The plain task: a generator learns to fill holes from a reconstruction loss."""

import contextlib
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from inpaintkit.config import TrainConfig
from inpaintkit.data.hole_changes import MARGIN
from inpaintkit.data.resident import Batch
from inpaintkit.model import LightInpaintV1
from inpaintkit.seeds import torch_rng
from inpaintkit.text import first_line
from inpaintkit.training import amp
from inpaintkit.training.averaging import MovingAverage, averaged_weights
from inpaintkit.training.distributed import Group
from inpaintkit.training.loss_log import BatchLosses
from inpaintkit.training.losses import create_loss
from inpaintkit.training.metrics import hole_psnr
from inpaintkit.training.progress import Row, StepPlace
from inpaintkit.training.row_fill import row_fill
from inpaintkit.training.tasks.updater import Updater, updater_state

Network = Callable[[Tensor, Tensor], Tensor]


def without_margin(mask: Tensor) -> Tensor:
    """Return `mask` without its outer `MARGIN` px, which the generator's training output and the target lack."""
    return mask[..., MARGIN:-MARGIN, MARGIN:-MARGIN]


class PlainTask:
    """Task that trains `model` with the loss of `config`; see `Task` for what the methods do."""

    def __init__(self, config: TrainConfig, model: LightInpaintV1, arithmetic: str, device: str, group: Group) -> None:
        self.config, self.arithmetic, self.device = config, arithmetic, device
        self.model = model.to(device)
        self.network: Network = self.model
        self.average = MovingAverage(self.model, config.ema_decay) if config.ema_decay > 0 else None
        loss = create_loss(
            config.loss, config.perceptual, config.hole_l1_weight, config.perceptual_path, config.grid_weight
        )
        self.criterion = loss.to(device)
        self.updater = Updater(config, self.model, arithmetic, device, group)
        self.updaters: Sequence[Updater] = (self.updater,)

    def compile(self) -> str:
        """Compile the generator if the machine can; return a message for the user.

        A batch of the training's shape compiles it at once, so that a failure shows before the run and no step has to
        compile it.
        """
        started = time.monotonic()
        was_training = self.model.training
        side = self.config.crop_size
        try:
            # the smallest function first: where nothing can be compiled, it fails in a second instead of twenty
            torch.compile(torch.neg, dynamic=False)(torch.zeros(2, device=self.device))
            # already this call fails on some versions of Python; without `dynamic=False`, a second batch size in one
            # process, as in a notebook, would get a slower network for batches of any size
            self.network = torch.compile(self.model, dynamic=False)
            self.model.train()
            x = torch.zeros(self.config.batch_size, 3, side, side, device=self.device)
            output, _ = self.generate(x, x[:, :1] > 0)
            output.sum().backward()  # type: ignore[no-untyped-call]
        except Exception as error:  # no failure of the compiler may stop the run
            self.network = self.model
            return f"compile: not possible here ({first_line(error)}); going on without"
        finally:
            self.model.train(was_training)
            self.model.zero_grad(set_to_none=True)
        return f"compile: the generator was compiled in {time.monotonic() - started:.0f} s"

    def train_mode(self) -> None:
        self.model.train()
        self.updater.train_mode()

    def step(self, batch: Batch, place: StepPlace) -> BatchLosses:
        x, hole, y, _ = batch
        output, _ = self.generate(x, hole)
        total, losses = self.reconstruction(output, y, hole, torch_rng(*place.key("step")))
        self.updater.scale(total, place.summed).backward()  # type: ignore[no-untyped-call]
        return losses

    def generate(self, x: Tensor, hole: Tensor) -> tuple[Tensor, Tensor]:
        """Return the generator's output without its margin of 16 px, and its soft mask."""
        masked, mask = self.model.preprocess(x, hole)
        # another batch size, or evaluation mode, would make torch compile the network again
        usual = self.model.training and len(x) == self.config.batch_size
        with amp.autocast(self.arithmetic, self.device):
            output = (self.network if usual else self.model)(masked, mask)
        return output.float(), mask

    def reconstruction(
        self, output: Tensor, y: Tensor, hole: Tensor, rng: torch.Generator | None = None
    ) -> tuple[Tensor, BatchLosses]:
        """Return the loss to minimise, and its parts, see `TrainingLoss.forward`.

        `rng` is the random generator of the pair augmentation.
        """
        with amp.autocast(self.arithmetic, self.device):
            return self.criterion(output, y, hole=without_margin(hole), generator=rng)  # type: ignore[no-any-return]

    def update(self, place: StepPlace) -> None:
        self.updater.update(place.update)
        if self.average is not None:
            self.average.update_parameters(self.model)

    @property
    def last_layer(self) -> nn.Parameter:
        """The weights of the output layer."""
        return self.model.to_image[1].weight  # type: ignore[return-value]

    @contextlib.contextmanager
    def evaluating(self) -> Iterator[None]:
        with averaged_weights(self.updater.optimizer, self.model, self.average):
            self.model.eval()
            yield

    @torch.no_grad()
    def evaluate(self, batch: Batch) -> tuple[Tensor, dict[str, Tensor]]:
        """Return the output and its figures: the loss terms, and the hole PSNR.

        The PSNR of row fill, which has to be beaten, is there for comparison.
        """
        x, hole, y, _ = batch
        output, _ = self.generate(x, hole)
        _, losses = self.reconstruction(output, y, hole)
        inner = without_margin(hole)
        filled = without_margin(row_fill(x, hole))
        figures = {name: term.expand(len(output)) for name, term in losses.terms.items()}
        return output, figures | {
            "total": losses.per_sample,
            "hole_psnr": hole_psnr(output, y, inner),
            "hole_psnr_row_fill": hole_psnr(filled, y, inner),
        }

    def score(self, row: Row, history: Sequence[Row]) -> tuple[Row, float]:
        """Return the unchanged row, and the evaluation loss; NaN never beats anything."""
        return row, float(row["total"])

    def state(self, *others: Updater) -> dict[str, Any]:
        """Return the state for `load_state`, with the states of `others`, which update other networks.

        As in iw3's checkpoints, weights and optimiser are those to use; the weights being trained are stored beside
        them.
        """
        training_weights = {name: value.clone() for name, value in self.model.state_dict().items()}
        with averaged_weights(self.updater.optimizer, self.model, self.average):
            to_use = {name: value.clone() for name, value in self.model.state_dict().items()}
            updaters = updater_state((self.updater, *others))
        return {
            "state_dict": to_use,
            "training_state_dict": training_weights,
            "inpaintkit_average": {} if self.average is None else self.average.state_dict(),
            "inpaintkit_amp": self.arithmetic,
            **updaters,
        }

    def load_state(self, state: Mapping[str, Any]) -> None:
        self.model.load_state_dict(state["state_dict"])
        if self.average is not None:
            self.average.load_state_dict(state["inpaintkit_average"])
        # a schedule-free optimiser turns these weights into those being trained, up to rounding
        self.updater.load_state(state, 0)
        if state["training_state_dict"] is not None:
            self.model.load_state_dict(state["training_state_dict"])
