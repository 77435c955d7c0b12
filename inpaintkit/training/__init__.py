"""Samples -> checkpoint: losses, metrics, schedules, trainers."""

from inpaintkit.training import metrics
from inpaintkit.training.adversarial import (
    AdaptiveWeight,
    MaskedHingeLoss,
    dequantisation_noise,
    optimizer_iteration,
    ste_clamp,
    warmup_weight,
)
from inpaintkit.training.augment import augment_pair
from inpaintkit.training.callbacks import Callback, ProgressBar, ProgressLines, StepInfo, default_callbacks
from inpaintkit.training.gan import GanTrainer
from inpaintkit.training.losses import TrainingLoss, create_loss
from inpaintkit.training.perceptual import Lpips
from inpaintkit.training.progress import TrainReport
from inpaintkit.training.row_fill import row_fill
from inpaintkit.training.schedule import create_optimizer, create_scheduler, is_schedule_free, last_epoch
from inpaintkit.training.trainer import Trainer

__all__ = [
    "AdaptiveWeight",
    "Callback",
    "GanTrainer",
    "Lpips",
    "MaskedHingeLoss",
    "ProgressBar",
    "ProgressLines",
    "StepInfo",
    "TrainReport",
    "Trainer",
    "TrainingLoss",
    "augment_pair",
    "create_loss",
    "create_optimizer",
    "create_scheduler",
    "default_callbacks",
    "dequantisation_noise",
    "is_schedule_free",
    "last_epoch",
    "metrics",
    "optimizer_iteration",
    "row_fill",
    "ste_clamp",
    "warmup_weight",
]
