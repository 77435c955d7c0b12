"""Find the project's root and its notebooks from any working folder."""

import re
from pathlib import Path

import inpaintkit
from inpaintkit.config import nearest_name
from inpaintkit.errors import InputError

NOTEBOOKS = "notebooks"


def find_project(start: str | Path | None = None) -> Path:
    """Return the project's root: the nearest folder upwards from `start` that holds ``notebooks/01_generate.ipynb``.

    `start` is by default the working folder. If the search from there fails, it is repeated from the package. Raises
    `InputError` if both fail.
    """
    places = [Path(start or Path.cwd()).resolve(), Path(inpaintkit.__file__).resolve().parent]
    for place in places:
        for folder in (place, *place.parents):
            if (folder / NOTEBOOKS / "01_generate.ipynb").is_file():
                return folder
    raise InputError(
        f"{places[0]}: no folder notebooks/ here or above; change into a clone of the inpaintkit repository"
    )


def find_notebook(name: str | Path) -> Path:
    """Return the path of a notebook, given by path or by the start of its name (``02_train``), number optional."""
    path = Path(name)
    if path.suffix == ".ipynb" and path.is_file():
        return path.resolve()
    known = {file.stem: file for file in sorted((find_project() / NOTEBOOKS).glob("*.ipynb"))}
    begins = re.compile(rf"0?(\d_)?{re.escape(path.name.removesuffix('.ipynb'))}")  # 02_train, 2_train, train, 2
    found = sorted(filter(begins.match, known))
    # the original, not its copies, such as 02_train-Copy1
    if found and all(name.startswith(found[0]) for name in found):
        return known[found[0]]
    raise InputError(f"notebook {name} does not exist{nearest_name(str(name), known)}; there are {', '.join(known)}")
