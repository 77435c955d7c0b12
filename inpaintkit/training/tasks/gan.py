"""GAN fine-tuning: the plain task, and a discriminator that judges only the inside of holes."""

import contextlib
import math
from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any

import torch
from torch import Tensor

from inpaintkit.config import GanConfig
from inpaintkit.data.resident import Batch
from inpaintkit.errors import InputError
from inpaintkit.model import create_discriminator
from inpaintkit.model.discriminator import crop_centre
from inpaintkit.seeds import torch_rng
from inpaintkit.training import amp
from inpaintkit.training.adversarial import (
    ADVERSARIAL,
    AdaptiveWeight,
    dequantisation_noise,
    masked_mean,
    moved_window,
    ste_clamp,
    warmup_weight,
)
from inpaintkit.training.loss_log import BatchLosses
from inpaintkit.training.metrics import artefact_score, hole_lpips
from inpaintkit.training.perceptual import Lpips
from inpaintkit.training.progress import Row, StepPlace
from inpaintkit.training.tasks.plain import PlainTask, without_margin
from inpaintkit.training.tasks.updater import Updater

PSNR_ALLOWANCE = 0.5
"""Decibels of inside-hole PSNR that better texture may cost before an epoch is ranked lower for it."""

ARTEFACT_ALLOWANCE = 0.02
"""Artefact score that isn't counted.

It is twice the scatter of its mean, and on a flat surface a pattern of half an 8-bit step.
"""


def epoch_score(lost_psnr: float, lpips: float, artefact: float) -> float:
    """Return the score that ranks epochs, the lower the better.

    It is LPIPS plus the excess of lost PSNR and artefact score over their allowances, all inside holes. `lost_psnr`: dB
    since the start. `artefact` is clamped to 0..1; where no hole is wide enough for it, it is NaN and doesn't count.
    """
    pattern = 0.0 if math.isnan(artefact) else max(0.0, min(artefact, 1.0) - ARTEFACT_ALLOWANCE)
    return lpips + pattern + max(0.0, lost_psnr - PSNR_ALLOWANCE)


class GanTask:
    """Task that trains the generator of `plain` against a discriminator; see `Task` for what the methods do.

    The best epoch has the lowest `epoch_score` among the epochs after the start.
    """

    def __init__(self, config: GanConfig, plain: PlainTask) -> None:
        self.config, self.plain, self.group = config, plain, plain.updater.group
        self.model, self.device, self.arithmetic = plain.model, plain.device, plain.arithmetic
        weights = torch_rng(config.seed, "discriminator")
        self.discriminator = create_discriminator(config.discriminator, weights).to(self.device)
        self.updater = Updater(config, self.discriminator, self.arithmetic, self.device, self.group)
        self.updaters: Sequence[Updater] = (plain.updater, self.updater)
        self.adaptive = AdaptiveWeight()
        self.eval_lpips = Lpips("alex").to(self.device)

    def train_mode(self) -> None:
        self.plain.train_mode()
        self.discriminator.train()
        self.updater.train_mode()

    def step(self, batch: Batch, place: StepPlace) -> BatchLosses:
        x, hole, y, _ = batch
        rng = torch_rng(*place.key("step"))
        output, mask = self.plain.generate(x, hole)
        total, losses = self.plain.reconstruction(output, y, hole, rng)
        adversarial, discriminator_loss = self.discriminate(output, y, mask, place, rng)
        warmup = warmup_weight(place.updates_done, self.config.generator_warmup_iteration)
        weight = self.add_gradients(output, total, adversarial, discriminator_loss, warmup, place.summed)
        terms = {"adversarial": adversarial, "discriminator": discriminator_loss, "adversarial_weight": weight}
        return BatchLosses(losses.terms | {name: term.detach() for name, term in terms.items()}, losses.per_sample)

    def discriminate(
        self, output: Tensor, y: Tensor, mask: Tensor, place: StepPlace, rng: torch.Generator
    ) -> tuple[Tensor, Tensor]:
        """Return the generator's adversarial loss and the discriminator's loss.

        Both come from one pass over the output; `add_gradients` separates the two gradients. The judged window starts
        anywhere within a cell: if the discriminator's cells always lay on the generator's, the generator would take
        over their grid.
        """
        size = (y.shape[-2], y.shape[-1])
        member = self.discriminator.pick(float(torch.rand((), generator=rng)))
        rows, columns = moved_window(*size, rng)
        parts = (output, y, self._noise(y, place), crop_centre(mask, size))
        output, y, noise, mask = (part[..., rows, columns] for part in parts)
        with amp.autocast(self.arithmetic, self.device):
            fake, counted = self.discriminator(ste_clamp(output) + noise, y, mask=mask, member=member)
            real, _ = self.discriminator(y + noise, y, mask=mask, member=member)
        mean = partial(masked_mean, mask=counted, group=self.group)
        return ADVERSARIAL[self.config.adversarial_loss](real, fake, mean)

    def _noise(self, y: Tensor, place: StepPlace) -> Tensor:
        """Return this process's share of the step's dequantisation noise, drawn on the device."""
        shape = (len(y) * self.group.size, *y.shape[1:])
        noise = dequantisation_noise(shape, torch_rng(*place.key("noise"), device=self.device))
        return noise[self.group.rank * len(y) :][: len(y)]

    def add_gradients(
        self,
        output: Tensor,
        total: Tensor,
        adversarial: Tensor,
        discriminator_loss: Tensor,
        warmup: float,
        summed: int = 1,
    ) -> Tensor:
        """Add the gradients of both networks, divided by `summed`; return the weight of the adversarial loss.

        Each loss is differentiated with respect to `output` once. Comparing the two gradients at the last layer and
        sending their weighted sum through the generator costs no second pass through the perceptual network. If a loss
        of any process isn't finite, nothing is added.
        """
        scale = self.plain.updater.scaler.scale
        gradient, adversarial_gradient, weight = torch.autograd.grad(scale(total), output)[0], None, 0.0
        if warmup > 0 and self.config.discriminator_weight > 0:
            adversarial_gradient = torch.autograd.grad(scale(adversarial), output, retain_graph=True)[0]
        losses = torch.stack([total, adversarial, discriminator_loss]).detach()
        finite, ratio = self._finite_and_ratio(losses, output, gradient, adversarial_gradient)
        if not all(self.group.gather(finite)):
            return torch.zeros_like(total)
        if adversarial_gradient is not None and (adaptive := self.adaptive.update(ratio)) is not None:
            weight = adaptive * self.config.discriminator_weight * warmup
            gradient = gradient + weight * adversarial_gradient
        output.backward(gradient / summed)
        self.updater.scale(discriminator_loss, summed).backward(inputs=list(self.discriminator.parameters()))  # type: ignore[no-untyped-call]
        return torch.full_like(total, weight)

    def _finite_and_ratio(
        self, losses: Tensor, output: Tensor, gradient: Tensor, adversarial_gradient: Tensor | None
    ) -> tuple[bool, float]:
        """Return whether all `losses` are finite, and the ratio of two gradient lengths at the last layer.

        It is the length of `gradient` / that of `adversarial_gradient`; NaN if either isn't finite there, which happens
        in fp16, or if the latter vanishes, as when the judged window holds no hole; 0 without an
        `adversarial_gradient`. Only here does the host wait for the device.
        """
        ratio = torch.zeros_like(losses[0])
        if adversarial_gradient is not None:
            length, other = self._length(output, gradient), self._length(output, adversarial_gradient)
            ratio = torch.where(torch.isfinite(length / other) & torch.isfinite(other), length / other, torch.nan)
        finite, known_ratio = torch.stack([torch.isfinite(losses).all().to(ratio), ratio]).tolist()
        return bool(finite), known_ratio

    def _length(self, output: Tensor, gradient: Tensor) -> Tensor:
        """Return the length of the last layer's gradient when `gradient` arrives at `output`."""
        at_layer = torch.autograd.grad(output, self.plain.last_layer, gradient, retain_graph=True)[0]
        length: Tensor = torch.linalg.vector_norm(self.group.mean(at_layer).float())
        return length

    def update(self, place: StepPlace) -> None:
        self.plain.update(place)
        self.updater.update(place.update)

    def evaluating(self) -> contextlib.AbstractContextManager[None]:
        return self.plain.evaluating()

    @torch.no_grad()
    def evaluate(self, batch: Batch) -> tuple[Tensor, dict[str, Tensor]]:
        _, hole, y, _ = batch
        output, figures = self.plain.evaluate(batch)
        inner = without_margin(hole)
        return output, figures | {
            "hole_lpips": hole_lpips(output, y, inner, self.eval_lpips),
            "artefact": artefact_score(output, y, inner),
        }

    def score(self, row: Row, history: Sequence[Row]) -> tuple[Row, float]:
        """Return the row with its `epoch_score`, and that score; infinity for the start, which is never picked.

        Raises `InputError` if no evaluation record shows a hole, because then no epoch could be picked.
        """
        if not row["epoch"] and math.isnan(float(row["hole_psnr"])):
            raise InputError(
                f"data_dir: none of the chosen evaluation records has a hole farther than {self.model.i2i_offset} px from the "
                "crop's border, so no epoch could be picked; generate more of them, or choose more or others with eval_records"
            )
        start = next((r for r in history if r["split"] == "eval"), row)
        lost = float(start["hole_psnr"]) - float(row["hole_psnr"])
        score = epoch_score(lost, float(row["hole_lpips"]), float(row["artefact"]))
        return row | {"score": score}, score if row["epoch"] else math.inf

    @torch.no_grad()
    def realness(self, picture: Tensor, target: Tensor) -> Tensor:
        """Return how real the discriminator rates each place of `picture`, (B, 1, h, w) logits, high = real.

        `picture` is (B, 3, H, W), 0..1; so is its truth `target`, which may also be a single one for all. The map
        covers them except for a frame of two cells of 8 px. The members of an ensemble are averaged, each weighted by
        how often it is picked. A discriminator trained in pairs only knows what is more or less real than the truth of
        the same place; for it, the truth's logits are subtracted, so that 0 is as real as the truth.
        """
        self.discriminator.eval()
        picture, target = picture.to(self.device), target.to(self.device)
        logits = self._logits(picture, target.expand_as(picture))
        if self.config.adversarial_loss == "paired":
            logits = logits - self._logits(target, target)
        return logits.cpu()

    def _logits(self, picture: Tensor, target: Tensor) -> Tensor:
        shares = self.discriminator.probabilities
        judged = [self.discriminator(picture, target, member=member) for member in range(len(shares))]
        return torch.stack([share * logits.float() for share, logits in zip(shares, judged, strict=True)]).sum(dim=0)

    def state(self) -> dict[str, Any]:
        return {
            **self.plain.state(self.updater),
            "discriminator_state_dict": self.discriminator.state_dict(),
            "adaptive_weight": self.adaptive.state_dict(),
        }

    def load_state(self, state: Mapping[str, Any]) -> None:
        self.plain.load_state(state)
        self.updater.load_state(state, 1)
        self.discriminator.load_state_dict(state["discriminator_state_dict"])
        self.adaptive.load_state_dict(state["adaptive_weight"])
