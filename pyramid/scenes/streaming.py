"""Photographs that do not fit in memory: read from the disk as they are needed, ahead of the step that needs them.

torch's DataLoader decodes them in processes of its own, and pins what goes to a card. Its order is made by the caller;
nothing is drawn in here, so that a run that goes on at step n goes on with the pictures of step n. Of a file that
cannot be read it is said, and the next of its class takes its place.
"""

import os
import signal
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset
from tqdm.auto import tqdm

from pyramid.data import Labelled, Photos, read_image, square
from pyramid.errors import InputError
from pyramid.scenes.index import Index

IN_MEMORY = 2**32  # bytes of pixels: what takes more is read as it is needed
KNOWN = 16_384  # pictures whose features a run keeps: the statistics of each label are taken on these
GALLERY = 2_048  # and of these, whose deeper levels it keeps too, for retrieval
MOST_PROCESSES = 8
INSTEAD = 8  # files of a class that are tried, where one is unreadable
REDUCTION = 2  # a JPEG is decoded at no less than so many times the size, for the last resize to filter
CHUNK = 64
TENSORS = ("rows", "labels", "held_out")


def fits(count: int, size: int) -> bool:
    """Whether so many pictures of size x size pixels are held in memory."""
    return count * 3 * size**2 <= IN_MEMORY


def processes() -> int:
    """Processes that read for one training process: its share of the cores."""
    share = (os.cpu_count() or 1) // int(os.environ.get("LOCAL_WORLD_SIZE", "1"))  # torchrun's word
    return max(1, min(share, MOST_PROCESSES))


@dataclass(eq=False)
class Files(Dataset):
    """The pictures of an index at size x size pixels, a batch of rows at a time, for a DataLoader."""

    index: Index
    size: int

    def read(self, rows: list[int]) -> Tensor:
        """uint8 (B, 3, size, size). Raises InputError where a class has too many unreadable files in a row."""
        pixels = np.empty((len(rows), 3, self.size, self.size), np.uint8)
        for picture, row in zip(pixels, rows, strict=True):
            picture[:] = self._one(row)
        return torch.from_numpy(pixels)

    def _one(self, row: int) -> np.ndarray:
        try:
            return self._decode(row)
        except InputError as error:
            said = error
        index = self.index
        alike = np.flatnonzero((index.labels == index.labels[row]) & (index.held_out == index.held_out[row]))
        others = np.roll(alike, -1 - int(np.searchsorted(alike, row)))[:INSTEAD]
        for other in others.tolist():
            try:
                picture = self._decode(other)
            except InputError:
                continue
            tqdm.write(f"{said} {index.path(other).name} takes its place.")
            return picture
        raise InputError(f"{index.path(row)} cannot be read, nor the {INSTEAD} after it; unpack the folder again.")

    def _decode(self, row: int) -> np.ndarray:
        picture = square(read_image(self.index.path(row), REDUCTION * self.size), self.size)
        return np.asarray(picture).transpose(2, 0, 1)  # (3, size, size)

    def __getitems__(self, rows: list[int]) -> Tensor | InputError:
        try:
            return self.read(rows)
        except InputError as error:  # raised in a process of its own it would come as the text of a traceback
            return error


class Order:
    """The batch sampler of a DataLoader that goes on being used: whatever order it was last given."""

    rows: Iterable[Tensor] = ()

    def __iter__(self) -> Iterator[list[int]]:
        return (rows.tolist() for rows in self.rows)


@dataclass(eq=False)
class Streamed(Labelled):
    """A dataset on a disk; training takes it as it takes `Photos`.

    rows: int64 (N,), of the index; labels: int64 (N,); held_out: bool (N,); workers: processes that read ahead, 0 to
    read in this one.
    """

    index: Index
    size: int
    rows: Tensor
    labels: Tensor
    held_out: Tensor
    workers: int
    attributes = None

    @property
    def classes(self) -> tuple[str, ...]:
        return self.index.classes

    @property
    def device(self) -> torch.device:
        return self.labels.device

    def part(self, held_out: bool) -> "Streamed":
        """Only the held-out tenth, or only the rest."""
        keep = self.held_out == held_out
        tensors = {name: getattr(self, name)[keep.to(getattr(self, name).device)] for name in TENSORS}
        return replace(self, **tensors)

    def to(self, device: torch.device) -> "Streamed":
        """labels and pixels come on the device; which files to read is decided here."""
        return replace(self, labels=self.labels.to(device), held_out=self.held_out.to(device))

    @cached_property
    def known(self) -> Tensor:
        """At most KNOWN rows, of each class as many, or all it has; the first of them are as evenly of all classes."""
        return self.sample(KNOWN)

    @property
    def gallery(self) -> int:
        return min(GALLERY, len(self.known))

    def sample(self, count: int) -> Tensor:
        """`count` rows, or all, always the same, of each class in turn: int64."""
        shuffled = torch.randperm(len(self), generator=torch.Generator().manual_seed(0))
        labels = self.labels.cpu()[shuffled]
        order = labels.argsort(stable=True)
        counts = labels.bincount(minlength=len(self.classes))
        begin = (counts.cumsum(0) - counts).repeat_interleave(counts)
        turn = torch.arange(len(self)) - begin  # of each row among those of its class
        return shuffled[order][turn.argsort(stable=True)][:count]

    def pixels(self, rows: Tensor) -> Tensor:
        """Read now. rows: int64 (B,); returns uint8 (B, 3, size, size). Raises InputError as `Files.read`."""
        return self._files.read(self._of_index(rows).tolist()).to(self.device)

    def batches(self, order: Iterable[Tensor]) -> Iterator[Tensor]:
        """`pixels` of many batches in turn, read ahead. One order at a time: the next ends the one before."""
        self._order.rows = mine = map(self._of_index, order)
        for pixels in self._loader:
            if self._order.rows is not mine:
                raise RuntimeError("another order was begun: these would be its pictures")
            if isinstance(pixels, InputError):
                raise pixels
            yield pixels.to(self.device, non_blocking=True)

    def in_memory(self, progress: bool = True) -> Photos:
        """A sample of as many as are held in memory, as `Photos`."""
        rows = self.sample(IN_MEMORY // (3 * self.size**2)).sort().values
        images = torch.empty(len(rows), 3, self.size, self.size, dtype=torch.uint8)
        with tqdm(total=len(rows), desc="reading a sample", unit="image", disable=not progress) as bar:
            for into, pixels in zip(images.split(CHUNK), self.batches(rows.split(CHUNK)), strict=True):
                into.copy_(pixels)
                bar.update(len(into))
        return Photos(images, self.labels.cpu()[rows], self.held_out.cpu()[rows], self.classes)

    @cached_property
    def fingerprint(self) -> str:
        """A hash of names, sizes in bytes and labels of the files, not of their content: what a run was made of."""
        return self.index.fingerprint(self.rows.numpy())

    def _of_index(self, rows: Tensor) -> Tensor:
        return self.rows[rows.cpu()]

    @cached_property
    def _files(self) -> Files:
        return Files(self.index, self.size)

    @cached_property
    def _order(self) -> Order:
        return Order()

    @cached_property
    def _loader(self) -> DataLoader:
        ahead = {"persistent_workers": True, "worker_init_fn": _leave_interrupts}
        return DataLoader(
            self._files,
            batch_sampler=self._order,
            num_workers=self.workers,
            collate_fn=_as_it_is,
            pin_memory=self.device.type == "cuda",
            generator=torch.Generator(),  # else the loader would draw from the global state
            **ahead if self.workers else {},
        )


def stream(index: Index, size: int, workers: int | None = None) -> Streamed:
    """All pictures of an index as a dataset. workers: processes that read ahead; None takes this process's share."""
    labels, held_out = torch.from_numpy(index.labels), torch.from_numpy(index.held_out)
    workers = processes() if workers is None else workers
    return Streamed(index, size, torch.arange(len(index)), labels, held_out, workers)


def _as_it_is(batch: Tensor | InputError) -> Tensor | InputError:
    return batch


def _leave_interrupts(worker: int) -> None:
    """Ctrl-C is for the process that trains, which then ends these."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
