"""Import nbformat fast: where jupyterlab is installed, its check of notebooks would take two seconds to load."""

import sys

GRAMMAR = "rfc3987_syntax"
"""A package that jsonschema uses if it is installed. It builds a grammar of international web addresses, for which
notebooks aren't checked."""


def load_nbformat() -> None:
    """Import nbformat, and with it jsonschema, as if `GRAMMAR` weren't installed.

    Must be called before anything else imports them.
    """
    if GRAMMAR in sys.modules:
        return
    sys.modules[GRAMMAR] = None  # type: ignore[assignment]
    try:
        import nbformat  # noqa: F401
    finally:
        del sys.modules[GRAMMAR]  # other code may use it
