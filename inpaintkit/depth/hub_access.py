"""Check within seconds whether a model hub can be reached, and report clearly if it can't."""

import subprocess
import sys
import time
import zipfile
from collections.abc import Iterable
from pathlib import Path

from safetensors import SafetensorError, safe_open

from inpaintkit.errors import InputError

LIMIT = 5.0  # seconds in all, because looking up a host name has no timeout of its own


REQUEST_SCRIPT = """
import sys, urllib.error, urllib.request
try:
    urllib.request.urlopen(urllib.request.Request(sys.argv[1], method="HEAD"), timeout=float(sys.argv[2]))
except urllib.error.HTTPError:
    pass
except (OSError, ValueError):
    sys.exit(1)
"""


def reachable(urls: Iterable[str], limit: float = LIMIT) -> dict[str, bool]:
    """Return for each URL whether a web server answers within `limit` seconds, with any status; proxies are honoured.

    Each request runs in a process of its own, which can be killed. A thread can't, and a thread in the middle of TLS
    crashes a program that exits meanwhile.
    """
    deadline = time.monotonic() + limit
    processes = {
        url: subprocess.Popen([sys.executable, "-I", "-c", REQUEST_SCRIPT, url, str(limit)], stderr=subprocess.DEVNULL)
        for url in urls
    }
    return {url: _answered(process, deadline) for url, process in processes.items()}


def _answered(process: subprocess.Popen[bytes], deadline: float) -> bool:
    try:
        return process.wait(max(0.0, deadline - time.monotonic())) == 0
    except subprocess.TimeoutExpired:
        return False
    finally:
        process.kill()
        process.wait()


def is_reachable(url: str) -> bool:
    """Return `reachable` for one URL."""
    return reachable([url])[url]


def is_whole(path: Path) -> bool:
    """Return True if the weights file `path` exists and its structure is complete; doesn't read the weights."""
    if path.suffix in (".pt", ".pth"):
        return zipfile.is_zipfile(path)
    try:
        with safe_open(path, "pt"):
            return True
    except (OSError, SafetensorError):
        return False


def load_failure(name: str, tried: str, reason: str, local_choice: str) -> InputError:
    """Return the error for a model that can't be loaded: what was tried, why it failed and the alternatives."""
    return InputError(
        f"{name}: tried {tried}, but {reason}; {local_choice}, "
        "or work offline with model_type=FastDepth (shipped) or model_type=File (depth maps beside the pictures)"
    )
