"""Declare and check options: everything that the jobs' configurations have in common."""

import contextlib
import dataclasses
import difflib
import os
import types
import typing
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from inpaintkit.errors import InputError
from inpaintkit.files import require_folder
from inpaintkit.text import shown

_Config = TypeVar("_Config", bound="JobConfig")

FIXED = "fixed"
"""The option can't change once a run or a data set has begun, because results of both values would mix."""
ASKED = "asked"
"""The option may change if the user asks to continue with other options (`resume`)."""
FREE = "free"
"""The option may change at any time.

It affects how the work is done, not its result, or other checks notice the change.
"""


LARGEST = 10**9
"""Upper limit of numbers that declare only a lower one: anything beyond, infinity included, must be a typing error."""


def option(
    default: Any,
    help: str,
    *,
    unit: str = "",
    choices: Mapping[str, Any] | None = None,
    minimum: float | None = None,
    maximum: float | None = None,
    path: bool = False,
    later: str = FIXED,
    group: str = "",
    everyday: bool = False,
) -> Any:
    """Return a dataclass field with everything that users and checks must know about an option.

    Args:
        choices: the allowed values, see `choices`.
        path: whether it names a file or folder; ``~`` is expanded, and a `Path` becomes text.
        later: whether it may change once a run or a data set has begun: `FIXED`, `ASKED` or `FREE`.
        group: heading under which it and the options after it are listed.
        everyday: whether it stands in the notebook's parameters cell; all others can be added there.
    """
    meaning = f"{help} ({unit})" if unit else help
    limits = {"choices": choices, "minimum": minimum, "maximum": maximum, "path": path}
    return dataclasses.field(
        default=default, metadata={"help": meaning, **limits, "later": later, "group": group, "everyday": everyday}
    )


def option_of(job: type["JobConfig"], name: str, **changed: Any) -> Any:
    """Return the option `name` of another job, with `changed` values of its `default`, `help` or rules."""
    field = job.__dataclass_fields__[name]
    return dataclasses.field(default=changed.pop("default", field.default), metadata={**field.metadata, **changed})


def require_records(data_dir: str, *splits: str) -> None:
    """Raise `InputError` unless the data set folder `data_dir` holds records in each of `splits`."""
    for folder in (require_folder(data_dir, "data_dir") / split for split in splits):
        if not folder.is_dir() or not any(require_folder(folder, "data_dir").glob("*_M.png")):
            advice = "run 01_generate first"
            if any(Path(data_dir).glob("*_M.png")):
                advice = "the records lie in the folder that you gave: give the one above it"
            elif any(Path(data_dir, "deleted", folder.name).glob("*_M.png")):
                advice = "all of them were deleted in the record browser: bring some back there"
            raise InputError(f"data_dir: {folder} holds no records (pairs *_C.png, *_M.png); {advice}")


def changes(config: "JobConfig", before: Mapping[str, Any]) -> dict[str, tuple[Any, Any]]:
    """Return {option: (value before, value now)} of the options that differ from `before` and aren't `FREE`.

    Options missing in `before` were added to the kit since then and don't count.
    """
    found = {}
    for field in dataclasses.fields(config):
        now = getattr(config, field.name)
        then = before.get(field.name, getattr(config, field.name))
        if field.metadata["later"] != FREE and then != now:
            found[field.name] = (then, now)
    return found


@dataclass(frozen=True)
class JobConfig:
    """Base class of the job configurations: strict construction from flat parameters, and checks of the values."""

    notebook: typing.ClassVar[str] = ""
    """The name of the notebook that it configures; empty for a command."""

    def __post_init__(self) -> None:
        for field in dataclasses.fields(self):
            value = getattr(self, field.name)
            if field.metadata["path"] and value is not None:
                value = os.path.expanduser(value)
                object.__setattr__(self, field.name, value)
            self._check_value(field, value)

    def _check_value(self, field: dataclasses.Field[Any], value: Any) -> None:
        rule = field.metadata
        if value is None:
            return
        if rule["path"] and not value and value != field.default:  # as a path it would mean the working folder
            raise InputError(f"{field.name}: it is empty; give the path of a file or folder")
        if rule["path"] and "\0" in value:
            raise InputError(f"{field.name}: {value!r} can't be a path, because it holds a zero byte; give another one")
        if rule["choices"]:
            require_known(field.name, value, rule["choices"])
        low, high = rule["minimum"], rule["maximum"]
        if low is not None and not low <= value <= (LARGEST if high is None else high):
            open_end = f"at most {LARGEST}" if value > LARGEST else f"at least {low}"
            limits = open_end if high is None else f"between {low} and {high}"
            raise InputError(f"{field.name}: {value} is out of range; it must be {limits}")

    @property
    def run_folder(self) -> Path:
        """Folder for the executed notebook, its manifest, metrics and figures."""
        raise NotImplementedError

    def check_inputs(self) -> None:
        """Raise `InputError` if an input is missing or an output can't be written; called before any work starts."""
        raise NotImplementedError

    @classmethod
    def from_params(cls: type[_Config], params: Mapping[str, Any]) -> _Config:
        """Build the configuration from flat parameters; raise `InputError` on an unknown name or a wrong type."""
        kinds = field_types(cls)
        checked = {}
        for name, value in params.items():
            if name not in kinds:
                hint = nearest_name(name, [*kinds, "preset"])
                raise InputError(
                    f"{cls.notebook} has no parameter {shown(name)}{hint}; `inpaintkit params {cls.notebook}` lists them"
                )
            checked[name] = _cast(name, value, kinds[name])
        return cls(**checked)


def field_types(cls: type[JobConfig]) -> dict[str, Any]:
    """Return the resolved type of each field of `cls`, in order."""
    return {field.name: field.type for field in dataclasses.fields(cls)}


def says_none(value: Any, kind: Any) -> bool:
    """Return whether `value` is a way to write None; for an option whose type `kind` is `str` nothing is."""
    return isinstance(value, str) and value.lower() in ("none", "null", "~", "") and kind is not str


def may_be_none(kind: Any) -> bool:
    """Return whether a type allows None."""
    return types.NoneType in typing.get_args(kind)


def type_name(kind: Any) -> str:
    """Return a type as written in a parameter cell, e.g. ``str | None``."""
    return kind.__name__ if isinstance(kind, type) else str(kind)


def nearest_name(name: str, known: typing.Iterable[str]) -> str:
    """Return `` (did you mean X?)`` for the known name nearest to `name`, or an empty string."""
    written = {word.lower(): word for word in known}
    match = difflib.get_close_matches(name.lower(), written, n=1)
    return f" (did you mean {written[match[0]]}?)" if match else ""


def require_known(what: str, name: object, known: typing.Collection[str]) -> None:
    """Raise `InputError` unless `name`, a value of the option `what`, is one of `known`."""
    if name not in known:
        hint = nearest_name(str(name), known)
        raise InputError(f"{what}: {name!r} is unknown{hint}; choose one of {', '.join(known)}")


def _cast(name: str, value: Any, kind: Any) -> Any:
    """Return `value` as the type `kind`. A float may also be an integer, or 1e-4, which YAML reads as text."""
    allowed = typing.get_args(kind) or (kind,)
    if type(value) in allowed:
        return value
    if float in allowed and type(value) in (int, str):
        with contextlib.suppress(ValueError):
            return float(value)
    hint = "; put text that looks like something else in quotes" if str in allowed else ""
    raise InputError(f"{name}: expected {type_name(kind)}, got {value!r} ({type(value).__name__}){hint}")
