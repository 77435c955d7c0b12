"""When a run pauses: stop signals as a polite request, time limits, and the time of the next checkpoint."""

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
"""Environment variable: number of the process without which this one has nobody to train for."""

ASKED_SIGNAL = signal.SIGUSR1
"""By which that process passes on that a person asked it to stop."""

LOOK_SECONDS = 1.0


@dataclass
class StopRequest:
    """A polite request to finish the step, save and stop: by a `signal`, or `asked` for by a button (any thread may)."""

    signal: int | None = None
    asked: bool = False


@contextlib.contextmanager
def catch_stop_signals(
    request: StopRequest | None = None, tell: Callable[[int], None] | None = None
) -> Iterator[StopRequest]:
    """Turn SIGTERM, SIGINT and SIGHUP into a polite `request` for the time of the context (main thread only).

    `tell` hears each signal's number before the request is set; what it raises ends the context.
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
    """The clocks of a run: how long it lasts, and when it was saved last."""

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


def heed_parent(request: StopRequest) -> None:
    """Let the process that `PARENT_VARIABLE` names set `request` by `ASKED_SIGNAL`, and stop when it is gone; nothing if it names none."""
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
                with contextlib.suppress(PermissionError):  # it is another user's
                    os.kill(int(parent), 0)
        except ProcessLookupError:
            os.kill(os.getpid(), signal.SIGTERM)

    def end() -> None:
        ending.set()
        thread.join()

    thread = threading.Thread(target=watch, daemon=True, name="watch parent")
    thread.start()
    # a daemon thread that Python itself stops at the end now and then takes the whole process along (SIGABRT)
    atexit.register(end)
