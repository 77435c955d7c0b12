"""Collect a notebook's parameters from its defaults, a preset, its parameters cell, a YAML file and the command line.

Later sources override earlier ones. This module doesn't load torch, so that a mistyped name is reported at once.
"""

import ast
import contextlib
import dataclasses
import itertools
import json
import os
import typing
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml

from inpaintkit.config import (
    GanConfig,
    GenerateConfig,
    InspectConfig,
    JobConfig,
    TrainConfig,
    fill_names,
    full_fill_name,
    joined_fills,
    nearest_name,
)
from inpaintkit.config.options import field_types, may_be_none, says_none, type_name
from inpaintkit.errors import InputError
from inpaintkit.files import full_path
from inpaintkit.notebook.project import find_notebook, find_project
from inpaintkit.text import shown

CONFIGS: dict[str, type[JobConfig]] = {
    config.notebook: config for config in (GenerateConfig, TrainConfig, GanConfig, InspectConfig)
}
"""The configuration class of each notebook."""

PRESET = "preset"
PRESETS = {
    "try": "minutes on two CPU cores, with the shipped photos and the released checkpoint",
    "laptop": "evenings on one small GPU",
    "full": "a data-centre GPU; for training iw3's recipe",
}
LARGEST_FILE = 1 << 20  # bytes of a parameter file
LARGEST_CONTENT = 10_000  # values in it: with aliases a small file can expand to billions

Values = dict[str, Any]


class _Loader(yaml.SafeLoader):
    """YAML loader that keeps names (keys and items of lists) as text, and rejects keys that occur twice.

    Plain YAML would read the names 007 and off as 7 and False. Items of lists are names, because no option takes a
    list. The number 010 is ten, not eight.
    """

    def compose_mapping_node(self, anchor: Any) -> yaml.MappingNode:
        node = super().compose_mapping_node(anchor)
        names = set[str]()
        for name, _ in node.value:
            if isinstance(name, yaml.ScalarNode) and name.value != "<<":
                if name.value in names:
                    raise yaml.YAMLError(f"{name.value} stands there twice")
                names.add(name.value)
                name.tag = "tag:yaml.org,2002:str"
        return node

    def compose_sequence_node(self, anchor: Any) -> yaml.SequenceNode:
        node = super().compose_sequence_node(anchor)
        for name in node.value:
            if isinstance(name, yaml.ScalarNode):
                name.tag = "tag:yaml.org,2002:str"
        return node

    def _whole_number(self, node: yaml.ScalarNode) -> int:
        digits = node.value.replace("_", "")
        return int(digits) if digits.lstrip("+-").isdecimal() else self.construct_yaml_int(node)


_Loader.add_constructor("tag:yaml.org,2002:int", _Loader._whole_number)


def config_of(notebook: str | Path) -> type[JobConfig]:
    """Return the configuration class of a notebook (name or path). Raises `InputError` for any other notebook."""
    name = find_notebook(notebook).stem
    if name not in CONFIGS:
        raise InputError(
            f"{shown(name)}: not one of the kit's notebooks ({', '.join(CONFIGS)}); run others with papermill"
        )
    return CONFIGS[name]


def preset_values(notebook: str | Path, preset: str | None) -> Values:
    """Return the parameters in ``params/NOTEBOOK.PRESET.yaml``, {} for None. Raises `InputError` for an unknown name."""
    if preset is None:
        return {}
    path = find_notebook(notebook)
    folder = find_project(path.parent) / "params"
    known = sorted(file.stem.removeprefix(f"{path.stem}.") for file in folder.glob(f"{path.stem}.*.yaml"))
    if preset not in known:
        hint = nearest_name(str(preset), known)
        raise InputError(
            f"preset: {shown(preset)} is unknown{hint}; choose one of {', '.join(known)}, or None for the defaults"
        )
    return load_params(folder / f"{path.stem}.{preset}.yaml")


def with_preset(notebook: str | Path, given: Mapping[str, Any]) -> Values:
    """Return the parameters of the preset that `given` names, overridden by the rest of `given`.

    If an option can't be None, a None for it means "as the preset".
    """
    kinds = field_types(config_of(notebook))
    given = {name: None if says_none(value, kinds.get(name)) else value for name, value in given.items()}
    as_preset = {PRESET, *(name for name, kind in kinds.items() if given.get(name) is None and not may_be_none(kind))}
    own = {name: value for name, value in given.items() if name not in as_preset}
    return preset_values(notebook, given.get(PRESET)) | own


def load_params(file: str | Path) -> Values:
    """Return what a YAML file holds by name; its paths are relative to the project's root. Raises `InputError`."""
    path = find_params(file)
    if (size := path.stat().st_size) > LARGEST_FILE:
        raise InputError(f"{path}: it has {size:,} bytes, too many for parameters; see params/ for examples")
    try:
        values = yaml.load(path.read_text(encoding="utf-8"), _Loader)
        unfolds = any(itertools.islice(_parts(values), LARGEST_CONTENT, None))
    except (yaml.YAMLError, ValueError, RecursionError, OSError) as error:
        mark = getattr(error, "problem_mark", None)  # otherwise the message would have several lines
        reason = shown(f"line {mark.line + 1}: {getattr(error, 'problem', '')}" if mark else error)
        raise InputError(f"{path}: not valid YAML in UTF-8 ({reason}); write one `name: value` a line") from None
    values = {} if values is None else values
    if unfolds:
        raise InputError(
            f"{path}: its aliases (*name) expand to more than {LARGEST_CONTENT:,} values; write fewer values"
        )
    if not isinstance(values, dict):
        raise InputError(f"{path}: expected one `name: value` a line, see params/ for examples")
    return values


def _parts(value: Any) -> Iterator[bool]:
    """Yield True for `value` and for each of the values in it."""
    yield True
    for part in value.values() if isinstance(value, dict) else value if isinstance(value, list) else ():
        yield from _parts(part)


def load_sections(file: str | Path, known: Sequence[str]) -> Values:
    """Return the sections of a YAML file by name. Raises as `load_params`, and `InputError` for a name not `known`."""
    plan = load_params(file)
    for name in plan:
        if name not in known:
            raise InputError(f"{file}: {name} is unknown{nearest_name(name, known)}; use {', '.join(known)}")
    return plan


def section(value: Any, name: str) -> Values:
    """Return the parameters under the heading `name` of a parameter file, {} for None.

    Raises `InputError` if `value` is anything but parameters.
    """
    if not isinstance(value, dict | None):
        raise InputError(f"{name} must have parameters under it, `name: value` a line")
    return value or {}


def from_file(notebook: str | Path, file: str | Path) -> Values:
    """Return the parameters in a YAML file for a notebook.

    For a preset of the notebook only its name is returned, so that the run can report what differs from the preset.
    """
    name = find_notebook(notebook).stem
    path = find_params(file, name).resolve()
    is_preset = path.parent == find_project() / "params" and path.match(f"{name}.*.yaml")
    return {PRESET: path.stem.removeprefix(f"{name}.")} if is_preset else load_params(path)


def find_params(file: str | Path, notebook: str = "") -> Path:
    """Return the path of a parameter file, given by path or by its name in ``params/`` (``02_train.full``).

    Raises `InputError` if there is none; `notebook` helps it to suggest a name.
    """
    path = Path(os.path.expanduser(file))
    folder = find_project() / "params"
    named = path.parent in (Path(), Path("params"))  # any other path is the user's own
    for candidate in (path, folder / path.name, folder / f"{path.name}.yaml") if named else (path,):
        if candidate.is_file():
            return candidate
    shipped, preset = [candidate.stem for candidate in folder.glob("*.yaml")], f"{notebook}.{path.name}"
    hint = nearest_name(preset if preset in shipped else path.name.removesuffix(".yaml"), shipped)
    raise InputError(f"{shown(file)}: there is no such parameter file{hint}; the shipped ones are in params/")


def parse_assignments(notebook: str | Path, texts: Iterable[str], run_dir: str | Path | None = None) -> Values:
    """Return the parameters given as ``-p name=value`` on a command line.

    Values are parsed as YAML, but those of text parameters are taken literally (a prefix may be 2024). Paths are
    relative to the working folder. Raises `InputError` for a text that isn't an assignment or has no readable value,
    and for a run folder other than `run_dir`; unknown names are left to `resolve`.
    """
    fields = config_of(notebook).__dataclass_fields__
    values: Values = {}
    for text in texts:
        name, separator, value = text.partition("=")
        if not separator or not name:
            raise InputError(f"-p: {shown(text)} is not name=value")
        kind = fields[name].type if name in fields else str | None if name == PRESET else object
        if says_none(value, kind):
            values[name] = None
        elif kind in (str, str | None):
            if value and Path.cwd() != find_project():
                value = _from_here(name, value, name in fields and fields[name].metadata["path"])
            values[name] = value
        else:
            values[name] = _read_value(name, value, kind)
    own = values.get(folder_option(notebook))
    if run_dir is not None and own is not None and Path(os.path.expanduser(own)).resolve() != Path(run_dir).resolve():
        raise InputError(
            f"-p: {folder_option(notebook)}={shown(own)} and {run_dir} are two run folders; name one of them"
        )
    return values


def _from_here(name: str, value: str, is_path: bool) -> str:
    """Return a text parameter with the paths in it, which are relative to the working folder, made absolute."""
    if name == "fills":
        return joined_fills(map(full_fill_name, fill_names(value)))
    return str(full_path(value)) if is_path else value


def _read_value(name: str, text: str, kind: Any) -> Any:
    """Return the value of the type `kind` written in `text`.

    If `kind` allows text, all that isn't of its other types is text, as it is: a pattern may begin with * or [.
    """
    may_be_text = str in typing.get_args(kind)
    try:
        value = yaml.load(text, _Loader)
        return text if may_be_text and type(value) not in typing.get_args(kind) else value
    except (yaml.YAMLError, ValueError, RecursionError):
        if may_be_text:
            return text
        raise InputError(
            f"-p: the value of {shown(name)}, {shown(text)}, can't be read; write a number, a word or true/false"
        ) from None


def resolve(notebook: str | Path, params: Mapping[str, Any], run_dir: str | Path | None = None) -> JobConfig:
    """Return the checked configuration of a run, without starting it.

    `params` may name a ``preset``; `run_dir` overrides the run folder in `params`. Raises `InputError` for an unknown
    name, a wrong type or a value out of range.
    """
    values = with_preset(notebook, params)
    if run_dir is not None:
        values[folder_option(notebook)] = str(run_dir)
    return config_of(notebook).from_params(values)


def folder_option(notebook: str | Path) -> str:
    """Return the name of the option that sets a notebook's run folder."""
    return "run_dir" if "run_dir" in field_types(config_of(notebook)) else "model_dir"


@contextlib.contextmanager
def in_project(notebook: str | Path) -> Iterator[Path]:
    """Make the project's root, to which paths are relative, the working folder within the context; yield it."""
    before, root = Path.cwd(), find_project(find_notebook(notebook).parent)
    os.chdir(root)
    try:
        yield root
    finally:
        os.chdir(before)


def assignments(source: str) -> Values | None:
    """Return the values of a cell that holds nothing but ``name = literal`` lines; None for any other cell."""
    values: Values = {}
    try:
        for line in ast.parse(source).body:
            match line:
                case ast.Assign([ast.Name(name)], value) | ast.AnnAssign(ast.Name(name), _, ast.expr() as value):
                    values[name] = ast.literal_eval(value)
                case _:
                    return None
    except (SyntaxError, ValueError):
        return None
    return values or None


def assigned_names(source: str) -> list[str]:
    """Return the names that a cell assigns; empty if it isn't valid Python."""
    try:
        nodes = list(ast.walk(ast.parse(source)))
    except (SyntaxError, ValueError):
        return []
    return [node.id for node in nodes if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store)]


def write_cell(config_class: type[JobConfig]) -> str:
    """Return the source of a notebook's parameters cell: a preset and the everyday options."""
    lines = [
        f"{PRESET} = {json_like('try')}  # {', '.join(PRESETS)}: sizes for a first try, a small GPU, a large one; None: the defaults"
    ]
    for field in dataclasses.fields(config_class):
        if field.metadata["everyday"]:
            as_preset = not field.metadata["path"] and not may_be_none(field.type) and field.name != "device"
            value, hint = (None, "; None: as the preset") if as_preset else (field.default, "")
            lines.append(f"{field.name} = {json_like(value)}  # {field.metadata['help']}{hint}")
    return "\n".join(lines)


def json_like(value: Any) -> str:
    """Return `value` as a Python literal, text in double quotes as in the notebooks."""
    return json.dumps(value, ensure_ascii=False) if isinstance(value, str) else repr(value)


def describe(notebook: str | Path) -> str:
    """Return all options of a notebook in groups, with type, default, meaning and choices."""
    lines = [f"{PRESET}: sizes for all options at once", *(f"  {name}: {text}" for name, text in PRESETS.items())]
    for field in dataclasses.fields(config_of(notebook)):
        rule = field.metadata
        lines += ["", rule["group"]] if rule["group"] else []
        lines += [
            f"  {field.name}: {type_name(field.type)} = {json_like(field.default)}",
            f"      {rule['help']}",
        ]
        for name, meaning in (rule["choices"] or {}).items():
            lines.append(f"      {name}: {meaning if isinstance(meaning, str) else ', '.join(meaning)}")
    return "\n".join(lines)


def sync_notebooks() -> list[Path]:
    """Rewrite the parameters cell of each notebook from its options; return the notebooks that changed."""
    changed = []
    for name, config_class in CONFIGS.items():
        path = find_project() / "notebooks" / f"{name}.ipynb"
        text = path.read_text(encoding="utf-8")
        book = json.loads(text)
        cell = next(cell for cell in book["cells"] if "parameters" in cell["metadata"].get("tags", []))
        cell["source"] = write_cell(config_class).splitlines(keepends=True)
        new = json.dumps(book, indent=1, ensure_ascii=False) + "\n"
        if new != text:
            path.write_text(new, encoding="utf-8")
            changed.append(path)
    return changed
