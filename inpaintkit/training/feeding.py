"""Feed samples to the device, from loader processes or from records that lie in its memory."""

import fnmatch
import signal
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, TypeVar

import torch
from torch.utils.data import DataLoader

from inpaintkit.config import TrainConfig
from inpaintkit.data import InpaintDataset
from inpaintkit.data.packed import PACK_FOLDER
from inpaintkit.data.resident import Batch, ResidentRecords, resident_bytes
from inpaintkit.data.sample_draw import Chances
from inpaintkit.errors import InputError

_T = TypeVar("_T")

Item = int | tuple[int, int, int]
"""A record's number; in training (record, epoch, draw)."""

ROOM_SHARE = 0.5
"""Share of a GPU's free memory that records may take; the rest is for the networks."""


def open_records(config: TrainConfig, split: str) -> InpaintDataset:
    """Return the records of a `split`, ``train`` or ``eval``. Raises `InputError` if they can't be used."""
    chances = Chances(config.mixed_border, config.thin_hole, config.border_hole)
    return InpaintDataset(Path(config.data_dir) / split, split == "train", config.seed, config.crop_size, chances)


def check_records(config: TrainConfig) -> None:
    """Raise `InputError` if the records of `config` can't be used, or `eval_records` chooses none."""
    open_records(config, "train")
    choose_records(open_records(config, "eval").names, config.eval_records)


class Feed:
    """Source of a data set's batches on `device`, in whichever way is fastest there."""

    def __init__(self, config: TrainConfig, records: InpaintDataset, device: str) -> None:
        self.device, self.batch_size = device, config.batch_size
        self.pinned = device.startswith("cuda")  # elsewhere unsafe: Apple's devices may read the memory too late
        self.messages: list[str] = []
        self.resident: ResidentRecords | None = None
        if records.training and wants_resident(config.resident, records, device):
            self.resident = ResidentRecords(records, device)
            self.messages.append(f"{resident_bytes(records) / 2**20:.0f} MiB of records are in the memory of {device}")
            return
        if records.training and records.packed is None:
            self.messages.append(
                f"the records can't be packed into {records.folder.parent / PACK_FOLDER} (no permission, or too little room): each "
                "sample is read from its PNG files, which takes many times as long"
            )
        self.order: list[Item] = []  # filled anew for each epoch, so that loader workers live for the whole run
        # for evaluation, starting workers (two seconds each) would take longer than reading the records
        count = config.num_workers if records.training else 0
        self.loader = DataLoader(
            records,
            config.batch_size,
            sampler=self.order,
            num_workers=count,
            pin_memory=self.pinned,
            persistent_workers=count > 0,
            # forked workers hang once OpenCV has used threads; those of a fork server outlive a killed trainer
            multiprocessing_context="spawn" if count else None,
            worker_init_fn=outlive_stop_signal,
        )

    def batches(self, items: Sequence[Any]) -> Iterator[Batch]:
        """Yield the samples of `items` in batches of `batch_size`; the last batch holds the rest."""
        if self.resident is not None:
            for start in range(0, len(items), self.batch_size):
                yield self.resident.batch(items[start : start + self.batch_size])
            return
        self.order[:] = items
        for x, hole, y, index in self.loader if items else ():
            yield (*(part.to(self.device, non_blocking=self.pinned) for part in (x, hole, y)), index)  # type: ignore[misc]

    def close(self) -> None:
        """End the loader processes; the next batches start new ones.

        The traceback of an interrupted notebook cell keeps everything alive that the cell used, and a kernel that ends
        stops its children: torch would then report that loader workers were killed.
        """
        workers = None if self.resident is not None else self.loader._iterator
        if workers is not None:
            workers._shutdown_workers()  # type: ignore[attr-defined]  # torch offers no other way
            self.loader._iterator = None


def outlive_stop_signal(worker: int) -> None:
    """Make this loader process ignore SIGINT and the first SIGTERM.

    They may be sent to a whole group of processes, and the trainer needs its workers until it has saved. The second
    SIGTERM, with which the trainer ends them, is obeyed.
    """
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, lambda number, frame: signal.signal(number, signal.SIG_DFL))


def wants_resident(mode: str, records: InpaintDataset, device: str) -> bool:
    """Return whether the records go to the device's memory.

    They do with ``on``, and with ``auto`` on a CUDA GPU if all have the same size and there is room for them.
    """
    if mode != "auto" or not device.startswith("cuda"):
        return mode == "on"
    free, _ = torch.cuda.mem_get_info(torch.device(device))
    return len(set(records.shapes)) == 1 and resident_bytes(records) < ROOM_SHARE * free


def evenly(items: Sequence[_T], wanted: int | None) -> list[_T]:
    """Return `wanted` (None: all) of `items`, spread evenly over all of them.

    >>> evenly("abcdefghij", 3)
    ['a', 'd', 'g']
    """
    wanted = len(items) if wanted is None else min(wanted, len(items))
    return [items[number * len(items) // wanted] for number in range(wanted)]


def choose_records(names: Sequence[str], choice: int | str | None) -> list[int]:
    """Return the numbers of the records to evaluate.

    `choice` is how many, spread evenly (None: all), or a pattern of their names.

    >>> choose_records(["a1", "a2", "b1", "b2"], 2), choose_records(["a1", "a2", "b1", "b2"], "b*")
    ([0, 2], [2, 3])

    Raises `InputError` if no name matches.
    """
    if not isinstance(choice, str):
        return evenly(range(len(names)), choice)
    chosen = [number for number, name in enumerate(names) if fnmatch.fnmatch(name, choice)]
    if not chosen:
        raise InputError(f"eval_records: no record's name fits {choice!r}; the first one is called {names[0]}")
    return chosen
