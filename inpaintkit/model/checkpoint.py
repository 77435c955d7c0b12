"""Write model files that iw3 loads, and read model files without ever running code that they may hold.

Layout of a best-model file (nagadomi/nunif's): ``torch.save`` of one dict with ``nunif_model``, ``name``,
``updated_at``, ``kwargs``, ``train_kwargs`` and ``state_dict``. What inpaintkit adds lies under one further key,
``inpaintkit``. A training state (``.checkpoint.pth``) is the same dict plus the state of optimisers, schedulers and so
on.
"""

import io
import itertools
import json
import pickle
import warnings
import zipfile
from collections import OrderedDict
from collections.abc import Iterable, Mapping
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor

from inpaintkit.errors import InputError
from inpaintkit.files import atomic_path
from inpaintkit.model.bounds import check_pickle, require_bounded
from inpaintkit.model.generator import LightInpaintV1
from inpaintkit.text import first_line, shown

VIDEO_MODEL = "inpaint.light_video_inpaint_v1"
EXTRA_KEY = "inpaintkit"
FACTS = ("updated_at", "train_kwargs", "last_epoch", "best_loss")
ZIP_MAGIC = b"PK\x03\x04"
UNSAFE = (
    "refused, because it holds Python objects other than weights, which could run code when opened, or is damaged; get a "
    "model file saved by iw3 or inpaintkit from a source that you trust"
)
SAFETENSORS_HEADER_AT = 8
PLAIN_TYPES = (str, int, float, bool, type(None))
SHOWN_KEYS, SHOWN_LETTERS = 3, 60

Meta = dict[str, Any]


def save_model(model: LightInpaintV1, path: str | Path, **meta: Any) -> Path:
    """Write a best-model file, atomically; iw3 loads it as it is.

    Args:
        model: its weights are stored as float32, whatever their dtype.
        path: file to write, usually ``inpaint.light_inpaint_v1.pth``; missing folders are made.
        meta: how the model came to be: plain strings, numbers, lists, dicts. `load_model` returns it.

    Raises:
        InputError: when the file can't be written or a weight isn't finite.
        TypeError: when `meta` holds anything else.
    """
    payload = {**_layout(model, torch.float32), EXTRA_KEY: meta}
    _require_plain(meta, "meta", tensors=False)
    problem = _weight_problem(payload["state_dict"])
    if problem:
        raise InputError(f"{path}: not written, because {problem}; go back to an earlier checkpoint")
    return _write(payload, path)


def save_state(model: LightInpaintV1, path: str | Path, payload: Mapping[str, Any]) -> Path:
    """Write a full training state, atomically, in the layout of iw3's ``.checkpoint.pth``; `load_model` reads it too.

    Args:
        model: provides name and weights; a ``state_dict`` in `payload` replaces its weights.
        path: file to write.
        payload: tensors, strings, numbers, None, lists, tuples and string- or int-keyed dicts of them.

    Raises:
        InputError: when the file can't be written.
        TypeError: when `payload` holds anything that couldn't be loaded safely.
    """
    _require_plain(payload, "payload", tensors=True)
    return _write({**_layout(model, None), **payload}, path)


def load_state(path: str | Path) -> dict[str, Any]:
    """Return the dict of a ``.checkpoint.pth`` file, tensors on the CPU; raise `InputError` for any bad file."""
    return _read_pickle(*_read_start(path))


def load_model(path: str | Path) -> tuple[LightInpaintV1, Meta]:
    """Read a generator from a file of inpaintkit or iw3 (best model or ``.checkpoint.pth``) or from safetensors.

    Returns:
        the model in eval mode, float32, on the CPU; and the file's metadata: ``updated_at``, ``train_kwargs``,
        ``last_epoch``, ``best_loss`` where known, and the `meta` given to `save_model`.

    Raises:
        InputError: for every kind of file that isn't such a model, with the reason. Code in the file is never run.
    """
    payload = read_checkpoint(path)
    model = LightInpaintV1()
    problem = _model_problem(payload, model)
    if problem:
        raise InputError(f"{path}: {problem}")
    model.load_state_dict(payload["state_dict"])
    return model.eval(), _meta(payload)


def describe_checkpoint(path: str | Path) -> dict[str, Any]:
    """Describe a model file: architecture, parameters, dtype, when and how trained, and whether it can be used.

    Unlike `load_model` it also describes models that inpaintkit can't use; ``problem`` (absent when there is none) says
    why.

    Raises:
        InputError: when the file isn't a model file at all.
    """
    payload = read_checkpoint(path)
    tensors = [value for value in payload["state_dict"].values() if isinstance(value, Tensor)]
    facts = {
        "file": str(path),
        "architecture": shown(payload["name"], SHOWN_LETTERS),
        "parameters": sum(tensor.numel() for tensor in tensors),
        "dtype": ", ".join(sorted({str(tensor.dtype).removeprefix("torch.") for tensor in tensors})),
        "kind": "full state" if "optimizer_state_dict" in payload else "model",
    }
    problem = _model_problem(payload, LightInpaintV1())
    # The file's own metadata complement what was found in it, but never replace it.
    said = {name: value for name, value in _meta(payload).items() if name not in (*facts, "problem")}
    return facts | said | ({} if problem is None else {"problem": problem})


def read_checkpoint(path: str | Path) -> dict[str, Any]:
    """Return the dict of a model file in nunif's layout (safetensors are converted to it); weights are not checked.

    Raises:
        InputError: when the file is missing, damaged, unsafe or of another kind.
    """
    file, start = _read_start(path)
    is_safetensors = file.suffix == ".safetensors" or start[SAFETENSORS_HEADER_AT:] == b"{"
    payload = _read_safetensors(file) if is_safetensors else _read_pickle(file, start)
    expected = {"nunif_model": object, "name": str, "kwargs": dict, "state_dict": dict}
    for key, kind in expected.items():
        if not isinstance(payload.get(key), kind):
            raise InputError(
                f"{path}: it is not an iw3 or inpaintkit model, because its entry {key!r} is missing or wrong; "
                "choose a file such as inpaint.light_inpaint_v1.pth"
            )
    return payload


def now() -> str:
    """Return the current time as model files store it, in UTC and to the second."""
    return str(datetime.now(timezone.utc).replace(microsecond=0))


def _layout(model: LightInpaintV1, dtype: torch.dtype | None) -> dict[str, Any]:
    weights = ((name, tensor.detach().to("cpu", dtype)) for name, tensor in model.state_dict().items())
    return {
        "nunif_model": 1,
        "name": model.name,
        "updated_at": now(),
        "kwargs": {},
        "train_kwargs": None,
        "state_dict": OrderedDict(weights),
    }


def _write(payload: Mapping[str, Any], path: str | Path) -> Path:
    # Through memory, because torch's own file writer turns a full disk into a RuntimeError without errno.
    buffer = io.BytesIO()
    torch.save(payload, buffer)
    with atomic_path(path) as temporary:
        temporary.write_bytes(buffer.getvalue())
    return Path(path)


def _require_plain(value: Any, where: str, tensors: bool) -> None:
    """Raise TypeError unless `value` consists of what ``torch.load(weights_only=True)`` restores unchanged."""
    kind = type(value)
    if kind in (dict, OrderedDict):
        for key, item in value.items():
            if type(key) not in (str, int):
                raise TypeError(f"{where}: the key {key!r} is neither a string nor an int")
            _require_plain(item, f"{where}[{key!r}]", tensors)
    elif kind in (list, tuple):
        for index, item in enumerate(value):
            _require_plain(item, f"{where}[{index}]", tensors)
    elif kind not in PLAIN_TYPES and not (tensors and isinstance(value, Tensor)):
        raise TypeError(f"{where}: {kind.__module__}.{kind.__name__} can't be stored; convert it to a plain value")


def _read_start(path: str | Path) -> tuple[Path, bytes]:
    """Return `path` and its first bytes, which show its format; raise `InputError` for what can't be a model file."""
    file = Path(path)
    try:
        if not file.exists():
            raise InputError(f"{path}: the file does not exist; check the path")
        if file.is_dir():
            raise InputError(
                f"{path}: it is a folder; give the model file inside it, such as {file / LightInpaintV1.name}.pth"
            )
        if not file.is_file():
            raise InputError(f"{path}: it is a device or a pipe; give a model file")
        with file.open("rb") as handle:
            start = handle.read(SAFETENSORS_HEADER_AT + 1)
    except OSError as error:
        raise InputError(f"{path}: it can't be read ({error.strerror}); check path and permissions") from None
    if not start:
        raise InputError(f"{path}: the file is empty; copy or download it again")
    return file, start


def _read_safetensors(file: Path) -> dict[str, Any]:
    try:
        with safe_open(file, framework="pt") as archive:
            header = archive.metadata() or {}
            state = {name: archive.get_tensor(name) for name in archive.keys()}  # noqa: SIM118
        extra = json.loads(header.get(EXTRA_KEY, "{}"))
        require_bounded(extra, len(header.get(EXTRA_KEY, "")))
    except (SafetensorError, OSError, ValueError, RecursionError) as error:
        raise InputError(
            f"{file}: the safetensors file is damaged ({_reason(error)}); copy or download it again"
        ) from None
    if "name" not in header or not isinstance(extra, dict):
        raise InputError(
            f"{file}: its header doesn't say which model it holds; give the .pth file, or one written by export_safetensors"
        )
    return {"nunif_model": 1, "kwargs": {}, **header, EXTRA_KEY: extra, "state_dict": state}


def _read_pickle(file: Path, start: bytes) -> dict[str, Any]:
    if not start.startswith(ZIP_MAGIC):
        # The older format states how much memory to allocate before any of its weights is read.
        raise InputError(
            f"{file}: refused, because it isn't in the format that PyTorch writes since version 1.6; choose a model file "
            "(.pth or .safetensors), or save this one again with a newer PyTorch where you trust its source"
        )
    if _is_zip_bomb(file):
        raise InputError(
            f"{file}: refused, because it is compressed or damaged and would unpack to more than its own size; get a file "
            "as PyTorch writes it"
        )
    try:
        # the check uses PyTorch's own zip reader, to see the member that is then loaded; opened here, because torch
        # takes no file names that aren't UTF-8
        with file.open("rb") as handle, warnings.catch_warnings():
            content: bytes = torch._C.PyTorchFileReader(handle).get_record("data.pkl")
            check_pickle(content)
            handle.seek(0)
            warnings.simplefilter("ignore")
            payload = torch.load(handle, map_location="cpu", weights_only=True)
        require_bounded(payload, len(content))
    except pickle.UnpicklingError:
        raise InputError(f"{file}: {UNSAFE}") from None
    except Exception as error:
        # A damaged file can make the reader fail in any way, and all of these mean the same to its owner.
        raise InputError(
            f"{file}: the file is damaged or cut off ({_reason(error)}); copy or download it again"
        ) from None
    if not isinstance(payload, dict):
        raise InputError(f"{file}: it holds a {type(payload).__name__} instead of a model; choose another file")
    return payload


def _is_zip_bomb(file: Path) -> bool:
    """Return whether the members of a zip file hold more bytes than the file itself: a zip bomb, never PyTorch's."""
    try:
        with zipfile.ZipFile(file) as archive:
            return sum(member.file_size for member in archive.infolist()) > file.stat().st_size
    except (zipfile.BadZipFile, ValueError, NotImplementedError):
        return False  # PyTorch's reader will report what is wrong


def _reason(error: Exception) -> str:
    return shown(first_line(error).split(". ")[0].rstrip("."), 2 * SHOWN_LETTERS)


def _model_problem(payload: Mapping[str, Any], model: LightInpaintV1) -> str | None:
    """Return why `payload` can't be loaded into `model`, None when it can."""
    name = payload["name"]
    if name == VIDEO_MODEL:
        return f"it holds iw3's video model {name}, but inpaintkit works with the image model {model.name}; choose that file"
    if name != model.name:
        return f"it holds the model '{shown(name, SHOWN_LETTERS)}', but inpaintkit works with {model.name}; choose such a file"
    if payload["kwargs"]:
        return f"its model was built with unknown options {_listed(payload['kwargs'])}; choose a file of {name} as released"
    return _key_problem(payload["state_dict"], model.state_dict()) or _weight_problem(payload["state_dict"])


def _key_problem(found: Mapping[Any, Any], expected: Mapping[str, Tensor]) -> str | None:
    misfits = {
        "misses": [name for name in expected if name not in found],
        "has surplus": [name for name in found if name not in expected],
        "has misshapen": [name for name, value in expected.items() if name in found and not _fits(found[name], value)],
    }
    for verb, names in misfits.items():
        if names:
            return f"its state dict {verb} weights ({len(names)}: {_listed(names)}); the file is not a complete {LightInpaintV1.name}"
    return None


def _listed(names: Iterable[Any]) -> str:
    """Return the first few of `names`, separated by commas."""
    first = [shown(name, SHOWN_LETTERS) for name in itertools.islice(names, SHOWN_KEYS + 1)]
    return ", ".join(first[:SHOWN_KEYS] + ["..."] * (len(first) > SHOWN_KEYS))


def _fits(found: Any, expected: Tensor) -> bool:
    return isinstance(found, Tensor) and all(
        getattr(found, name) == getattr(expected, name) for name in ("layout", "device", "shape")
    )


def _weight_problem(state: Mapping[str, Tensor]) -> str | None:
    for name, tensor in state.items():
        if not tensor.is_floating_point():
            return f"its weight {name} is of type {tensor.dtype} instead of float; choose another file"
        # Checked as float32, as which it is loaded: larger numbers turn infinite only then.
        if not torch.isfinite(tensor.float()).all():
            return f"its weight {name} holds NaN or infinite values; choose an earlier checkpoint"
    return None


def _meta(payload: Mapping[str, Any]) -> Meta:
    known = {key: payload[key] for key in FACTS if payload.get(key) is not None}
    extra = payload.get(EXTRA_KEY)
    return {**(extra if isinstance(extra, dict) else {}), **known}
