"""Train a generator on a data set: losses, metrics, schedules, callbacks and trainers."""

from inpaintkit.training import metrics
from inpaintkit.training.callbacks import Callback, ProgressLines, RunView, StepInfo
from inpaintkit.training.feeding import open_records
from inpaintkit.training.loss_log import BatchLosses
from inpaintkit.training.losses import create_loss
from inpaintkit.training.perceptual import Lpips
from inpaintkit.training.progress import TrainReport
from inpaintkit.training.resume import find_run
from inpaintkit.training.row_fill import row_fill
from inpaintkit.training.schedule import create_optimizer
from inpaintkit.training.trainer import GanTrainer, Trainer

__all__ = [
    "BatchLosses",
    "Callback",
    "GanTrainer",
    "Lpips",
    "ProgressLines",
    "RunView",
    "StepInfo",
    "TrainReport",
    "Trainer",
    "create_loss",
    "create_optimizer",
    "find_run",
    "metrics",
    "open_records",
    "row_fill",
]
