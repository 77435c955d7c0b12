"""nbformat without the two seconds of processor that its check of notebooks takes to load where jupyterlab is installed."""

import sys

GRAMMAR = "rfc3987_syntax"
"""A package that jsonschema finds there. It builds a grammar of international web addresses, which no notebook is checked for."""


def load_nbformat() -> None:
    """Import nbformat, and with it jsonschema, as where that package isn't installed; to be called before anything else imports them."""
    if GRAMMAR in sys.modules:
        return
    sys.modules[GRAMMAR] = None  # type: ignore[assignment]
    try:
        import nbformat  # noqa: F401
    finally:
        del sys.modules[GRAMMAR]  # others may want it
