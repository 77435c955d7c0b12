"""Classical fills: which pixels they use, and that they can't cheat."""

import math
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from inpaintkit.config import FILL_NAMES, InspectConfig, joined_fills
from inpaintkit.data import InpaintDataset
from inpaintkit.errors import InputError
from inpaintkit.inspection import (
    FILLS,
    Inpainter,
    compared_fills,
    evaluate,
    make_fills,
    read_textures,
    row_fill,
    scene_truth,
    simple_in_thin_holes,
)
from inpaintkit.inspection.holes import hole_widths
from inpaintkit.model import LightInpaintV1, save_model
from inpaintkit.seeds import torch_rng

ROOT = Path(__file__).parents[2]
RELEASED = ROOT / "models" / "released" / "light_inpaint_v1.pth"


def one_row(values: list[float], missing: str) -> tuple[torch.Tensor, torch.Tensor]:
    """Return a picture (1, 3, 1, W) of grey `values` and its hole, written as ``.##.`` (# = missing)."""
    row = torch.tensor(values).expand(1, 3, 1, len(values))
    return row, torch.tensor([c == "#" for c in missing]).view(1, 1, 1, -1)


@pytest.mark.parametrize(
    ("eye", "missing", "expected"),
    [
        ("right", ".##..", [0.1, 0.4, 0.4, 0.4, 0.5]),
        ("left", ".##..", [0.1, 0.1, 0.1, 0.4, 0.5]),
        ("right", "...##", [0.1, 0.2, 0.3, 0.3, 0.3]),
        ("left", "##...", [0.3, 0.3, 0.3, 0.4, 0.5]),
        ("right", "#.#.#", [0.2, 0.2, 0.4, 0.4, 0.4]),
        ("right", "#####", [0.1, 0.2, 0.3, 0.4, 0.5]),
        ("left", ".....", [0.1, 0.2, 0.3, 0.4, 0.5]),
    ],
)
def test_row_fill_takes_the_nearest_pixel_of_the_background_side(eye: str, missing: str, expected: list[float]) -> None:
    picture, hole = one_row([0.1, 0.2, 0.3, 0.4, 0.5], missing)
    assert torch.equal(row_fill(picture, hole, eye), torch.tensor(expected).expand(1, 3, 1, 5))


@pytest.mark.parametrize(
    ("eye", "expected"), [("right", [0.1, 0.5, 0.5, 0.5, 0.5]), ("left", [0.1, 0.1, 0.1, 0.4, 0.5])]
)
def test_a_hole_grows_to_the_background_side_before_it_is_filled(eye: str, expected: list[float]) -> None:
    # The pixel beside the hole on that side stands for the mixed colour that an edge leaves.
    picture, hole = one_row([0.1, 0.2, 0.3, 0.4, 0.5], "..#.." if eye == "left" else ".##..")
    config = InspectConfig(str(RELEASED), fills="row", outer_dilation=1, device="cpu")
    filled = compared_fills(config)[0]["row"](picture, hole, eye)
    assert torch.equal(filled, torch.tensor(expected).expand(1, 3, 1, 5))


@pytest.fixture
def holed() -> tuple[torch.Tensor, torch.Tensor]:
    picture = torch.rand(2, 3, 32, 40, generator=torch_rng("holed"))
    hole = torch.zeros(2, 1, 32, 40, dtype=torch.bool)
    hole[0, :, 8:20, 10:14] = True
    hole[1, :, :, 36:] = True
    return picture, hole


@pytest.mark.parametrize("name", FILLS)
@pytest.mark.parametrize("eye", ["left", "right"])
def test_a_fill_changes_nothing_outside_the_hole_and_sees_nothing_inside(
    name: str, eye: str, holed: tuple[torch.Tensor, torch.Tensor]
) -> None:
    picture, hole = holed
    filled = FILLS[name](picture, hole, eye)
    assert filled.shape == picture.shape
    assert torch.equal(filled[~hole.expand_as(picture)], picture[~hole.expand_as(picture)])
    assert torch.equal(filled, FILLS[name](torch.where(hole, 1 - picture, picture), hole, eye))
    assert not torch.equal(filled, picture)


@pytest.mark.parametrize("name", FILLS)
def test_where_nothing_is_known_nothing_changes(name: str) -> None:
    picture = torch.rand(1, 3, 8, 8, generator=torch_rng("unknown"))
    assert torch.equal(FILLS[name](picture, torch.ones(1, 1, 8, 8, dtype=torch.bool), "right"), picture)


@pytest.mark.parametrize("name", ["telea", "navier_stokes", "biharmonic"])
def test_fills_that_know_both_sides_continue_a_ramp(name: str) -> None:
    ramp = torch.linspace(0, 1, 33).expand(1, 3, 33, 33)
    hole = torch.zeros(1, 1, 33, 33, dtype=torch.bool)
    hole[..., 12:20, 15:18] = True
    error = (FILLS[name](ramp.masked_fill(hole, 0), hole, "right") - ramp).abs().max()
    assert error < (row_fill(ramp, hole) - ramp).abs().max()
    assert error < 0.05


@pytest.mark.parametrize("name", FILLS)
def test_an_unknown_eye_is_refused(name: str, holed: tuple[torch.Tensor, torch.Tensor]) -> None:
    with pytest.raises(InputError, match="eye: 'middle' is unknown"):
        FILLS[name](*holed, "middle")


MINE = """
from __future__ import annotations
from dataclasses import dataclass
import torch
@dataclass
class Options:
    strength: float
def grey(picture, hole, eye):
    return torch.where(hole, 0.5, picture)
wrong = 3
def small(picture, hole, eye):
    return picture[..., 1:]
def holes(picture, hole, eye):
    return torch.where(hole, torch.nan, picture)
def levels(picture, hole, eye):
    return (picture * 255).byte()
"""


def test_all_means_every_available_fill_in_order() -> None:
    assert list(make_fills("all")) == list(FILLS) == list(FILL_NAMES)
    assert list(make_fills("telea, row")) == ["telea", "row"]


def test_biharmonic_is_left_out_of_all_where_it_cannot_run(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    assert list(make_fills("all")) == [name for name in FILLS if name != "biharmonic"]


def test_custom_functions_are_fills(tmp_path: Path, records: InpaintDataset) -> None:
    (tmp_path / "mine.py").write_text(MINE)
    fills = make_fills(f"row, {tmp_path / 'mine.py'}:grey")
    assert list(fills) == ["row", "grey"]
    (tmp_path / 'my "own", at last.py').write_text(MINE)
    assert list(make_fills(joined_fills(["row", f'{tmp_path}/my "own", at last.py:grey']))) == ["row", "grey"]
    assert list(make_fills(f'"{tmp_path}/my ""own"", at last.py:grey", row')) == ["grey", "row"]
    evaluation = evaluate(fills, records)
    assert evaluation.mean("grey", "psnr").mean == pytest.approx(-20 * math.log10(abs(128 / 255 - 0.5)), abs=0.1)


def test_the_fill_in_the_documentation_works_as_it_stands(tmp_path: Path, records: InpaintDataset) -> None:
    text = (Path(__file__).parents[2] / "docs" / "evaluation.md").read_text(encoding="utf-8")
    (tmp_path / "mine.py").write_text(text.split("```python")[1].split("```")[0])
    fills = make_fills(f"{tmp_path / 'mine.py'}:mean_fill")
    assert evaluate(fills, records, max_records=1).mean("mean_fill", "psnr").mean > 10


def test_model_files_are_fills(tmp_path: Path, generator: LightInpaintV1) -> None:
    save_model(generator, tmp_path / "other.pth")
    assert isinstance(make_fills(f"{tmp_path / 'other.pth'}", "cpu")["other"], Inpainter)


def test_no_fill_replaces_another_of_the_same_name(
    tmp_path: Path, generator: LightInpaintV1, capsys: pytest.CaptureFixture[str]
) -> None:
    run = f"{LightInpaintV1.name}.pth"
    files = [tmp_path / name for name in (f"a/{run}", f"b/a/{run}", "model.pth", f"row/{run}", f"model/{run}")]
    for file in files:
        file.parent.mkdir(parents=True, exist_ok=True)
        save_model(generator, file)
    (tmp_path / "mine.py").write_text(MINE.replace("grey", "telea"))
    named = ", ".join(map(str, (*files[:3], f"{tmp_path / 'mine.py'}:telea", f"{tmp_path / 'mine.py'}:telea")))
    for before, label in ((files[3], "row (2)"), (files[4], "model (3)"), (None, None)):
        config = InspectConfig(str(files[0]), str(before) if before else None, f"all, row,, {named},", device="cpu")
        fills, called = compared_fills(config)
        assert called == label
        added = ["a", "a (2)", "model (2)", "telea (2)", *([label] if label else []), "model"]
        assert list(fills) == [*FILLS, *added]
        assert all(fills[name] is FILLS[name] for name in FILLS)
        assert len(set(map(id, fills.values()))) == len(fills)
    assert f"{files[1]} is called a (2) here, because a is another fill" in capsys.readouterr().out


def test_fills_that_cannot_work_are_refused(tmp_path: Path, records: InpaintDataset) -> None:
    file = tmp_path / "mine.py"
    file.write_text(MINE)
    refused = {
        "tela": "did you mean telea",
        f"{file}": "is unknown",
        f"{file}:nobody": "has no function nobody",
        f"{file}:wrong": "has no function wrong",
        f"{tmp_path / 'none.py'}:f": "does not exist",
        f"{tmp_path / 'none.pth'}": "does not exist",
        " ,": "none named",
    }
    for names, words in refused.items():
        with pytest.raises(InputError, match=words):
            make_fills(names)
    for code, words in {"1 / 0": "ZeroDivisionError", "import sys; sys.exit()": "SystemExit"}.items():
        (tmp_path / "broken.py").write_text(code)
        with pytest.raises(InputError, match=f"fails when it is run: {words}"):
            make_fills(f"{tmp_path / 'broken.py'}:f")
    with pytest.raises(InputError, match=r"small returned \(1, 3, 96, 95\)"):
        evaluate(make_fills(f"{file}:small"), records)
    with pytest.raises(InputError, match="holes returned numbers that aren't finite"):
        evaluate(make_fills(f"{file}:holes"), records)
    with pytest.raises(InputError, match=r"levels returned torch.uint8; .* divide 0..255 by 255"):
        evaluate(make_fills(f"{file}:levels"), records)


def test_simple_fills_in_thin_holes_improve_a_network_and_leave_wide_holes_alone() -> None:
    network = Inpainter(RELEASED)
    made: dict[str, torch.Tensor] = {}

    def kept(picture: torch.Tensor, hole: torch.Tensor, eye: str) -> torch.Tensor:
        made["network"] = network(picture, hole, eye)
        return made["network"]

    def mixed(picture: torch.Tensor, hole: torch.Tensor, eye: str) -> torch.Tensor:
        made["mixed"] = simple_in_thin_holes(lambda *_: made["network"].clone())(picture, hole, eye)
        changed = (made["mixed"] != made["network"]).any(dim=1, keepdim=True)
        assert not (changed & ~((hole_widths(hole) <= 3) & hole)).any()
        return made["mixed"]

    judged = evaluate({"network": kept, "mixed": mixed}, scene_truth(3, read_textures(ROOT / "data" / "samples")), [])
    assert judged.mean("mixed", "psnr_1-2").mean > judged.mean("network", "psnr_1-2").mean + 0.2
    assert judged.mean("mixed", "psnr").mean > judged.mean("network", "psnr").mean


def test_a_thin_hole_at_the_border_is_left_alone() -> None:
    picture, hole = torch.zeros(1, 3, 4, 12), torch.zeros(1, 1, 4, 12, dtype=torch.bool)
    hole[..., [0, 5, -1]] = True
    filled = simple_in_thin_holes(lambda picture, hole, eye: torch.where(hole, 0.7, picture))(picture, hole, "right")
    assert filled[0, 0, 0].eq(0.7).nonzero().flatten().tolist() == [0, 11]


@pytest.mark.parametrize(("width", "share"), [(1, 1.0), (2, 0.5), (3, 0.5), (4, 0.0)])
def test_thinner_holes_contain_more_row_fill(width: int, share: float) -> None:
    picture, hole = one_row([0.9] * 3 + [0.0] * width + [0.4] * 3, "..." + "#" * width + "...")
    filled = simple_in_thin_holes(lambda picture, hole, eye: picture.masked_fill(hole, 0))(picture, hole, "right")
    assert filled[0, 0, 0, 3 : 3 + width].tolist() == pytest.approx([0.4 * share] * width, abs=0.001)


def test_thin_holes_continue_one_surface_but_do_not_mix_two() -> None:
    def black(picture: torch.Tensor, hole: torch.Tensor, eye: str) -> torch.Tensor:
        return picture.masked_fill(hole, 0)

    for near, expected in ((0.50, [0.51]), (0.90, [0.52])):
        picture, hole = one_row([near, near, near, 0.52, 0.52, 0.52], "..#...")
        filled = simple_in_thin_holes(black)(picture, hole, "right")
        assert filled[0, 0, 0, 2].item() == pytest.approx(expected[0], abs=0.002)


def test_thin_holes_of_a_large_picture_take_little_memory() -> None:
    """12 megapixels are 144 MB as float32. Measured in a process of its own, since this one's peak tells nothing."""
    code = """if True:
        import resource, torch
        from inpaintkit.inspection import simple_in_thin_holes
        picture = torch.zeros(1, 3, 3000, 4000)
        hole = (torch.arange(4000) % 5 < 3).expand(1, 1, 3000, 4000).clone()
        before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        simple_in_thin_holes(lambda picture, hole, eye: picture.clone())(picture, hole, "right")
        print((resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 1000)
    """
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert float(done.stdout) < 144 + 150
