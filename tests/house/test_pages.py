"""The pages: links have a target, commands work as shown, lines are short."""

from __future__ import annotations

import argparse
import re
import shlex
from pathlib import Path

import pytest

from inpaintkit.__main__ import make_parser
from inpaintkit.errors import InputError

ROOT = Path(__file__).parents[2]
FOLDERS = ("", "docs/**/", "data/", "data/samples/", "models/perceptual/", "models/released/", "inpaintkit/**/")
PAGES = sorted(page for folder in FOLDERS for page in ROOT.glob(f"{folder}*.md"))
SHOWN = re.compile(r"^ {4}(?:\.venv/bin/)?(inpaintkit (?:.*\\\n)*.*)", re.MULTILINE)
LONGEST = 120


def page_name(page: Path) -> str:
    return page.relative_to(ROOT).as_posix()


def anchors(page: Path) -> set[str]:
    """Return the anchors of a page's headings, as GitHub makes them."""
    heads = re.findall(r"^#+ (.*)$", page.read_text(encoding="utf-8"), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", head.lower()).replace(" ", "-") for head in heads}


@pytest.mark.parametrize("page", PAGES, ids=page_name)
def test_links_lead_somewhere(page: Path) -> None:
    for link in re.findall(r"\]\(([^)\s]+)\)", page.read_text(encoding="utf-8")):
        if link.startswith(("http://", "https://")):
            continue
        file, _, anchor = link.partition("#")
        target = (page.parent / file).resolve() if file else page
        assert target.exists(), f"{link} leads nowhere"
        assert not anchor or anchor in anchors(target), f"{link}: no such heading"


def parse(words: list[str]) -> tuple[object, argparse.Namespace | None]:
    """Return the exit status of the command line's parser, or its error message, and what it parsed."""
    try:
        return 0, make_parser().parse_args(words)
    except SystemExit as stop:
        return stop.code, None
    except InputError as error:
        return error, None


@pytest.mark.parametrize("page", PAGES, ids=page_name)
def test_commands_can_be_typed_as_shown(page: Path) -> None:
    for command in SHOWN.findall(page.read_text(encoding="utf-8")):
        words = shlex.split(command.replace("\\\n", " "), comments=True)[1:]
        status, arguments = parse(words)
        assert status == 0, f"not understood: {command} ({status})"
        for word in words:
            assert not word.startswith("data/samples/") or (ROOT / word).is_file(), f"{word} doesn't exist"
        named = getattr(arguments, "params_file", None)
        assert not named or (ROOT / named).is_file() or (ROOT / "params" / f"{named}.yaml").is_file(), named


@pytest.mark.parametrize("page", PAGES, ids=page_name)
def test_lines_are_short(page: Path) -> None:
    text = re.sub(r"^```.*?^```", "", page.read_text(encoding="utf-8"), flags=re.MULTILINE | re.DOTALL)
    prose = [line for line in text.splitlines() if not line.startswith(("|", "    ", "!", "#", "["))]
    long = [line for line in prose if len(re.sub(r"\]\([^)]*\)", "]", line)) > LONGEST]
    assert not long, f"longer than {LONGEST} characters: {long[0]}"


def rows(table: str) -> dict[str, list[str]]:
    """Return the cells of each row of a Markdown table by the row's name, without bold text."""
    lines = (line.strip("| ").replace("**", "").split(" | ") for line in table.splitlines() if line.startswith("| "))
    return {name: cells for name, *cells in lines}


def test_the_front_page_shows_the_figures_of_the_model_card() -> None:
    card = (ROOT / "models" / "released" / "README.md").read_text(encoding="utf-8")
    front = rows(
        (ROOT / "README.md").read_text(encoding="utf-8").partition("## Where it stands")[2].partition("\n- ")[0]
    )
    for title, first in (("**Photos: ", 0), ("**Scenes: ", 3)):
        exact = rows(card.partition(title)[2].partition("\n| fill | PSNR, 1-2 px")[0])
        for fill in ("row fill", "Telea", "Navier-Stokes", "biharmonic", "released checkpoint"):
            psnr, *others = front[fill][first : first + 3]
            known, *means = exact["this checkpoint" if fill == "released checkpoint" else fill][:3]
            assert psnr == known
            assert [float(figure) for figure in others] == pytest.approx(
                [float(mean.split()[0]) for mean in means], abs=0.00051
            )
