"""Make text from outside (file names, metadata, other libraries' messages) safe to show.

A file name may contain line breaks that fake a line of a log, marks that reverse the reading direction, escape
sequences that control a terminal, HTML that runs in a notebook, and dollar signs that a figure takes for a formula.
"""

import html as _html
import re
import unicodedata

LONGEST = 200
"""Number of characters of one text from outside that are shown."""

_UNSEEN = {"Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp"}
"""Unicode categories that are invisible, or change how the text around them is shown: controls, formats (with the marks
of reading direction), surrogates, private and unassigned characters, line and paragraph separators."""

_MARKDOWN_ENTITIES = re.compile(r"[<>&|$:@#]")
_MARKDOWN_MARKS = re.compile(r"[\\`*\[\]{}~!]|(?<![^\W_])_|_(?![^\W_])")


def shown(text: object, longest: int = LONGEST) -> str:
    r"""Return `text` as one line of at most `longest` characters, with invisible characters as Python escapes.

    >>> shown("a\nb\u202egnp")
    'a\\nb\\u202egnp'
    """
    line = str(text)
    if len(line) > longest:
        half = (longest - 1) // 2
        line = f"{line[:half]}…{line[-half:]}"
    line = "".join(c.encode("unicode_escape").decode() if unicodedata.category(c) in _UNSEEN else c for c in line)
    return line if len(line) <= longest else f"{line[: longest - 1]}…"


def seen_name(name: str) -> str:
    """Return a file name for comparison as people do it: case, and how accents are composed, make no difference."""
    return unicodedata.normalize("NFC", name).casefold()


def printable(name: str) -> str:
    """Return a file name with bytes that are no text written as ``\\udcff``: manifests and terminals accept only
    text."""
    return name.encode("utf-8", "backslashreplace").decode()


def first_line(error: Exception) -> str:
    """Return the first line of an error's message, or the name of its class if the message is empty.

    >>> first_line(ValueError("no header\\nat byte 7")), first_line(MemoryError())
    ('no header', 'MemoryError')
    """
    return (str(error).strip().splitlines() or [type(error).__name__])[0]


def html(text: object, longest: int = LONGEST) -> str:
    """Return `text` as `shown` does, escaped for HTML, attributes included.

    >>> html("<img src=x onerror='a()'>")
    '&lt;img src=x onerror=&#x27;a()&#x27;&gt;'
    """
    return _html.escape(shown(text, longest))


def markdown(text: object, longest: int = LONGEST) -> str:
    r"""Return `text` as `shown` does, escaped for Markdown, tables included: nothing in it acts as a mark, a link or
    HTML, except the mark of a list at the start of a line.

    >>> markdown("a|<b> *c* d_e")
    'a&#124;&#60;b&#62; \\*c\\* d_e'
    """
    # Entities where a backslash has no effect: tables, formulas, HTML, bare addresses. Marks first: a backslash is one.
    marked = _MARKDOWN_MARKS.sub(r"\\\g<0>", shown(text, longest))
    return _MARKDOWN_ENTITIES.sub(lambda mark: f"&#{ord(mark[0])};", marked)


def figure(text: object, longest: int = LONGEST) -> str:
    r"""Return `text` as `shown` does, escaped for matplotlib: no formulas, and no name that a legend would leave out.

    >>> figure("$5"), figure("_old")
    ('\\$5', ' _old')
    """
    line = shown(text, longest).replace("$", r"\$")
    return f" {line}" if line.startswith("_") else line


def duration(seconds: float) -> str:
    """Return a duration in readable units.

    >>> duration(9.6), duration(75), duration(7325), duration(10**7)
    ('10 s', '1 min 15 s', '2 h 2 min', '116 days')
    """
    whole = round(seconds)
    minutes = whole // 60
    if whole < 60:
        return f"{whole} s"
    if minutes < 60:
        return f"{minutes} min {whole % 60} s"
    return f"{minutes // 60} h {minutes % 60} min" if minutes < 2 * 1440 else f"{minutes / 1440:.0f} days"


def count_of(number: int, noun: str) -> str:
    """Return ``1 record``, ``2 records``."""
    return f"{number} {noun}{'' if number == 1 else 's'}"
