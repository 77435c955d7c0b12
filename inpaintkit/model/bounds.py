"""Check what a model file asks for before it is loaded: only calls that build weights, and no more values than bytes.

PyTorch's safe reader runs no code, but it allocates whatever size a file asks for. And lists that each hold the next
one ten times, forty levels deep, take a few bytes in a file and never end when printed in a message.
"""

import io
import pickle
import pickletools
from collections.abc import Mapping
from typing import Any

import torch

SMALLEST_LIMIT = 10_000  # values that any file may hold
DEEPEST = 100  # containers inside one another; a training state has 8
LETTERS_PER_VALUE = 64  # a text counts as one value, plus one for every so many characters

BUILDERS = {
    "collections.OrderedDict",
    "torch.Size",
    "torch.device",
    "torch.serialization._get_layout",
    "torch._utils._rebuild_tensor_v2",
    "torch._utils._rebuild_parameter",
    "torch._utils._rebuild_sparse_tensor",
    "torch._utils._rebuild_meta_tensor_no_storage",
}
"""What PyTorch calls to build a file's tensors. Some of what else it allows allocates a size given in the file."""


class _Stub(dict[Any, Any]):
    """Stand-in for what a builder returns: it takes items and attributes, and holds no more than the file gave it."""

    def __init__(self, *arguments: object) -> None:
        super().__init__()


class _DryRunUnpickler(pickle.Unpickler):
    """An unpickler that builds nothing.

    It finds only `BUILDERS`, as stubs, and storage types and dtypes, as strings, which can't be called.
    """

    def find_class(self, module: str, name: str) -> Any:
        found = f"{module}.{name}"
        if found in BUILDERS:
            return _Stub
        if module == "torch.storage" or isinstance(getattr(torch, name, None), torch.dtype) or name.endswith("Storage"):
            return found  # a string, so that calling it raises an error
        raise pickle.UnpicklingError(found)

    def persistent_load(self, name: Any) -> Any:
        return None


def check_pickle(data: bytes) -> None:
    """Raise `pickle.UnpicklingError` if the pickle `data` asks for anything but plain values and weights."""
    try:
        for code, argument, _ in pickletools.genops(data):
            # the reader allocates its memo up to the largest index in the file
            if "PUT" in code.name and int(argument or 0) > len(data):
                raise pickle.UnpicklingError("place")
        _DryRunUnpickler(io.BytesIO(data)).load()
    except pickle.UnpicklingError:
        raise
    except Exception as error:
        # A damaged file can make the reader fail in any way.
        raise pickle.UnpicklingError(type(error).__name__) from None


def require_bounded(content: Any, size: int) -> None:
    """Raise `ValueError` if `content`, read from `size` bytes, is nested too deep or holds more values than bytes.

    `SMALLEST_LIMIT` values are allowed in any case.
    """
    _count(content, max(size, SMALLEST_LIMIT), DEEPEST)


def _count(value: Any, left: int, depth: int) -> int:
    """Return how many of `left` allowed values remain after counting `value` and what is in it."""
    if depth == 0:
        raise ValueError(f"it is nested deeper than {DEEPEST} levels")
    left -= 1
    if isinstance(value, str | bytes):
        left -= len(value) // LETTERS_PER_VALUE
    elif isinstance(value, Mapping):
        for key, item in value.items():
            left = _count(item, _count(key, left, depth - 1), depth - 1)
    elif isinstance(value, list | tuple | set | frozenset):
        for item in value:
            left = _count(item, left, depth - 1)
    if left < 0:
        raise ValueError("it unfolds to more values than it has bytes")
    return left
