"""Malicious model files: none gets more memory than its own size, and none can forge messages of the kit."""

from __future__ import annotations

import resource
import struct
import zipfile
from pathlib import Path
from typing import Any

import pytest
import torch

from inpaintkit.__main__ import main
from inpaintkit.errors import InputError
from inpaintkit.model import LightInpaintV1, describe_checkpoint, load_model, load_state

pytestmark = pytest.mark.attack

ROOM = 400  # MiB that refusing a file may take at most; each of these files asks for at least 2 GiB


def text(word: str) -> bytes:
    return b"X" + struct.pack("<I", len(word)) + word.encode()


def entry(name: str, value: bytes) -> bytes:
    """Return the pickle of a model's dict without weights, with one more entry."""
    layout = text("nunif_model") + b"K\x01" + text("name") + text(LightInpaintV1.name) + text("kwargs") + b"}"
    return b"\x80\x02}(" + layout + text("state_dict") + b"}" + text(name) + value + b"u."


def lists_of_lists(levels: int) -> bytes:
    """Return a list of ten times a list of ten times ...: a few bytes per level."""
    value = text("lol") + b"q\x01"
    for level in range(1, levels):
        value = b"](" + value + (b"h" + bytes([level])) * 9 + b"eq" + bytes([level + 1])
    return value


def call(name: str, count: int) -> bytes:
    return b"c" + name.replace(".", "\n", 1).encode() + b"\nJ" + struct.pack("<i", count) + b"\x85R"


HOSTILE = {
    "bytes that are asked for": entry("x", call("builtins.bytearray", 2**31 - 1)),
    "numbers that are asked for": entry("x", call("torch.FloatStorage", 2**30)),
    "a tensor that is asked for": entry("x", call("torch.Tensor", 2**30)),
    "the place of a value": entry("x", b"K\x01r" + struct.pack("<I", 2**30)),
    "lists of lists": entry("inpaintkit", b"}" + text("config") + lists_of_lists(30) + b"s"),
    "a date of lists": entry("updated_at", lists_of_lists(30)),
    "deep lists": entry("inpaintkit", b"}" + text("config") + b"]" * 50_000 + b"a" * 49_999 + b"s"),
    "a dict in itself": entry("inpaintkit", b"}q\x00" + text("me") + b"h\x00s"),
}


@pytest.mark.parametrize("kind", HOSTILE)
def test_a_file_allocates_no_more_than_its_own_size(kind: str, tmp_path: Path) -> None:
    path = tmp_path / "m.pth"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("archive/data.pkl", HOSTILE[kind])
        archive.writestr("archive/version", "3\n")
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    for read in (load_model, load_state, describe_checkpoint):
        with pytest.raises(InputError, match=r"refused|damaged"):
            read(path)
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < ROOM << 10


def test_the_format_before_pytorch_1_6_is_refused_unread(tmp_path: Path) -> None:
    """It states how much memory to allocate before a single weight is read."""
    torch.save({"x": torch.ones(3)}, tmp_path / "old.pth", _use_new_zipfile_serialization=False)
    with pytest.raises(InputError, match=r"isn't in the format that PyTorch writes since version 1\.6"):
        load_state(tmp_path / "old.pth")


def test_metadata_of_a_file_never_replaces_what_was_found(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    lies: dict[str, Any] = {"file": "/etc/passwd", "parameters": 3, "problem": "none", "kind": "\x1b[2J"}
    said = {"author\x1b[31m\n": "me\x1b[2J", "long": "x" * 10**6}
    model = LightInpaintV1()
    payload = {"nunif_model": 1, "name": model.name, "kwargs": {}, "state_dict": dict(model.state_dict())}
    torch.save(
        {**payload, "updated_at": "2024", "inpaintkit": {**lies, **said, "updated_at": "1999"}}, tmp_path / "m.pth"
    )
    assert main(["inspect", str(tmp_path / "m.pth")]) == 0
    shown = capsys.readouterr().out
    unwrapped = shown.replace("\n" + " " * 16, " ")
    lines = dict(line.strip().split(": ", 1) for line in unwrapped.splitlines())
    assert (lines["file"], lines["parameters"], lines["updated_at"]) == (str(tmp_path / "m.pth"), "2259888", "2024")
    assert "problem" not in lines
    assert "author\\x1b[31m\\n" in lines
    assert "\x1b" not in shown
    assert len(shown) < 5000
