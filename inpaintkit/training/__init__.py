"""Samples -> checkpoint: losses, metrics, schedules, trainers."""

from inpaintkit.training import metrics
from inpaintkit.training.adversarial import (
    AdaptiveWeight,
    MaskedHingeLoss,
    dequantisation_noise,
    ste_clamp,
    warmup_weight,
)
from inpaintkit.training.augment import augment_pair
from inpaintkit.training.callbacks import Callback, ProgressBar, ProgressLines, RunView, StepInfo, default_callbacks
from inpaintkit.training.losses import TrainingLoss, create_loss
from inpaintkit.training.perceptual import Lpips
from inpaintkit.training.progress import TrainReport
from inpaintkit.training.resume import FoundRun, find_run
from inpaintkit.training.row_fill import row_fill
from inpaintkit.training.schedule import create_optimizer, create_scheduler, is_schedule_free, last_epoch
from inpaintkit.training.trainer import GanTrainer, Trainer

__all__ = [
    "AdaptiveWeight",
    "Callback",
    "FoundRun",
    "GanTrainer",
    "Lpips",
    "MaskedHingeLoss",
    "ProgressBar",
    "ProgressLines",
    "RunView",
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
    "find_run",
    "is_schedule_free",
    "last_epoch",
    "metrics",
    "row_fill",
    "ste_clamp",
    "warmup_weight",
]
