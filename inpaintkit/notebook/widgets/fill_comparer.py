"""Fill comparer: the same hole filled by each method, one slider step apart."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import lru_cache

import ipywidgets as ipw
import torch

from inpaintkit.data import InpaintDataset
from inpaintkit.errors import InputError
from inpaintkit.inspection.evaluate import as_truth, run_fill, spread
from inpaintkit.inspection.figures import Figure, before_after
from inpaintkit.inspection.fills import Fill
from inpaintkit.inspection.truths import Case, Truth
from inpaintkit.inspection.zoom import Box, enlarged, with_box, zoom_boxes
from inpaintkit.notebook.widgets import parts
from inpaintkit.training.metrics import hole_psnr

ZOOMED_SIDE = 512
KEPT_CASES, KEPT_FILLED = 8, 64
FIGURE_CASES = 6
HOLE, TRUTH = "hole", "truth"


class FillComparer:
    """Some cases of a truth and what each of some fills makes of them; filled when first looked at, the last ones kept."""

    def __init__(
        self, records: Truth | InpaintDataset, fills: Mapping[str, Fill], names: Sequence[str] | None = None
    ) -> None:
        """Take a truth or evaluation records, fills by name, and which cases (None: all). Raises `InputError`."""
        self.truth, self.fills = as_truth(records), dict(fills)
        self.names = list(dict.fromkeys(names if names is not None else self.truth.names))
        unknown = [name for name in self.names if name not in self.truth.names]
        if unknown or not self.names or not self.fills:
            raise InputError(
                f"names: {(unknown or ['nothing'])[0]} is not among the {self.truth.title}; give fills and names"
            )
        self.case = lru_cache(KEPT_CASES)(self._load)
        self.filled = lru_cache(KEPT_FILLED)(self._fill)

    @property
    def stages(self) -> list[str]:
        """What the slider goes through: the hole, every fill, the truth."""
        return [HOLE, *self.fills, TRUTH]

    def _load(self, name: str) -> Case:
        return self.truth.load(self.truth.names.index(name))

    def _fill(self, name: str, stage: str) -> torch.Tensor:
        case = self.case(name)
        if stage == TRUTH:
            return case.truth
        if stage == HOLE:
            return torch.where(case.hole, torch.tensor([1.0, 0.0, 1.0])[:, None, None], case.picture)
        return run_fill(stage, self.fills[stage], case)

    def boxes(self, name: str) -> list[Box]:
        """Return squares around the holes of a case that count, the largest hole first."""
        return zoom_boxes(self.case(name).judged[0, 0])

    def psnr(self, name: str, stage: str) -> float:
        """Return the PSNR (dB) of a fill inside the holes that count."""
        case = self.case(name)
        return float(hole_psnr(self.filled(name, stage), case.truth, case.judged))

    def figure(self) -> Figure:
        """Return the largest hole of some cases, filled by everybody."""
        return before_after(self.truth, self.fills, [self.names[i] for i in spread(len(self.names), FIGURE_CASES)])

    def widget(self) -> ipw.Widget:
        """Return the slider between the fills beside the whole picture."""
        return _Comparing(self).box


class _Comparing:
    """The wiring: which hole of which case is shown, and how."""

    def __init__(self, comparer: FillComparer) -> None:
        self.comparer, self.caption = comparer, ipw.HTML()
        self.name = parts.labelled(ipw.Dropdown, "record", "what is filled", options=comparer.names)
        self.stage = parts.labelled(
            ipw.SelectionSlider,
            "filled by",
            "hole, each fill, truth",
            options=comparer.stages,
            value=comparer.stages[1],
        )
        self.hole = parts.labelled(ipw.IntSlider, "hole", "the largest is number 1", value=1, min=1, max=1)
        self.outline = ipw.Checkbox(value=True, description="outline the hole", indent=False)
        self.zoomed, self.whole = parts.pane(), parts.pane()
        self.name.observe(lambda change: self._choose(), names="value")
        for control in (self.stage, self.hole, self.outline):
            control.observe(lambda change: self._refresh(), names="value")
        steps = [
            parts.button("previous hole", "zoom to the one before", lambda: self._step(-1)),
            parts.button("next hole", "zoom to the next one", lambda: self._step(1)),
        ]
        columns = [parts.titled("zoomed", self.zoomed), parts.titled("where it is", self.whole)]
        self.box = ipw.VBox(
            [
                parts.row([self.name, self.stage, self.outline]),
                parts.row([self.hole, *steps]),
                parts.panes(columns),
                self.caption,
            ]
        )
        self._choose()

    def _choose(self) -> None:
        self.hole.max = len(self.comparer.boxes(self.name.value))
        self._refresh()

    def _step(self, step: int) -> None:
        self.hole.value = (self.hole.value - 1 + step) % self.hole.max + 1

    def _refresh(self) -> None:
        parts.guarded(self._show, self.caption)(None)

    def _show(self) -> None:
        name, stage = self.name.value, self.stage.value
        case, box = self.comparer.case(name), self.comparer.boxes(name)[self.hole.value - 1]
        filled = self.comparer.filled(name, stage)[0]
        zoomed = enlarged(filled, case.hole[0], box, ZOOMED_SIDE, self.outline.value)
        parts.show(self.zoomed, parts.encoded([zoomed]), f"hole {self.hole.value} of {name}: {stage}")
        parts.show(self.whole, parts.encoded([with_box(case.picture[0], case.hole[0], box)]), f"{name} with its holes")
        known = "" if stage in (HOLE, TRUTH) else f" · PSNR in all holes {self.comparer.psnr(name, stage):.2f} dB"
        self.caption.value = parts.line(
            f"{stage} · {box[2]} × {box[2]} px, hole {self.hole.value} of {self.hole.max}{known}"
        )
