"""The doctor reports what this machine has, without waiting long for any server."""

import re
import socket
import time
from pathlib import Path

import pytest

from inpaintkit.depth import DEPTH_MODELS
from inpaintkit.notebook.doctor import report


def test_it_names_what_decides_whether_and_how_fast_the_kit_works(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("inpaintkit.__file__", str(tmp_path / "inpaintkit" / "__init__.py"))  # a wheel has no notebooks
    text = report()
    assert f"GB free in {tmp_path}" in text
    for word in ("torch", "GFLOP/s", "amp=auto means", "GB free", "vgg", "FastDepth", "Any_B", "ZoeD_Any_N"):
        assert word in text


def test_it_lists_every_depth_model_and_hardly_waits_for_a_network_that_never_answers(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def swallow(connection: socket.socket, address: object) -> None:
        time.sleep(connection.gettimeout() or 130)
        raise TimeoutError

    monkeypatch.setattr(socket, "getaddrinfo", lambda host, port, *_, **__: [(2, 1, 6, "", ("192.0.2.1", port))] * 3)
    monkeypatch.setattr(socket.socket, "connect", swallow)
    started = time.monotonic()
    text = report()
    assert time.monotonic() - started < 8
    groups = re.findall(r"^  (\S.*)\n((?: {6}.*\n?)+)", text.partition("depth models\n")[2], re.MULTILINE)
    states = {name: state for state, names in groups for name in re.findall(r"\w+", names)}
    assert set(states) == set(DEPTH_MODELS)
    assert "ready" in states["FastDepth"]
    assert "no answer from" in states["ZoeD_N"] or "ready: downloaded" in states["ZoeD_N"]
    assert len(text.splitlines()) < 50, "what many models share is said once"
