"""The contrast measure that the notebooks' test uses, on a page with known contrasts."""

from __future__ import annotations

from pathlib import Path

import pytest

pytest.importorskip("playwright", reason="playwright is not installed; pip install playwright")

from lab import PALE_TEXTS, find_browser, open_browser

PAGE = """<body style="background:#111"><div class="jp-Cell-outputArea" style="color:white">
<p>white on #111: 18.9</p>
<p style="color:#767676;background:white">grey on white: 4.54</p>
<p style="color:#777;background:white">grey on white: 4.48</p>
<p style="color:rgba(255,255,255,0.3)">pale</p>
<p style="color:#111">invisible</p>
<select style="color:#444;background:#333"><option>no</option></select>
</div></body>"""
HIGHEST = 21.0


@pytest.mark.slow
@pytest.mark.skipif(find_browser() is None, reason="no Chromium here; on Debian: apt-get install chromium")
def test_pale_texts_are_found(tmp_path: Path) -> None:
    with open_browser(tmp_path / "profile") as browser:
        page = browser.new_page()
        page.set_content(PAGE)
        count, pale = page.evaluate(PALE_TEXTS, 4.5)
        assert [text for _, _, text in pale][:3] == ["grey on white: 4.48", "pale", "invisible"]
        assert [tag for _, tag, _ in pale][3] == "SELECT"
        assert pale[0][0] == pytest.approx(4.48, abs=0.01)
        assert pale[2][0] == pytest.approx(1.0)
        assert len(page.evaluate(PALE_TEXTS, HIGHEST + 1)[1]) == count, "each has a contrast, none is NaN"
