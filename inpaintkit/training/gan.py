"""GAN fine-tuning: the plain trainer plus a discriminator, its loss and its optimiser."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from inpaintkit.config import GanConfig
from inpaintkit.errors import InputError
from inpaintkit.model import create_discriminator
from inpaintkit.seeds import torch_rng
from inpaintkit.training import amp
from inpaintkit.training.adversarial import (
    AdaptiveWeight,
    MaskedHingeLoss,
    dequantisation_noise,
    optimizer_iteration,
    ste_clamp,
    warmup_weight,
)
from inpaintkit.training.callbacks import Callback
from inpaintkit.training.compiling import Network
from inpaintkit.training.metrics import artefact_score, hole_lpips
from inpaintkit.training.perceptual import Lpips
from inpaintkit.training.progress import Row
from inpaintkit.training.schedule import create_optimizer, create_scheduler
from inpaintkit.training.trainer import Trainer, crop_frame

PSNR_ALLOWANCE = 0.5
"""Decibels of inside-hole PSNR that better texture may cost before an epoch is ranked lower for it."""


def epoch_score(lost_psnr: float, lpips: float, artefact: float) -> float:
    """Return what an epoch is judged by, the lower the better: LPIPS, artefact score within 0..1 and each dB lost beyond half a dB.

    `artefact` is NaN where no hole is wide enough for that score; then the others decide.
    """
    grid = 0.0 if math.isnan(artefact) else min(max(artefact, 0.0), 1.0)
    return lpips + grid + max(0.0, lost_psnr - PSNR_ALLOWANCE)


class GanTrainer(Trainer):
    """Fine-tunes a generator against a discriminator that judges only what lies in holes.

    The picked model has the lowest ``score`` = inside-hole LPIPS + artefact score (within 0..1) + every decibel of
    inside-hole PSNR that is lost beyond `PSNR_ALLOWANCE`, among the epochs after the start.
    """

    config: GanConfig

    def __init__(self, config: GanConfig, callbacks: Sequence[Callback] | None = None) -> None:
        if not config.checkpoint_file and not config.resume:
            raise InputError(
                "checkpoint_file: GAN fine-tuning starts from a trained generator; name the .pth of 02_train"
            )
        super().__init__(config, callbacks)

    def _create_networks(self) -> None:
        super()._create_networks()
        self.discriminator = create_discriminator(
            self.config.discriminator, torch_rng(self.config.seed, "discriminator")
        ).to(self.device)
        self.optimizers.append(create_optimizer(self.config, self.discriminator))
        self.schedulers.append(create_scheduler(self.config, self.optimizers[-1]))
        self.hinge = MaskedHingeLoss(mean_count=self.group.mean)
        self.adaptive = AdaptiveWeight()
        self.judge_lpips = Lpips("alex").to(self.device)

    def _compiled(self) -> Network:
        # comparing gradients at the last layer needs a graph that is walked twice and may be left half-way
        self._messages.append("compile: GAN fine-tuning can't use a compiled generator; going on without")
        return self.model

    @property
    def start_file(self) -> Path:
        """The generator that fine-tuning started from."""
        return self.folder / "start" / self.model_file.name

    def _run(self) -> bool:
        if not self.progress.history:
            self._save_model(self.start_file, epoch=0)
        return super()._run()

    @property
    def last_layer(self) -> nn.Parameter:
        """The weights at which the gradients of both losses are compared."""
        return self.model.to_image[1].weight  # type: ignore[return-value]

    def _losses_and_gradients(
        self, x: Tensor, hole: Tensor, y: Tensor, rng: torch.Generator
    ) -> tuple[dict[str, Tensor], Tensor]:
        output, mask = self._generate(x, hole)
        total, terms, per_sample = self._loss(output, y, hole, rng)
        adversarial, discriminator_loss = self._discriminate(output, y, mask, rng)
        weight = self._backward(output, total, adversarial, discriminator_loss)
        gan_terms = {"adversarial": adversarial, "discriminator": discriminator_loss, "adversarial_weight": weight}
        return terms | {name: term.detach() for name, term in gan_terms.items()}, per_sample

    def _discriminate(self, output: Tensor, y: Tensor, mask: Tensor, rng: torch.Generator) -> tuple[Tensor, Tensor]:
        """Return the generator's adversarial loss and the discriminator's loss.

        Both come from one look at the output: the two gradients are taken apart in `_backward`.
        """
        noise = self._noise(y)
        member = self.discriminator.pick(float(torch.rand((), generator=rng)))
        with amp.autocast(self.amp, self.device):
            fake, counted = self.discriminator(ste_clamp(output) + noise, y, mask=mask, member=member)
            real, _ = self.discriminator(y + noise, y, mask=mask, member=member)
        return self.hinge.generator(fake, counted), self.hinge.discriminator(real, fake, counted)

    def _noise(self, y: Tensor) -> Tensor:
        """Return this process's share of the step's dequantisation noise, drawn on the device."""
        key = (self.config.seed, "noise", self.progress.epoch, self.progress.step)
        whole = y.new_empty(()).expand(len(y) * self.group.size, *y.shape[1:])
        noise = dequantisation_noise(whole, torch_rng(*key, device=self.device))
        return noise[self.group.rank * len(y) :][: len(y)]

    def _backward(self, output: Tensor, total: Tensor, adversarial: Tensor, discriminator_loss: Tensor) -> Tensor:
        """Add the gradients of both networks; return the weight that the adversarial loss got.

        Each loss is differentiated down to `output` once; comparing the two gradients at the last layer and sending
        their weighted sum through the generator costs no second pass through the perceptual network.
        """
        config, scale = self.config, self.scalers[0].scale
        finite = torch.isfinite(torch.stack([total, adversarial, discriminator_loss]).detach()).all()
        if not all(self.group.gather(bool(finite))):
            return torch.zeros(())  # all processes together: comparing gradients takes all of them
        gradient = torch.autograd.grad(scale(total), output)[0]
        weight = 0.0
        warmup = warmup_weight(self._iteration(), config.generator_warmup_iteration)
        if warmup > 0 and config.discriminator_weight > 0:
            towards_real = torch.autograd.grad(scale(adversarial), output, retain_graph=True)[0]
            lengths = torch.stack([self._length(output, arriving) for arriving in (gradient, towards_real)])
            adaptive = self.adaptive.update(float(lengths[0] / lengths[1]))
            if adaptive is not None:
                weight = adaptive * config.discriminator_weight * warmup
                gradient = gradient + weight * towards_real
        output.backward(gradient / config.backward_step, retain_graph=True)
        share = self.scalers[1].scale(discriminator_loss / config.backward_step)
        share.backward(inputs=list(self.discriminator.parameters()))
        return torch.tensor(weight)

    def _iteration(self) -> int:
        progress = self.progress
        return optimizer_iteration(progress.epoch, progress.step + 1, self.steps_per_epoch, self.config.backward_step)

    def _length(self, output: Tensor, gradient: Tensor) -> Tensor:
        """Return the length of the last layer's gradient when `gradient` arrives at `output`."""
        at_layer = self.group.mean(torch.autograd.grad(output, self.last_layer, gradient, retain_graph=True)[0])
        length: Tensor = torch.linalg.vector_norm(at_layer.float())
        return length

    def _judge(self, x: Tensor, output: Tensor, y: Tensor, hole: Tensor) -> dict[str, Tensor]:
        figures = super()._judge(x, output, y, hole)
        clean, inner = output.clamp(0, 1), crop_frame(hole, self.model.i2i_offset)
        return figures | {
            "hole_lpips": hole_lpips(clean, y, inner, self.judge_lpips),
            "artefact": artefact_score(clean, y, inner),
        }

    def _score(self, row: Row) -> float:
        start = next(r for r in self.progress.history if r["split"] == "eval")
        lost = float(start["hole_psnr"]) - float(row["hole_psnr"])
        score = epoch_score(lost, float(row["hole_lpips"]), float(row["artefact"]))
        row["score"] = score
        self._write_csv()
        return score if row["epoch"] else float("inf")

    def _set_mode(self, training: bool) -> None:
        super()._set_mode(training)
        self.discriminator.train(training)

    @torch.no_grad()
    def realness(self, picture: Tensor, target: Tensor) -> Tensor:
        """Return how real the discriminator finds each place of `picture`, (B, 1, h, w) logits, high = real.

        `picture` and its truth `target` are (B, 3, H, W), 0..1; the map covers them but for a frame of two cells of 8 px. The
        members of an ensemble judge as much as each of them is picked.
        """
        self.discriminator.eval()
        shares = self.discriminator.probabilities
        judged = [self.discriminator(picture, target, member=member) for member in range(len(shares))]
        return torch.stack([share * logits.float() for share, logits in zip(shares, judged, strict=True)]).sum(dim=0)

    def picked_because(self) -> str:
        """Return in words which epoch was picked and why."""
        rows = {int(row["epoch"]): row for row in self.progress.history if row["split"] == "eval"}
        picked = self.progress.best_epoch
        if picked not in rows or not picked:
            return "No epoch was judged after the start, so none was picked."
        start, row, last = rows[0], rows[picked], max(rows)
        names = {"artefact": "artefact score", "hole_lpips": "hole LPIPS", "hole_psnr": "hole PSNR (dB)"}
        changes = [f"{name} {float(start[key]):.4g} -> {float(row[key]):.4g}" for key, name in names.items()]
        later = f" The last one, {last}, has {float(rows[last]['score']):.4g}." if last != picked else ""
        worse = "" if float(row["score"]) < float(start["score"]) else " It is no better than the start by this score."
        return (
            f"Epoch {picked} was picked: its score {float(row['score']):.4g} is the lowest of {len(rows) - 1} judged epochs "
            f"({', '.join(changes)}; start {float(start['score']):.4g}).{later}{worse}"
        )

    def epoch_table(self) -> str:
        """Return a Markdown table of the inside-hole figures of each evaluated epoch, the picked one in bold."""
        names = ("hole_psnr", "hole_lpips", "artefact", "score")
        lines = [
            "| epoch | hole PSNR (dB) | hole LPIPS | artefact score | score |",
            "| ---: | ---: | ---: | ---: | ---: |",
        ]
        for row in self.progress.history:
            if row["split"] == "eval":
                epoch = (
                    f"**{row['epoch']}** (picked)" if row["epoch"] == self.progress.best_epoch else f"{row['epoch']}"
                )
                start = " (start)" if row["epoch"] == 0 else ""
                lines.append(f"| {epoch}{start} | " + " | ".join(f"{float(row[name]):.4g}" for name in names) + " |")
        return "\n".join(lines)

    def _more_state(self) -> dict[str, Any]:
        return {
            "discriminator_state_dict": self.discriminator.state_dict(),
            "adaptive_weight": self.adaptive.state_dict(),
        }

    def _load_more_state(self, state: Mapping[str, Any]) -> None:
        self.discriminator.load_state_dict(state["discriminator_state_dict"])
        self.adaptive.load_state_dict(state["adaptive_weight"])
