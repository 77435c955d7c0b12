"""The options of notebooks 02 and 03."""

from dataclasses import dataclass
from pathlib import Path

from inpaintkit.config.choices import (
    ADVERSARIAL_LOSSES,
    AMP_MODES,
    DISCRIMINATOR_NAMES,
    LOSSES,
    OPTIMIZERS,
    PERCEPTUAL_NETWORKS,
    RESIDENT_MODES,
    SCHEDULERS,
)
from inpaintkit.config.options import ASKED, FREE, JobConfig, option, option_of, require_records
from inpaintkit.errors import InputError
from inpaintkit.files import require_file, require_writable


@dataclass(frozen=True)
class TrainConfig(JobConfig):
    """Notebook 02: a data set -> a generator checkpoint."""

    notebook = "02_train"
    data_dir: str = option(
        "data/inpaint_v1",
        "folder of the data set, with train/ and eval/ records",
        group="Data and run",
        path=True,
        later=FREE,
        everyday=True,
    )
    model_dir: str = option(
        "models/inpaint_v1",
        "folder for what the run writes: models, curves, pictures",
        path=True,
        later=FREE,
        everyday=True,
    )
    checkpoint_file: str | None = option(None, "start from this model file (ours or iw3's)", path=True, later=ASKED)
    resume: bool = option(False, "continue the run in model_dir, also with changed options", later=FREE)
    reset_state: bool = option(False, "with resume: load only the weights; optimiser and epochs start anew", later=FREE)
    overwrite: bool = option(False, "move another run in model_dir to model_dir/old/ and start anew", later=FREE)
    seed: int = option(
        0, "same seed, data, machine and number of threads: same weights, bit for bit (on a GPU: up to rounding)"
    )
    max_epoch: int = option(
        200, "number of epochs, each of num_samples samples", group="Length", minimum=1, later=ASKED, everyday=True
    )
    num_samples: int = option(20000, "samples per epoch, drawn from the records", minimum=1, later=ASKED, everyday=True)
    batch_size: int = option(8, "samples per step and process", minimum=1, later=ASKED, everyday=True)
    backward_step: int = option(4, "steps whose gradients are accumulated for one update", minimum=1, later=ASKED)
    max_seconds: float | None = option(
        None,
        "stop and save after this time of training and evaluation, None: no limit; loading doesn't count",
        unit="s",
        minimum=0,
        later=FREE,
    )
    crop_size: int = option(256, "side of the training crops", group="Samples", unit="px", minimum=64)
    mixed_border: float = option(
        0.0,
        "chance that an object's colour is mixed into the background beside the hole, as in warped pictures",
        minimum=0,
        maximum=1,
    )
    thin_hole: float = option(0.0, "chance that a hole is narrowed to 1, 2 or 3 px", minimum=0, maximum=1)
    border_hole: float = option(
        0.0, "chance that the picture's left or right border runs through the hole", minimum=0, maximum=1
    )
    disable_hard_example: bool = option(False, "draw all records equally often instead of hard ones more often")
    loss: str = option("l1lpips", "training loss", group="Loss", choices=LOSSES)
    perceptual: str = option(
        "vgg",
        "network inside LPIPS, the perceptual loss; alex is about 10 times cheaper than vgg",
        choices=PERCEPTUAL_NETWORKS,
        everyday=True,
    )
    perceptual_path: str | None = option(
        None,
        "local copy of the perceptual network: VGG16 or AlexNet file, DINOv2 folder; None: the kit searches for it",
        path=True,
        later=FREE,
    )
    hole_l1_weight: float = option(1.0, "weight of the L1 term inside the hole, 1: as outside", minimum=0)
    grid_weight: float = option(
        0.0, "weight of the term against the grid that a fill shows every 8 px, 0: none", minimum=0
    )
    optimizer: str = option("adamw", "optimiser of the generator", group="Optimiser", choices=OPTIMIZERS)
    learning_rate: float = option(1e-4, "highest learning rate", minimum=0, later=ASKED)
    scheduler: str = option(
        "cosine_wd", "learning-rate schedule; not used by schedule-free optimisers", choices=SCHEDULERS
    )
    learning_rate_cycles: int = option(5, "cycles of the cosine schedule", minimum=1)
    learning_rate_cosine_min: float = option(1e-8, "lowest learning rate of a cycle", minimum=0)
    warmup_steps: int = option(0, "optimiser steps over which the learning rate rises from 0", minimum=0)
    weight_decay: float = option(0.001, "weight decay at the highest learning rate; 0: none at all", minimum=0)
    weight_decay_end: float = option(0.01, "weight decay at the lowest learning rate, with cosine_wd", minimum=0)
    clip_grad_norm: float = option(0.0, "largest gradient norm, 0: no limit", minimum=0)
    ema_decay: float = option(
        0.0,
        "decay of a moving average of the weights, which is evaluated and saved as the model; 0: none",
        minimum=0,
        maximum=1,
    )
    grey_start: bool = option(False, "start the output layer near mid-grey; helps short runs")
    eval_step: int = option(4, "epochs between evaluations", group="Evaluation", minimum=1, later=ASKED)
    eval_records: int | str | None = option(
        None, "records to evaluate on: a number, or a pattern of names such as photos1_*; None: all"
    )
    save_eval_step: int = option(20, "save the pictures of every n-th evaluation batch, 1: all", minimum=1, later=FREE)
    save_epoch: bool = option(False, "save the weights of every epoch under epoch/N/", later=FREE)
    checkpoint_seconds: float = option(
        300.0, "longest time between two full-state checkpoints", group="Checkpoints", unit="s", minimum=0, later=FREE
    )
    keep_last: int = option(2, "number of full-state checkpoints to keep, the newest included", minimum=1, later=FREE)
    tensorboard: bool = option(False, "also write the curves for TensorBoard, to model_dir/tensorboard/", later=FREE)
    amp: str = option(
        "auto",
        "precision of the computation",
        group="Machine",
        choices=AMP_MODES,
        later=FREE,
    )
    compile: bool = option(
        False,
        "compile the generator (torch.compile): takes minutes, then steps on a GPU are faster; not in GAN fine-tuning",
        later=FREE,
    )
    resident: str = option("auto", "keep all records in the device's memory", choices=RESIDENT_MODES, later=FREE)
    num_workers: int = option(
        0, "processes that load training samples, 0: load in this one", minimum=0, maximum=1024, later=FREE
    )
    processes: int = option(
        1, "training processes on this machine, one per GPU, started by torchrun", minimum=1, maximum=1024, later=FREE
    )
    device: str = option("auto", "auto, cpu, cuda, cuda:1, mps", later=FREE, everyday=True)

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.reset_state and not self.resume:
            raise InputError(
                "reset_state: it has an effect only together with resume=True; set resume or drop reset_state"
            )
        if self.overwrite and self.resume:
            raise InputError(
                "overwrite: it contradicts resume=True, which goes on with the run; set only one of the two"
            )
        if self.crop_size % 4:
            raise InputError(
                f"crop_size: {self.crop_size} is not a multiple of 4; use 188 or 252 (the network pads to the next multiple of 64)"
            )
        if isinstance(self.eval_records, int) and self.eval_records < 1:
            raise InputError(
                "eval_records: at least one record must be evaluated; give a number from 1, a pattern or None"
            )
        if self.ema_decay == 1:
            raise InputError("ema_decay: 1 would never take in new weights; use for instance 0.999")
        if self.ema_decay > 0 and self.schedule_free:
            raise InputError(
                f"ema_decay: {self.optimizer} averages the weights itself; use ema_decay=0 or another optimizer"
            )

    @property
    def schedule_free(self) -> bool:
        """Whether the optimiser averages the weights itself: it needs `.train()` / `.eval()` calls, but no schedule."""
        return self.optimizer == "adamw_schedulefree"

    @property
    def run_folder(self) -> Path:
        return Path(self.model_dir)

    def check_inputs(self) -> None:
        require_records(self.data_dir, "train", "eval")
        if self.checkpoint_file and not self.resume:
            require_file(self.checkpoint_file, "checkpoint_file")
        if self.perceptual_path and not Path(self.perceptual_path).exists():
            raise InputError(f"perceptual_path: {self.perceptual_path} does not exist; give a file or folder, or None")
        require_writable(self.model_dir, "model_dir")
        # a run writes pictures there, and overwrite moves them all away
        if any(Path(self.model_dir, "eval").glob("*_M.png")):
            raise InputError(f"model_dir: {self.model_dir} holds the records of a data set; name a folder of its own")


@dataclass(frozen=True)
class GanConfig(TrainConfig):
    """Notebook 03: a trained generator -> the same, fine-tuned against a discriminator."""

    notebook = "03_finetune_gan"
    model_dir: str = option_of(TrainConfig, "model_dir", default="models/inpaint_gan_v1")
    checkpoint_file: str | None = option_of(
        TrainConfig,
        "checkpoint_file",
        default="models/inpaint_v1/inpaint.light_inpaint_v1.pth",
        help="trained generator to start from (ours or iw3's)",
        everyday=True,
    )
    max_epoch: int = option_of(
        TrainConfig,
        "max_epoch",
        default=30,
        help="number of epochs, each of num_samples samples; too many undo the gain",
    )
    # smaller crops leave a discriminator no cell to judge
    crop_size: int = option_of(TrainConfig, "crop_size", minimum=72)
    disable_hard_example: bool = option_of(TrainConfig, "disable_hard_example", default=True)
    optimizer: str = option_of(
        TrainConfig, "optimizer", default="adamw_schedulefree", help="optimiser of generator and discriminator"
    )
    eval_step: int = option_of(TrainConfig, "eval_step", default=1)
    save_epoch: bool = option_of(TrainConfig, "save_epoch", default=True)
    discriminator: str = option(
        "l3cffce", "discriminator to train against", group="Discriminator", choices=DISCRIMINATOR_NAMES
    )
    adversarial_loss: str = option(
        "paired", "how the discriminator tells fills from truth, see docs/gan.md", choices=ADVERSARIAL_LOSSES
    )
    discriminator_weight: float = option(0.2, "weight of the adversarial term", minimum=0)
    generator_warmup_iteration: int = option(
        500, "optimiser steps until the adversarial term has full weight", minimum=0
    )

    def check_inputs(self) -> None:
        if not self.checkpoint_file and not self.resume:
            raise InputError(
                "checkpoint_file: GAN fine-tuning starts from a trained generator; name the .pth of 02_train"
            )
        super().check_inputs()
