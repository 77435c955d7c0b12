"""Asking once, and not for long, whether a model hub can be reached, and saying clearly that it can't."""

import threading
import time
import urllib.error
import urllib.request
import zipfile
from collections.abc import Iterable
from pathlib import Path

from safetensors import SafetensorError, safe_open

from inpaintkit.errors import InputError

LIMIT = 5.0  # seconds in all: looking up a host's name knows no timeout of its own


def reachable(urls: Iterable[str], limit: float = LIMIT) -> dict[str, bool]:
    """Return for each URL whether a web server answers there, whatever it says, within `limit` seconds; proxies are honoured."""
    answers = dict.fromkeys(urls, False)

    def ask(url: str) -> None:
        try:
            with urllib.request.urlopen(urllib.request.Request(url, method="HEAD"), timeout=limit):
                answers[url] = True
        except urllib.error.HTTPError:
            answers[url] = True
        except (OSError, ValueError):
            pass

    threads = [threading.Thread(target=ask, args=(url,), daemon=True) for url in answers]
    ends = time.monotonic() + limit
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(max(0.0, ends - time.monotonic()))
    return dict(answers)


def is_reachable(url: str) -> bool:
    """Return `reachable` for one URL."""
    return reachable([url])[url]


def is_whole(path: Path) -> bool:
    """Return True if the weights file `path` is there and, judged by its outline, complete; reads no weights."""
    if path.suffix in (".pt", ".pth"):
        return zipfile.is_zipfile(path)
    try:
        with safe_open(path, "pt"):
            return True
    except (OSError, SafetensorError):
        return False


def load_failure(name: str, tried: str, reason: str, local_choice: str) -> InputError:
    """Return the error for a model that can't be had: what was tried, why it failed and what else there is."""
    return InputError(
        f"{name}: tried {tried}, but {reason}; {local_choice}, "
        "or work offline with model_type=FastDepth (shipped) or model_type=File (depth maps beside the pictures)"
    )
