"""Full-state checkpoints on disk: the newest under its known name, older ones beside it under numbers."""

import contextlib
import itertools
import os
import shutil
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from inpaintkit.config import is_of_device
from inpaintkit.errors import InputError, RunFailed
from inpaintkit.files import atomic_path
from inpaintkit.model import LightInpaintV1, load_state, save_state
from inpaintkit.text import shown


def older(file: Path, age: int) -> Path:
    """Return where the checkpoint lies that was saved `age` times before the newest one, `file`; age 0 is `file`."""
    return file if age == 0 else file.with_name(f"{file.stem}.{age}{file.suffix}")


def save_checkpoint(model: LightInpaintV1, file: Path, payload: Mapping[str, Any], keep_last: int) -> None:
    """Write `payload` to `file`, atomically, and keep the `keep_last` - 1 checkpoints before it; older ones go.

    At every moment, a kill in the midst of it included, `file` is a whole checkpoint (the first save aside).
    Raises `InputError` where it can't be written; what was there stays, under the names that it had.
    """
    with _linked(file, older(file, 1)) if keep_last > 1 and file.exists() else contextlib.nullcontext():
        save_state(model, file, payload)
        for age in range(keep_last - 1, 1, -1):
            if older(file, age - 1).exists():
                os.replace(older(file, age - 1), older(file, age))
    for path in itertools.takewhile(Path.exists, (older(file, age) for age in itertools.count(keep_last))):
        path.unlink()


def put_in_place(source: Path, file: Path) -> None:
    """Let `file`, which is missing or damaged, be the older checkpoint `source`: the next save must not lose that one."""
    with _linked(source, file):
        pass


@contextlib.contextmanager
def _linked(file: Path, name: Path) -> Iterator[None]:
    """Give what `file` is now a second name, from the end of the context on; without copying where the file system can do that."""
    with atomic_path(name) as temporary:
        temporary.unlink()
        try:
            os.link(file, temporary)
        except OSError:
            shutil.copyfile(file, temporary)
        yield


@contextlib.contextmanager
def taking_state(folder: Path) -> Iterator[None]:
    """Turn what the content of a checkpoint in `folder` raises, because it isn't what was written there, into an `InputError`."""
    try:
        yield
    except (InputError, RunFailed):
        raise
    except (ArithmeticError, AttributeError, LookupError, RuntimeError, TypeError, ValueError) as error:
        if is_of_device(error):
            raise
        raise InputError(
            f"model_dir: the checkpoint in {folder} isn't a whole state of this training ({shown(error) or type(error).__name__}); "
            "name another model_dir, or start anew with overwrite=True"
        ) from error


def newest_checkpoint(file: Path) -> tuple[dict[str, Any], Path]:
    """Return the newest readable checkpoint of `file` and its numbered predecessors, and where it lies.

    Raises `InputError` as `load_state` does for the newest one when none can be read.
    """
    try:
        return load_state(file), file
    except InputError:
        age = 1
        while older(file, age).exists():
            try:
                return load_state(older(file, age)), older(file, age)
            except InputError:
                age += 1
        raise
