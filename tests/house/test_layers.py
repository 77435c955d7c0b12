"""The rooms: imports only go up, heavy libraries stay where they are allowed, doctests give what they show."""

import ast
import doctest
import importlib
import re
import subprocess
import sys
from pathlib import Path

import pytest

import inpaintkit

PACKAGE = Path(inpaintkit.__file__).parent
GROUND_FLOOR = ["errors", "files", "seeds", "arithmetic", "config", "text", "hole_colour", "neighbours", "processes"]
ROOMS = ["depth", "synthesis", "model", "data", "training", "inspection", "notebook"]
STRANGERS = {"depth", "synthesis", "model"}  # these three don't import each other
ONLY_IN = {"matplotlib": "inspection/figures/", "ipywidgets": "notebook/widgets/", "papermill": "notebook/runs.py"}


def imports(path: Path) -> set[str]:
    """Return the dotted names that a file imports, including those inside functions."""
    names = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            names.add(node.module or "")
            names |= {f"{node.module}.{alias.name}" for alias in node.names}
    return names


FILES = sorted(p for p in PACKAGE.rglob("*.py"))


@pytest.mark.parametrize("path", FILES, ids=lambda p: p.relative_to(PACKAGE).as_posix())
def test_imports_only_go_up(path: Path) -> None:
    here = path.relative_to(PACKAGE).parts[0].removesuffix(".py")
    if here in ("__init__", "__main__"):
        return
    for name in imports(path):
        parts = name.split(".")
        if parts[0] != "inpaintkit" or len(parts) < 2 or parts[1] == "__version__":
            continue
        there = parts[1]
        if here in GROUND_FLOOR:
            assert there in GROUND_FLOOR, f"{here} is ground floor and must not import {name}"
        elif there in ROOMS and there != here:
            assert ROOMS.index(there) < ROOMS.index(here), f"{here} must not import {name}"
            assert not {here, there} <= STRANGERS, f"{here} must not know {there}"


@pytest.mark.parametrize(("library", "home"), ONLY_IN.items())
def test_each_heavy_library_has_one_home(library: str, home: str) -> None:
    users = {
        path.relative_to(PACKAGE).as_posix()
        for path in FILES
        if any(name == library or name.startswith(library + ".") for name in imports(path))
    }
    assert users
    assert all(user == home or (home.endswith("/") and user.startswith(home)) for user in users)


def test_training_needs_no_notebook_libraries_and_a_kernel_no_papermill() -> None:
    code = (
        "import sys, inpaintkit.training; "
        "print([m for m in ('ipywidgets', 'matplotlib', 'papermill') if m in sys.modules]); "
        "import inpaintkit.notebook.session, inpaintkit.inspection.figures; "
        "print([m for m in ('matplotlib.pyplot', 'papermill', 'nbformat') if m in sys.modules]); "
        "import inpaintkit.notebook.html; "
        "print([m for m in sys.modules if m.startswith('rfc3987')])"  # a grammar that takes two seconds to build
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["[]", "[]", "[]"]


@pytest.mark.parametrize("room", ROOMS)
def test_a_rooms_init_exports_its_names_and_nothing_else(room: str) -> None:
    tree = ast.parse((PACKAGE / room / "__init__.py").read_text(encoding="utf-8"))
    body = [node for node in tree.body if not isinstance(node, (ast.Import, ast.ImportFrom))]
    kinds = [type(node) for node in body]
    if room == "notebook":  # its names are loaded on demand, so that a mistyped command answers at once
        return
    assert kinds == [ast.Expr, ast.Assign], f"{room}/__init__.py holds more than a docstring, imports and __all__"


def test_type_checkers_and_help_find_the_public_names() -> None:
    page = (PACKAGE.parent / "docs" / "architecture.md").read_text(encoding="utf-8").partition("## Public names")[2]
    rooms = re.findall(r"^\| `(\w+)` \| (.+) \|$", page, re.MULTILINE)
    assert {room for room, _ in rooms} == {"config", *ROOMS}
    for room, names in rooms:
        assert set(re.findall(r"`(\w+)`", names)) <= set(importlib.import_module(f"inpaintkit.{room}").__all__)
    assert (PACKAGE / "py.typed").is_file()
    assert 'inpaintkit = ["py.typed"]' in (PACKAGE.parent / "pyproject.toml").read_text(encoding="utf-8")


LOADERS = ("torch.load", "torch.serialization.load", "pickle.load", "pickle.loads")


@pytest.mark.parametrize("path", FILES, ids=lambda p: p.relative_to(PACKAGE).as_posix())
def test_weights_are_never_loaded_by_running_code(path: Path) -> None:
    assert not imports(path) & {"torch.load", "torch.serialization.load"}, "called by a name that isn't looked for here"
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Call) and ast.unparse(node.func) in LOADERS:
            given = {keyword.arg: ast.unparse(keyword.value) for keyword in node.keywords}
            assert given.get("weights_only") == "True", f"{path.name}:{node.lineno} loads without weights_only=True"


@pytest.mark.parametrize("path", FILES, ids=lambda p: p.relative_to(PACKAGE).as_posix())
def test_nothing_draws_from_global_randomness(path: Path) -> None:
    banned = ("np.random.seed", "np.random.rand", "np.random.randn", "np.random.randint", "torch.manual_seed")
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Call):
            assert ast.unparse(node.func) not in banned, f"{path.name}:{node.lineno} uses global randomness"
        if isinstance(node, ast.Import):
            assert "random" not in {alias.name for alias in node.names}, f"{path.name}:{node.lineno} imports random"


LONGEST_FILE, MOST_METHODS = 350, 18


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.relative_to(PACKAGE).as_posix())
def test_files_and_classes_stay_small_enough_to_read(path: Path) -> None:
    source = path.read_text(encoding="utf-8")
    assert len(source.splitlines()) <= LONGEST_FILE
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.ClassDef):
            assert sum(isinstance(part, ast.FunctionDef) for part in node.body) <= MOST_METHODS, node.name


def test_docstring_examples_give_the_shown_results() -> None:
    shown = [path for path in FILES if ">>> " in path.read_text(encoding="utf-8")]
    names = [".".join(("inpaintkit", *path.relative_to(PACKAGE).with_suffix("").parts)) for path in shown]
    results = {name: doctest.testmod(importlib.import_module(name)) for name in names}
    assert len(results) > 5
    assert not [name for name, result in results.items() if result.failed or not result.attempted]


def test_imports_never_form_a_cycle() -> None:
    """Imports among files of a package never form a cycle, even those for the type checker."""
    modules = {"inpaintkit." + ".".join(path.relative_to(PACKAGE).with_suffix("").parts): path for path in FILES}
    graph = {name: {found for found in imports(path) if found in modules} for name, path in modules.items()}
    done: set[str] = set()

    def visit(name: str, trail: tuple[str, ...]) -> None:
        assert name not in trail, " -> ".join((*trail[trail.index(name) :], name))
        if name not in done:
            for found in sorted(graph[name]):
                visit(found, (*trail, name))
            done.add(name)

    for name in graph:
        visit(name, ())
