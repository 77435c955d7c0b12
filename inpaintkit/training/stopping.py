"""Stop signals: SIGTERM and SIGINT as a polite request to finish the step, save and stop."""

from __future__ import annotations

import contextlib
import signal
import threading
from collections.abc import Callable, Iterator


class StopRequest:
    """Set by SIGTERM or SIGINT; the trainer finishes its step, saves and stops."""

    def __init__(self) -> None:
        self.signal: int | None = None


@contextlib.contextmanager
def catch_stop_signals(tell: Callable[[int], None] | None = None) -> Iterator[StopRequest]:
    """Turn SIGTERM and SIGINT into a polite request for the time of the context (main thread only).

    `tell` hears each signal's number before the request is set; what it raises ends the context.
    """
    request = StopRequest()
    if threading.current_thread() is not threading.main_thread():
        yield request
        return

    def ask(number: int, frame: object) -> None:
        if tell is not None:
            tell(number)
        request.signal = number

    previous = {number: signal.signal(number, ask) for number in (signal.SIGTERM, signal.SIGINT)}
    try:
        yield request
    finally:
        for number, handler in previous.items():
            signal.signal(number, handler)
