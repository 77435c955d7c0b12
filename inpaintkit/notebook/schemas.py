"""nbformat without the two seconds of processor that its check of notebooks takes to load where jupyterlab is installed.

jsonschema then finds a package that builds a grammar of international web addresses, which no notebook is checked for.
"""

import sys

GRAMMAR = "rfc3987_syntax"

if GRAMMAR not in sys.modules:
    sys.modules[GRAMMAR] = None  # type: ignore[assignment]  # an import fails as where it isn't installed
    import nbformat  # noqa: F401

    del sys.modules[GRAMMAR]  # others may want it
