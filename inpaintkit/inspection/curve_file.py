"""Curves as a picture file in the run folder, fresh after every evaluation: for runs that nobody watches."""

from collections.abc import Mapping

from inpaintkit.inspection.figures import loss_curves, save_figure
from inpaintkit.training.callbacks import Callback, RunView


class CurveFile(Callback):
    """Draws ``figures/loss_curves.png`` anew after every evaluation."""

    def on_row(self, run: RunView, row: Mapping[str, float | int | str]) -> None:
        if row["split"] == "eval":
            save_figure(loss_curves(run.csv_file), run.folder / "figures" / "loss_curves.png")
