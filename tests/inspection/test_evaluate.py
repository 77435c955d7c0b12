"""`evaluate`: figures checked by hand, inside holes only, and a verdict that claims no more than they do."""

import csv
import math
from dataclasses import replace
from pathlib import Path
from unittest.mock import Mock

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor

from inpaintkit.config import InspectConfig
from inpaintkit.data import InpaintDataset
from inpaintkit.errors import InputError, RunFailed
from inpaintkit.inspection import Fill, Inpainter, evaluate, make_fills, record_truth, scene_truth
from inpaintkit.inspection.evaluate import choose_truths, filled_cases
from inpaintkit.inspection.scores import MAIN_METRICS, METRICS, WIDTH_BINS, Evaluation, Score, bootstrap, save_scores
from inpaintkit.inspection.tables import short_table, table, tables, versus
from inpaintkit.inspection.verdict import headline, leads_everywhere, verdict
from inpaintkit.model import LightInpaintV1

WIDE_PIXELS = 50 * 12
NARROW_PIXELS = 30 * 2


def constant(value: float) -> object:
    return lambda picture, hole, eye: torch.where(hole, value, picture)


@pytest.fixture(scope="module")
def evaluation(records: InpaintDataset) -> Evaluation:
    grey = 128 / 255
    fills = {
        "near": constant(grey + 0.01),
        "far": constant(grey + 0.1),
        "whole frame": lambda p, h, e: p * 0 + grey + 0.1,
    }
    return evaluate(fills, records)


def test_psnr_is_that_of_hole_pixels(evaluation: Evaluation) -> None:
    assert evaluation.fills == ["near", "far", "whole frame"]
    assert len(evaluation.records) == 4
    for fill, expected in {"near": 40, "far": 20, "whole frame": 20}.items():
        for score in evaluation.of(fill):
            assert score.figures["psnr"] == pytest.approx(expected, abs=1e-3)
            assert score.hole_pixels == WIDE_PIXELS + NARROW_PIXELS


def test_lack_of_gpu_memory_for_a_checkpoint_is_reported(
    records: InpaintDataset, generator: LightInpaintV1, monkeypatch: pytest.MonkeyPatch
) -> None:
    no_room = Mock(side_effect=torch.OutOfMemoryError("CUDA out of memory. Tried to ..."))
    monkeypatch.setattr("inpaintkit.inspection.inpainter.cut_windows", no_room)
    with pytest.raises(RunFailed, match=r"^cpu is out of memory; .*device=cpu$"):
        evaluate({"model": Inpainter(generator)}, records)


def test_each_hole_width_is_judged_on_its_own(records: InpaintDataset) -> None:
    def only_wide_is_wrong(picture: Tensor, hole: Tensor, eye: str) -> Tensor:
        filled = torch.where(hole, 128 / 255, picture)
        filled[..., 50:62] += 0.1 * hole[..., 50:62]
        filled[..., 24:26] += 0.01 * hole[..., 24:26]
        return filled

    figures = evaluate({"f": only_wide_is_wrong}, records, max_records=1).scores[0].figures
    assert figures["psnr_10+"] == pytest.approx(20, abs=1e-3)
    assert figures["psnr_1-2"] == pytest.approx(40, abs=1e-3)
    assert math.isnan(figures["psnr_3-5"])
    assert math.isnan(figures["psnr_6-9"])


def test_every_width_belongs_to_one_class() -> None:
    ends = [0, *(high for _, high in WIDTH_BINS.values())]
    assert [low for low, _ in WIDTH_BINS.values()] == [end + 1 for end in ends[:-1] if end is not None]
    assert ends[-1] is None
    assert list(WIDTH_BINS) == [f"{low}-{high}" if high else f"{low}+" for low, high in WIDTH_BINS.values()]


def test_no_fill_sees_the_truth(records: InpaintDataset) -> None:
    seen = []

    def spy(picture: Tensor, hole: Tensor, eye: str) -> Tensor:
        seen.append((float(picture[hole.expand_as(picture)].abs().max()), eye))
        return picture

    evaluate({"spy": spy}, records)
    assert seen == [(0.0, "right")] * 4


def test_changing_its_hole_or_exceeding_white_changes_no_figure(records: InpaintDataset) -> None:
    def rude(picture: Tensor, hole: Tensor, eye: str) -> Tensor:
        filled = torch.where(hole, 1.7, picture)
        hole.zero_()
        return filled

    judged = evaluate({"rude": rude, "white": constant(1.0)}, records, max_records=1)
    rude_figures, white_figures = (score.figures for score in judged.scores)
    assert rude_figures == pytest.approx(white_figures, nan_ok=True)


def test_the_best_fill_is_named_and_interval_and_direction_fit(evaluation: Evaluation) -> None:
    assert evaluation.ranking("psnr") == ["near", "far", "whole frame"]
    assert evaluation.mean("near", "lpips").mean < evaluation.mean("far", "lpips").mean
    gap = evaluation.advantage("near", "far", "psnr")
    assert gap.low <= gap.mean <= gap.high
    assert gap.mean == pytest.approx(20, abs=1e-3)
    said = verdict(evaluation)
    assert "4 records from 4 pictures" in said
    assert "PSNR: near is best with 40.00 dB, ahead of far by 20.00 [20.00, 20.00]" in said


def test_equal_fills_are_not_told_apart(records: InpaintDataset) -> None:
    twins = evaluate({"one": constant(0.6), "two": constant(0.6)}, records)
    said = verdict(twins)
    assert "one is best" in said
    assert "ahead" not in said
    assert "not clearly better than two" in said
    assert "**" not in versus(twins, "two"), "nothing is sure"


def test_table_csv_and_summary_hold_the_same_figures(evaluation: Evaluation, tmp_path: Path) -> None:
    lines = table(evaluation).splitlines()
    assert len(lines) == 2 + 3
    assert lines[2].startswith("| near | 40.00 [40.00, 40.00] |")
    rows = list(csv.DictReader(save_scores(tmp_path / "e.csv", [evaluation]).read_text().splitlines()))
    assert len(rows) == 3 * 4
    assert float(rows[0]["psnr"]) == pytest.approx(40, abs=1e-3)
    assert rows[0]["psnr_3-5"] == ""
    assert {f"psnr_{name}" for name in WIDTH_BINS} <= rows[0].keys()
    assert evaluation.summary()["far psnr"] == pytest.approx(20, abs=1e-3)


def score(record: str, psnr: float) -> Score:
    return Score(record, record, "f", 1, dict.fromkeys(METRICS, math.nan) | {"psnr": psnr})


def test_best_median_and_worst_records_by_psnr() -> None:
    evaluation = Evaluation(tuple(score(name, psnr) for name, psnr in zip("abcde", (3, 1, 5, 2, 4), strict=True)))
    assert evaluation.best("f", 2) == ["c", "e"]
    assert evaluation.worst("f", 2) == ["b", "d"]
    assert evaluation.median("f", 1) == ["a"]


def test_bootstrap_draws_pictures_not_records() -> None:
    values = [20.0] * 10 + [30.0] * 10
    apart = bootstrap(values, [str(n) for n in range(20)])
    together = bootstrap(values, ["one"] * 10 + ["two"] * 10)
    assert apart.mean == together.mean == 25
    assert 20 < apart.low < 25 < apart.high < 30
    assert (together.low, together.high) == (20, 30)
    assert bootstrap(values, [str(n) for n in range(20)]) == apart
    assert math.isnan(bootstrap(values, ["one"] * 20).low)
    assert bootstrap([*values, math.nan], [str(n) for n in range(21)]).mean == 25


def test_the_interval_is_reproducible() -> None:
    interval = bootstrap([1.3**n for n in range(12)], list("abcdefghijkl"))
    assert (interval.low, interval.high) == pytest.approx((3.3995051, 9.317112), abs=1e-4)


def test_the_interval_covers_the_truth_about_as_often_as_it_says() -> None:
    rng, names = np.random.default_rng(0), [str(n) for n in range(30)]
    intervals = [bootstrap(list(rng.normal(5, 2, 30)), names) for _ in range(60)]
    assert 50 <= sum(interval.low <= 5 <= interval.high for interval in intervals) <= 60
    widths = [interval.high - interval.low for interval in intervals]
    assert np.mean(widths) == pytest.approx(2 * 1.96 * 2 / 30**0.5, rel=0.08), "as of 95 % in tables of the normal law"


def test_examples_are_the_records_asked_for(records: InpaintDataset) -> None:
    truth = record_truth(records)
    found = filled_cases({"grey": constant(0.6)}, truth, ["toy_2", "toy_0"])
    assert [case.name for case, _ in found] == ["toy_2", "toy_0"]
    case, filled = found[0]
    assert case.truth.shape == (1, 3, 96, 96)
    assert case.judged.sum() == WIDE_PIXELS + NARROW_PIXELS
    assert (filled["grey"][case.judged.expand(-1, 3, -1, -1)] == 0.6).all()
    with pytest.raises(InputError, match="'nobody' is not among the photos"):
        filled_cases({}, truth, ["nobody"])


def test_progress_and_max_records(records: InpaintDataset) -> None:
    calls = []
    evaluate({"grey": constant(0.5)}, records, max_records=2, progress=lambda *call: calls.append(call))
    assert calls == [(1, 2, "toy_0"), (2, 2, "toy_2")]


def test_absent_fills_are_refused(records: InpaintDataset, evaluation: Evaluation) -> None:
    with pytest.raises(InputError, match="fills: none given"):
        evaluate({}, records)
    with pytest.raises(InputError, match="'nobody' was not evaluated"):
        evaluation.of("nobody")


def test_tables_leave_out_empty_columns(evaluation: Evaluation) -> None:
    assert "LPIPS ↓" in table(evaluation)
    assert "LPIPS-VGG" not in table(evaluation)
    assert "SIoU" not in table(evaluation)
    every = tables(evaluation)
    assert every.startswith("## photos: 4 records from 4 pictures")
    assert "| near | 40.00 [40.00, 40.00] | 40.00 [40.00, 40.00] |" in every  # by width: 1-2 px and 10+ px
    assert "3-5 px" not in every
    assert "really hidden" not in every


def artefacts(*values: float) -> Evaluation:
    nothing = dict.fromkeys(METRICS, math.nan)
    return Evaluation(tuple(Score(str(n), str(n), "f", 1, nothing | {"artefact": v}) for n, v in enumerate(values)))


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ((0.3, 0.4, math.nan), "A pattern repeats every 8 px or less in f (0.350)."),
        ((0.05, -0.04, 0.0), "None repeats a pattern every 8 px or less."),
        ((math.nan, math.nan), "Holes are too small to look for patterns that repeat."),
        ((0.3, math.nan), "by bootstrap over pictures."),  # one picture: no interval, so no verdict
    ],
)
def test_the_verdict_on_a_grid_follows_the_artefact_score(values: tuple[float, ...], words: str) -> None:
    evaluation = artefacts(*values)
    said = verdict(evaluation)
    assert said.endswith(words)
    assert "nan" not in (said + tables(evaluation)).lower()


def test_a_dash_stands_for_a_missing_figure(tmp_path: Path) -> None:
    """One fill's holes are too small for an artefact score; no other figure can be missing in this way."""
    scores = (
        *artefacts(0.1, 0.2).scores,
        *(replace(score, fill="g") for score in artefacts(math.nan, math.nan).scores),
    )
    evaluation = Evaluation(scores)
    assert table(evaluation).splitlines()[2:] == ["| f | 0.150 [0.100, 0.200] |", "| g | – |"]
    assert "g artefact" not in evaluation.summary()
    rows = list(csv.DictReader(save_scores(tmp_path / "e.csv", [evaluation]).read_text().splitlines()))
    assert [row["artefact"] for row in rows] == ["0.1", "0.2", "", ""]


def test_two_people_get_the_same_table(tmp_path: Path) -> None:
    """Even with other folders and another state of torch's and NumPy's global random numbers."""
    photo = Image.effect_noise((96, 64), 60).resize((480, 320), Image.Resampling.BICUBIC)
    (tmp_path / "photos" / "eval").mkdir(parents=True)
    photo.convert("RGB").save(tmp_path / "photos" / "eval" / "noise.png")
    (tmp_path / "model.pth").touch()
    told, cases = [], []
    for person in (1, 2):
        torch.manual_seed(person)
        np.random.seed(person)  # noqa: NPY002
        config = InspectConfig.from_params(
            {"checkpoint": str(tmp_path / "model.pth"), "run_dir": str(tmp_path / f"run{person}")}
            | {"compare_with": None, "data_dir": None, "photos": str(tmp_path / "photos"), "scenes": 1}
        )
        fills = make_fills("row, telea")
        truths = choose_truths(config)
        told.append([tables(evaluate(fills, truth, max_records=2)) for truth in truths])
        cases.append([truth.load(0) for truth in truths])
    assert len(told[0]) == 4
    assert told[0] == told[1]
    for one, other in zip(*cases, strict=True):
        assert torch.equal(one.picture, other.picture)
        assert torch.equal(one.hole, other.hole)


def test_closer_to_the_truth_is_better_in_every_figure() -> None:
    truth = scene_truth(1)
    right = truth.load(0).truth
    stripes = (torch.arange(right.shape[-1]) % 4 < 2) * 2.0 - 1

    def off_by(strength: float) -> Fill:
        return lambda picture, hole, eye: torch.where(hole, right + strength * stripes, picture)

    judged = evaluate({"far": off_by(0.3), "near": off_by(0.01)}, truth, ("alex", "vgg"))
    for name in MAIN_METRICS:
        assert judged.ranking(name) == ["near", "far"], name
        assert METRICS[name].better.endswith(("more" if name in ("psnr", "ssim", "siou") else "less") + " is better")


def test_both_networks_of_lpips_can_judge(records: InpaintDataset) -> None:
    figures = evaluate({"far": constant(0.6)}, records, ("alex", "vgg"), max_records=1).scores[0].figures
    assert figures["lpips"] > 0
    assert figures["lpips_vgg"] > 0
    assert figures["lpips"] != figures["lpips_vgg"]


def test_a_positive_advantage_means_better() -> None:
    def pair(record: str, psnr: float, lpips: float) -> list[Score]:
        nothing = dict.fromkeys(METRICS, math.nan)
        mine = Score(record, record, "mine", 1, nothing | {"psnr": psnr + 1, "lpips": lpips - 0.1})
        return [mine, Score(record, record, "other", 1, nothing | {"psnr": psnr, "lpips": lpips})]

    # Records differ far more than the fills: only pairing tells them apart.
    evaluation = Evaluation(tuple(s for n in range(9) for s in pair(str(n), 10.0 + 3 * n, 0.1 + 0.05 * n)))
    mine, other = (evaluation.mean(fill, "psnr") for fill in ("mine", "other"))
    assert mine.low < other.high
    assert evaluation.advantage("mine", "other", "psnr").low == pytest.approx(1)
    assert evaluation.advantage("mine", "other", "lpips").low == pytest.approx(0.1)
    assert evaluation.advantage("other", "mine", "lpips").high == pytest.approx(-0.1)
    against = {fill: versus(evaluation, fill).splitlines()[2] for fill in ("mine", "other")}
    assert against["mine"].startswith("| other | **+1.00 [+1.00, +1.00]** | – | **+0.1000 [+0.1000, +0.1000]** | – |")
    assert against["other"].startswith("| mine | **-1.00 [-1.00, -1.00]** | – | **-0.1000 [-0.1000, -0.1000]** | – |")


class TestInOneSentence:
    """The summary that users read first: where a fill stands on each truth, and what changed."""

    def results(self, pictures: int = 3, **psnr: float) -> list[Evaluation]:
        def scored(title: str, offset: float) -> Evaluation:
            scores = [
                Score(
                    f"r{n}",
                    f"p{n}",
                    fill,
                    10,
                    dict.fromkeys(METRICS, math.nan) | {"psnr": value + offset * (fill == "row")},
                )
                for fill, value in psnr.items()
                for n in range(pictures)
            ]
            return Evaluation(tuple(scores), title)

        return [scored("photos", 0.0), scored("scenes", 5.0)]

    def test_ahead_and_behind(self) -> None:
        said = headline(self.results(row=20.0, telea=19.0, model=22.3), "model")
        assert said == "On photos best, by 2.3 dB; on scenes 2.7 dB behind row fill."

    def test_a_single_picture_proves_nothing(self) -> None:
        said = headline(self.results(1, row=20.0, model=22.3), "model")
        assert (
            said == "On photos best, by 2.3 dB (not significant); on scenes 2.7 dB behind row fill (not significant)."
        )

    def test_a_difference_that_rounds_to_0_is_level(self) -> None:
        assert headline(self.results(row=20.0, model=20.02), "model").startswith("On photos level with row fill;")

    def test_what_fine_tuning_changed(self) -> None:
        results = self.results(row=20.0, before=22.3, model=22.31)
        assert headline(results, "model", "before").endswith("; against “before” no change.")
        better = [*self.results(row=20.0, before=21.1, model=22.3)[:1], *results[1:]]
        assert headline(better, "model", "before").endswith(
            "; against “before” +1.2 dB on photos, no change on the others."
        )
        of_one_picture = self.results(1, row=20.0, before=21.1, model=22.3)[:1]
        assert headline(of_one_picture, "model", "before").endswith("“before” +1.2 dB on photos (not significant).")
        worse = self.results(row=20.0, before=22.3, model=22.1)[:1]
        assert headline(worse, "model", "before").startswith("On photos ahead of all but “before”, by 2.1 dB;")
        assert not leads_everywhere(worse, "model", "before")
        assert leads_everywhere(results[:1], "model", "before")
        assert not leads_everywhere(results, "model", "before")

    def test_the_short_table_has_the_best_in_bold(self) -> None:
        lines = short_table(self.results(row=20.0, model=22.3)).splitlines()
        assert lines[2:] == ["| row fill | 20.00 | **25.00** |", "| this model | **22.30** | 22.30 |"]
