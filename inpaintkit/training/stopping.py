"""When a run stops or saves: stop signals as requests, time limits, and the time of the next checkpoint."""

import atexit
import contextlib
import os
import signal
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass

STOP_SIGNALS = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)
PARENT_VARIABLE = "INPAINTKIT_PARENT"
"""Environment variable with the process ID of the parent; once the parent has ended, the training stops."""

ASKED_SIGNAL = signal.SIGUSR1
"""Signal by which the parent passes on that a user asked the training to stop."""

LOOK_SECONDS = 1.0


@dataclass
class StopRequest:
    """Request to stop; a training stops after its next update, once it is saved.

    `signal` is the number of the signal that asked for it; `asked` is set by a button, from any thread.
    """

    signal: int | None = None
    asked: bool = False


@contextlib.contextmanager
def catch_stop_signals(
    request: StopRequest | None = None, tell: Callable[[int], None] | None = None
) -> Iterator[StopRequest]:
    """Within the context, turn SIGTERM, SIGINT and SIGHUP into a `request` to stop (main thread only).

    `tell` is called with each signal's number before the request is set; an exception in it ends the context.
    """
    request = StopRequest() if request is None else request
    if threading.current_thread() is not threading.main_thread():
        yield request
        return

    def ask(number: int, frame: object) -> None:
        if tell is not None:
            tell(number)
        request.signal = number

    previous = {number: signal.signal(number, ask) for number in STOP_SIGNALS}
    try:
        yield request
    finally:
        for number, handler in previous.items():
            signal.signal(number, handler)


class Timer:
    """Clocks of a run: the time since its start, and since its last checkpoint."""

    def __init__(self, max_seconds: float | None, checkpoint_seconds: float) -> None:
        self.max_seconds, self.checkpoint_seconds = max_seconds, checkpoint_seconds
        self.start()

    def start(self) -> None:
        self.started = self.saved_at = time.monotonic()

    @property
    def seconds(self) -> float:
        return time.monotonic() - self.started

    @property
    def time_up(self) -> bool:
        """Whether `max_seconds` have passed."""
        return self.max_seconds is not None and self.seconds >= self.max_seconds

    @property
    def save_due(self) -> bool:
        """Whether the last checkpoint is `checkpoint_seconds` old."""
        return time.monotonic() - self.saved_at >= self.checkpoint_seconds

    def saved(self) -> None:
        self.saved_at = time.monotonic()


def obey_parent(request: StopRequest) -> None:
    """Let the parent process set `request` by `ASKED_SIGNAL`, and stop this process when the parent has ended.

    Does nothing if `PARENT_VARIABLE` isn't set.
    """
    parent = os.environ.get(PARENT_VARIABLE)
    if parent is None:
        return

    def ask(number: int, frame: object) -> None:
        request.asked = True

    signal.signal(ASKED_SIGNAL, ask)
    ending = threading.Event()

    def watch() -> None:
        try:
            while not ending.wait(LOOK_SECONDS):
                with contextlib.suppress(PermissionError):  # it belongs to another user
                    os.kill(int(parent), 0)
        except ProcessLookupError:
            os.kill(os.getpid(), signal.SIGTERM)

    def end() -> None:
        ending.set()
        thread.join()

    thread = threading.Thread(target=watch, daemon=True, name="watch parent")
    thread.start()
    # a daemon thread that is still running when Python exits sometimes aborts the whole process (SIGABRT)
    atexit.register(end)
