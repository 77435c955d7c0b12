"""Fill comparer: the same hole filled by each method, one slider step apart."""

from collections.abc import Mapping, Sequence
from functools import lru_cache

import ipywidgets as ipw
import torch

from inpaintkit import text
from inpaintkit.data import InpaintDataset
from inpaintkit.errors import InputError
from inpaintkit.hole_colour import paint_hole
from inpaintkit.inspection.evaluate import as_truth, run_fill
from inpaintkit.inspection.figures import Figure, before_after
from inpaintkit.inspection.fills import Fill
from inpaintkit.inspection.pictures import Pixels
from inpaintkit.inspection.tables import title_of
from inpaintkit.inspection.truths import Case, Truth
from inpaintkit.inspection.zoom import Box, enlarged, with_box, zoom_boxes
from inpaintkit.notebook.widgets import parts
from inpaintkit.notebook.widgets.parts import labelled
from inpaintkit.training.feeding import evenly
from inpaintkit.training.metrics import hole_psnr

ZOOMED_SIDE = 512
KEPT_CASES, KEPT_FILLED = 8, 64
FIGURE_CASES = 6
HOLE, TRUTH = "hole", "truth"


class FillComparer:
    """Cases of a truth, each filled by several fills. Fills run when first shown, and recent results are cached."""

    def __init__(
        self, records: Truth | InpaintDataset, fills: Mapping[str, Fill], names: Sequence[str] | None = None
    ) -> None:
        """Take a truth or evaluation records, fills by name, and the names of cases to show (None: all).

        Raises `InputError` for an unknown case, and without cases or fills.
        """
        self.truth = as_truth(records)
        self.fills = dict(fills)
        self.names = list(dict.fromkeys(names if names is not None else self.truth.names))
        unknown = [name for name in self.names if name not in self.truth.names]
        if unknown or not self.names or not self.fills:
            raise InputError(
                f"names: {(unknown or ['nothing'])[0]} is not among the {self.truth.title}; give fills and names"
            )
        self.case = lru_cache(KEPT_CASES)(self.truth.case)
        self.filled = lru_cache(KEPT_FILLED)(self._fill)

    @property
    def stages(self) -> list[str]:
        """The positions of the slider: the hole, every fill, the truth."""
        return [HOLE, *self.fills, TRUTH]

    def _fill(self, name: str, stage: str) -> torch.Tensor:
        case = self.case(name)
        if stage == TRUTH:
            return case.truth
        if stage == HOLE:
            return paint_hole(case.picture, case.hole)
        return run_fill(stage, self.fills[stage], case)

    def boxes(self, name: str) -> list[Box]:
        """Return squares around the judged holes of a case, the largest hole first."""
        return zoom_boxes(self.case(name).judged[0, 0])

    def psnr(self, name: str, stage: str) -> float:
        """Return the PSNR (dB) of a fill inside the judged holes."""
        case = self.case(name)
        return float(hole_psnr(self.filled(name, stage), case.truth, case.judged))

    def figure(self) -> Figure:
        """Return a figure of the largest hole of some cases, filled by each fill."""
        return before_after(self.truth, self.fills, evenly(self.names, FIGURE_CASES))

    def widget(self) -> ipw.Widget:
        """Return the widget: a zoomed hole with a slider between the fills, beside the whole picture."""
        return _ComparerPanel(self)


class _ComparerPanel(parts.Panel):
    """The widget of a `FillComparer`: which hole of which case is shown, and how."""

    def __init__(self, comparer: FillComparer) -> None:
        super().__init__()
        self.comparer = comparer
        cases = [(text.shown(name), name) for name in comparer.names]
        stages = [(title_of(stage, text.shown), stage) for stage in comparer.stages]
        self.name = labelled(ipw.Dropdown, "record", "what is filled", options=cases)
        self.stage = labelled(
            ipw.SelectionSlider, "filled by", "hole, each fill, truth", options=stages, value=comparer.stages[1]
        )
        self.hole = labelled(ipw.IntSlider, "hole", "the largest is number 1", value=1, min=1, max=1)
        self.against = labelled(ipw.Dropdown, "against", "what the wipe uncovers", options=stages, value=HOLE)
        self.wipe = labelled(ipw.IntSlider, "wipe %", "how far the fill covers the other one", value=100)
        self.outline = parts.checkbox("outline the hole", True)
        self.zoomed, self.whole = parts.Pane("zoomed"), parts.Pane("where it is")
        self.on_change([self.name], self._choose)
        self.on_change([self.stage, self.hole, self.against, self.wipe, self.outline], self._show)
        steps = [
            self.button("previous hole", "zoom to the one before", lambda: self._step(-1)),
            self.button("next hole", "zoom to the next one", lambda: self._step(1)),
        ]
        self.arrange(
            parts.box("controls", [self.name, self.stage, self.hole, self.against, self.wipe]),
            parts.box("row", [*steps, self.outline]),
            parts.box("panes", [self.zoomed, self.whole]),
            self.caption,
        )
        self.answer(self._choose)

    def _choose(self) -> None:
        self.hole.value, self.hole.max = 1, len(self.comparer.boxes(self.name.value))
        self._show()

    def _step(self, step: int) -> None:
        self.hole.value = (self.hole.value - 1 + step) % self.hole.max + 1

    def _show(self) -> None:
        name, stage = self.name.value, self.stage.value
        case = self.comparer.case(name)
        box = self.comparer.boxes(name)[self.hole.value - 1]
        where = with_box(case.picture[0], case.hole[0], box)
        title = title_of(stage, text.shown)
        if self.wipe.value < 100:
            title += f" left of the line, {title_of(self.against.value, text.shown)} right of it"
        self.zoomed.show([self._zoomed(case, box)], f"hole {self.hole.value} of {name}: {title}")
        self.whole.show([parts.enlarged_within(where, ZOOMED_SIDE)], f"{name} with its holes")
        known = "" if stage in (HOLE, TRUTH) else f" · PSNR in all holes {self.comparer.psnr(name, stage):.2f} dB"
        place = f"hole {self.hole.value} of {self.hole.max}, {box[2]} × {box[2]} px"
        # with the name, because the dropdown may be too narrow for all of it
        self.say(f"{title} · {name}, {place}{known}")

    def _zoomed(self, case: Case, box: Box) -> Pixels:
        """Return the square `box`, filled; right of the wipe's line, filled by the fill that it is compared with."""
        stages = [self.stage.value] if self.wipe.value == 100 else [self.stage.value, self.against.value]
        filled = [self.comparer.filled(self.name.value, stage)[0] for stage in stages]
        shown, *other = (enlarged(picture, case.hole[0], box, ZOOMED_SIDE, self.outline.value) for picture in filled)
        line = shown.shape[1] * self.wipe.value // 100
        for beneath in other:
            shown[:, line:] = beneath[:, line:]
            shown[:, max(line - 1, 0) : line + 1] = 255
        return shown
