"""Foreign text: it can't break a line, a page, a table or a figure."""

import pytest

from inpaintkit import text

pytestmark = pytest.mark.attack

HOSTILE = [
    "a\nb\r\x1b[31m\x85\u2028c",
    "photo\u202egpj.exe",
    '<img src=x onerror="window.x=1">\'.png',
    "$\\frac$ 5$",
    "|x| `y` [z](javascript:a) ![](http://b)",
    "\udcff.png",
    "x" * 10_000,
    "\x1b" * 10_000,
]


@pytest.mark.parametrize("name", HOSTILE)
def test_any_text_becomes_one_bounded_line_of_printable_characters(name: str) -> None:
    line = text.shown(name)
    assert line.isprintable()
    assert len(line) <= text.LONGEST
    line.encode("utf-8")  # can be written to any file


def test_ordinary_names_stay_as_they_are() -> None:
    assert text.shown("Ü küche 日本 (1).jpg") == "Ü küche 日本 (1).jpg"


@pytest.mark.parametrize("name", HOSTILE)
def test_html_and_markdown_get_no_tags_and_figures_no_formulas(name: str) -> None:
    assert not set("<>\"'") & set(text.html(name))
    assert not set("<>|$") & set(text.markdown(name))
    assert "$" not in text.figure(name).replace(r"\$", "")
