"""Full-state checkpoints on disk: the newest under the usual name, older ones beside it with a number in the name."""

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


def older_path(file: Path, age: int) -> Path:
    """Return the path of the checkpoint saved `age` times before the newest one, `file`; age 0 is `file` itself."""
    return file if age == 0 else file.with_name(f"{file.stem}.{age}{file.suffix}")


def save_checkpoint(model: LightInpaintV1, file: Path, payload: Mapping[str, Any], keep_last: int) -> None:
    """Write `payload` to `file` atomically, keep the `keep_last` - 1 checkpoints before it, and delete older ones.

    At every moment after the first save `file` is a complete checkpoint, even if the process is killed while it saves.
    Raises `InputError` if it can't be written; the existing files then keep their content and names.
    """
    with _linked(file, older_path(file, 1)) if keep_last > 1 and file.exists() else contextlib.nullcontext():
        save_state(model, file, payload)
        for age in range(keep_last - 1, 1, -1):
            if older_path(file, age - 1).exists():
                os.replace(older_path(file, age - 1), older_path(file, age))
    for path in itertools.takewhile(Path.exists, (older_path(file, age) for age in itertools.count(keep_last))):
        path.unlink()


def restore_checkpoint(source: Path, file: Path) -> None:
    """Restore `file`, which is missing or damaged, from the older checkpoint `source`.

    Otherwise the next save could lose `source`.
    """
    with _linked(source, file):
        pass


@contextlib.contextmanager
def _linked(file: Path, name: Path) -> Iterator[None]:
    """Keep the content that `file` has before the context: after it, `name` holds that content.

    It is only copied where the file system has no hard links.
    """
    with atomic_path(name) as temporary:
        temporary.unlink()
        try:
            os.link(file, temporary)
        except OSError:
            shutil.copyfile(file, temporary)
        yield


@contextlib.contextmanager
def reading_checkpoint(folder: Path) -> Iterator[None]:
    """Raise `InputError` instead of the errors that a damaged or foreign checkpoint in `folder` causes.

    Errors of the device pass unchanged.
    """
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
    """Return the newest readable checkpoint among `file` and its numbered predecessors, and its path.

    Raises the `InputError` of `load_state` for the newest one if none can be read.
    """
    try:
        return load_state(file), file
    except InputError:
        age = 1
        while older_path(file, age).exists():
            try:
                return load_state(older_path(file, age)), older_path(file, age)
            except InputError:
                age += 1
        raise
