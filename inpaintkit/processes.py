"""Child processes: started together, followed line by line, which may be messages; none outlives the one that started them."""

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
THREADS_VARIABLES = "OMP_NUM_THREADS", "OPENCV_FOR_THREADS_NUM"  # torch and NumPy go by the first
MARK = "inpaintkit"
"""What a line of output that is a message begins with, as JSON."""


class Child(subprocess.Popen[str]):
    """A Python process that finds this package and ends with the context; `tail`: for whoever follows it to note its last lines in."""

    def __init__(self, arguments: Sequence[str], threads: int, environment: Mapping[str, str]) -> None:
        """Start ``python ARGUMENTS`` with so many threads, unless the user has set their number, and with `environment`."""
        places = (str(Path(__file__).parents[1]), os.environ.get("PYTHONPATH"))
        own = {"PYTHONPATH": os.pathsep.join(filter(None, places)), "PYTHONUNBUFFERED": "1", **environment}
        super().__init__(
            [sys.executable, *arguments],
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            errors="backslashreplace",  # libraries print names as they are, and those may be no text
            env={**dict.fromkeys(THREADS_VARIABLES, str(threads)), **os.environ, **own},
            start_new_session=True,  # an interrupt must reach the one that started it alone, which then ends it
        )
        self.tail: deque[str] = deque(maxlen=TAIL_LINES)

    def __exit__(self, *error: Any) -> None:
        if self.poll() is None:
            self.terminate()
            self.wait()
        super().__exit__(*error)


def follow(children: Sequence[Child], look: Callable[[], None] | None = None) -> Iterator[tuple[int, str | None]]:
    """Yield (number, line) of what `children` say, as it comes, and (number, None) when one of them has ended.

    `look` is called after each of these, and every `LOOK_SECONDS` in which nothing comes.
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
    """Tell the process that started this one, as a line of output that `told` understands."""
    # in one piece with its end: other processes write there, too
    print(json.dumps({MARK: said}) + "\n", end="", flush=True)


def told(line: str) -> dict[str, Any] | None:
    """Return what a child has told by `tell_parent`, None for a line that it or a library just printed."""
    if line.startswith(f'{{"{MARK}": '):
        with contextlib.suppress(ValueError):  # lines of several children that became one
            message: dict[str, Any] = json.loads(line)[MARK]
            return message
    return None
