"""Curves of a run for TensorBoard, in addition to the CSV that is always written."""

from collections.abc import Mapping
from pathlib import Path

from inpaintkit.errors import InputError
from inpaintkit.training.callbacks import Callback, RunView, StepInfo


class TensorBoardLog(Callback):
    """Log of each step's running means and of every row of the loss CSV; view with ``tensorboard --logdir FOLDER``.

    Tags use the names of the CSV's columns: ``step/total``, ``train/l1``, ``eval/hole_psnr``. A resumed run continues
    the same curves. Raises `InputError` if the package tensorboard is missing.
    """

    def __init__(self, folder: str | Path) -> None:
        try:
            from torch.utils.tensorboard import SummaryWriter
        except ImportError:
            raise InputError(
                "tensorboard: the package is missing; run `pip install tensorboard` or use tensorboard=False"
            ) from None
        self.folder = Path(folder)
        self._writer_class = SummaryWriter

    def on_start(self, run: RunView) -> None:
        self._writer = self._writer_class(str(self.folder), purge_step=run.steps_done or None)

    def on_step(self, run: RunView, info: StepInfo) -> None:
        for name, value in info.terms.items():
            self._writer.add_scalar(f"step/{name}", value, run.steps_done)

    def on_row(self, run: RunView, row: Mapping[str, float | int | str]) -> None:
        for name, value in row.items():
            if isinstance(value, float):
                self._writer.add_scalar(f"{row['split']}/{name}", value, run.steps_done)
        self._writer.flush()

    def on_end(self, run: RunView) -> None:
        self._writer.close()
