"""Text that came from outside (file names, metadata, other libraries' messages), made safe to be shown.

Whoever names a file can write line breaks that fake a line of a log, marks that turn the reading direction, escape sequences
that steer a terminal, HTML that runs in a notebook, and dollar signs that a figure takes for a formula.
"""

import html as _html
import re
import unicodedata

LONGEST = 200
"""Characters of one foreign text that are shown."""

_UNSEEN = {"Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp"}
"""Unicode categories that show nothing, or change how what surrounds them is shown: controls, formats (marks of reading direction
among them), surrogates, private and unassigned characters, line and paragraph separators."""

_MARKDOWN_ENTITIES = re.compile(r"[<>&|$:@#]")
_MARKDOWN_MARKS = re.compile(r"[\\`*\[\]{}~!]|(?<![^\W_])_|_(?![^\W_])")


def shown(text: object, longest: int = LONGEST) -> str:
    r"""Return `text` as one line of at most `longest` characters; what can't be seen is written as Python escapes it.

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
    """Return a file's name as people compare it: case, and how its accents are composed, make no difference."""
    return unicodedata.normalize("NFC", name).casefold()


def printable(name: str) -> str:
    """Return a file's name, with bytes that are no text as ``\\udcff``: manifests and terminals only take text."""
    return name.encode("utf-8", "backslashreplace").decode()


def first_line(error: Exception) -> str:
    """Return the first line of what an error says, or of what kind it is where it says nothing.

    >>> first_line(ValueError("no header\\nat byte 7")), first_line(MemoryError())
    ('no header', 'MemoryError')
    """
    return (str(error).strip().splitlines() or [type(error).__name__])[0]


def html(text: object, longest: int = LONGEST) -> str:
    """Return `text` as `shown` does, to stand in HTML, in an attribute as well.

    >>> html("<img src=x onerror='a()'>")
    '&lt;img src=x onerror=&#x27;a()&#x27;&gt;'
    """
    return _html.escape(shown(text, longest))


def markdown(text: object, longest: int = LONGEST) -> str:
    r"""Return `text` as `shown` does, to stand in Markdown, in a table as well: nothing in it is a mark, a link or HTML.

    >>> markdown("a|<b> *c* d_e")
    'a&#124;&#60;b&#62; \\*c\\* d_e'
    """
    # Entities where a backslash doesn't reach: tables, formulas, HTML, bare addresses. Marks first: a backslash is one.
    marked = _MARKDOWN_MARKS.sub(r"\\\g<0>", shown(text, longest))
    return _MARKDOWN_ENTITIES.sub(lambda mark: f"&#{ord(mark[0])};", marked)


def figure(text: object, longest: int = LONGEST) -> str:
    r"""Return `text` as `shown` does, to stand in a matplotlib figure: no formulas, and no name that a legend leaves out.

    >>> figure("$5"), figure("_old")
    ('\\$5', ' _old')
    """
    line = shown(text, longest).replace("$", r"\$")
    return f" {line}" if line.startswith("_") else line


def duration(seconds: float) -> str:
    """Return a time in the words of people.

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
