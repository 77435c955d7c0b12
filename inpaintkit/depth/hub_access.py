"""Asking once, and not for long, whether a model hub can be reached, and saying clearly that it can't."""

from __future__ import annotations

import threading
import urllib.error
import urllib.request

from inpaintkit.errors import InputError

TIMEOUT = 4.0  # seconds for the connection
NAME_LOOKUP_TIMEOUT = 7.0  # seconds in all: looking up a host's name knows no timeout of its own


def is_reachable(url: str) -> bool:
    """Return True if a web server answers at `url`, whatever it says, within some seconds; proxies are honoured."""
    answers: list[bool] = []

    def ask() -> None:
        try:
            with urllib.request.urlopen(urllib.request.Request(url, method="HEAD"), timeout=TIMEOUT):
                answers.append(True)
        except urllib.error.HTTPError:
            answers.append(True)
        except (OSError, ValueError):
            answers.append(False)

    thread = threading.Thread(target=ask, daemon=True)
    thread.start()
    thread.join(NAME_LOOKUP_TIMEOUT)
    return bool(answers and answers[0])


def load_failure(name: str, tried: str, reason: str, local_choice: str) -> InputError:
    """Return the error for a model that can't be had: what was tried, why it failed and what else there is."""
    return InputError(
        f"{name}: tried {tried}, but {reason}; {local_choice}, "
        "or work offline with model_type=FastDepth (shipped) or model_type=File (depth maps beside the pictures)"
    )
