"""Start child processes and read their output line by line, messages included; each ends with its context."""

import contextlib
import json
import os
import queue
import subprocess
import sys
import threading
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

TAIL_LINES = 20
LOOK_SECONDS = 0.5
THREADS_VARIABLES = "OMP_NUM_THREADS", "OPENCV_FOR_THREADS_NUM"  # torch and NumPy read the first
MARK = "inpaintkit"
"""Key of a message: a line of output is a message if it is a JSON object that begins with this key."""


class Child(subprocess.Popen[str]):
    """Python process that can import this package and is terminated at the end of its context.

    `tail` is a place for the caller to keep the last lines of its output.
    """

    def __init__(self, arguments: Sequence[str], threads: int, environment: Mapping[str, str]) -> None:
        """Start ``python ARGUMENTS`` with `environment`, and with `threads` threads unless the user has set their
        number."""
        places = (str(Path(__file__).parents[1]), os.environ.get("PYTHONPATH"))
        own = {"PYTHONPATH": os.pathsep.join(filter(None, places)), "PYTHONUNBUFFERED": "1", **environment}
        super().__init__(
            [sys.executable, *arguments],
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            errors="backslashreplace",  # libraries print file names as they are, and those may not be valid text
            env={**dict.fromkeys(THREADS_VARIABLES, str(threads)), **os.environ, **own},
            start_new_session=True,  # an interrupt must reach only the parent, which then ends its children
        )
        self.tail: deque[str] = deque(maxlen=TAIL_LINES)

    def __exit__(self, *error: Any) -> None:
        if self.poll() is None:
            self.terminate()
            self.wait()
        super().__exit__(*error)


def follow(children: Sequence[Child], look: Callable[[], None] | None = None) -> Iterator[tuple[int, str | None]]:
    """Yield (number, line) for each line that one of `children` prints, and (number, None) when one has ended.

    `look` is called after each of these, and whenever no line has arrived for `LOOK_SECONDS`.
    """
    said: queue.Queue[tuple[int, str | None]] = queue.Queue()

    def read(number: int, child: Child) -> None:
        assert child.stdout is not None
        for line in child.stdout:
            said.put((number, line.rstrip("\n")))
        said.put((number, None))

    for number, child in enumerate(children):
        threading.Thread(target=read, args=(number, child), daemon=True).start()
    running = len(children)
    while running:
        with contextlib.suppress(queue.Empty):
            number, line = said.get(timeout=LOOK_SECONDS)
            running -= line is None
            yield number, line
        if look is not None:
            look()


def tell_parent(**said: object) -> None:
    """Send a message to the parent process, as a line of output that `told` can parse."""
    # text and newline in one write: other processes write to the same stream
    print(json.dumps({MARK: said}) + "\n", end="", flush=True)


def told(line: str) -> dict[str, Any] | None:
    """Return the message of a line that a child sent with `tell_parent`; None for ordinary output."""
    if line.startswith(f'{{"{MARK}": '):
        with contextlib.suppress(ValueError):  # lines of several processes may have run together
            message: dict[str, Any] = json.loads(line)[MARK]
            return message
    return None
