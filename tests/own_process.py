"""Real processes for tests, at the price of a fork: one server has imported torch and the kit for all of them.

A fresh Python spends three seconds of processor time on torch and its compiler, which every optimiser loads.
"""

from __future__ import annotations

import multiprocessing
import os
import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

# The first start of the server decides what it has imported, so all tests leave that to this list.
PRELOADED = ["inpaintkit.data.generate", "inpaintkit.training", "torch._dynamo"]

context = multiprocessing.get_context("forkserver")
context.set_forkserver_preload(PRELOADED)


class OwnProcess:
    """A call of `function` in a process of its own; `said` is what it writes to its standard error."""

    def __init__(
        self,
        function: Callable[..., None],
        *args: Any,
        environment: Mapping[str, str] | None = None,
        leads: bool = False,
    ) -> None:
        """Start it; `leads`: it leads a process group of its own, like one started by a shell or a batch system."""
        handle, name = tempfile.mkstemp(prefix="said")
        os.close(handle)
        self._file = Path(name)
        self._process = context.Process(target=_call, args=(name, dict(environment or {}), leads, function, args))
        self._process.start()

    def wait(self, seconds: float) -> tuple[int, str]:
        """Return its exit status, negative for a signal that ended it, and its standard error."""
        self._process.join(seconds)
        status, said = self._process.exitcode, self._file.read_text()
        self._process.kill()
        self._file.unlink()
        assert status is not None, f"it took more than {seconds} s and said: {said}"
        return status, said


def _call(
    name: str, environment: dict[str, str], leads: bool, function: Callable[..., None], args: tuple[Any, ...]
) -> None:
    os.environ.update(environment)
    if leads:
        os.setsid()
    with open(name, "w") as file:
        os.dup2(file.fileno(), 2)
    function(*args)
