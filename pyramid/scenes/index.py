"""Which pictures a large folder holds, kept in a file, so that no start has to walk it again.

Of 1.8 million files even a list of names takes minutes on a network's disk, and their content hours to hash. The index
is written once to data/cache and taken as it is while the folders in it have the time of change that they had, which
every added, renamed or removed file alters, and a fixed sample of the files their sizes. A tenth is held out by the
hash of each file's name in the folder: the same tenth wherever the folder lies, but another than the content's hash
gives a set that fits in memory.
"""

import hashlib
import os
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from tqdm.auto import tqdm

from pyramid.data import read_cache, write_cache
from pyramid.errors import InputError

if TYPE_CHECKING:
    from pyramid.scenes.folders import Found

SAMPLE = 256  # files whose size is compared at each start
CATEGORIES, VALIDATION = "categories_places365.txt", "places365_val.txt"  # Places365's own lists


@dataclass(eq=False)
class Index:
    """N files of a folder, by label. The names lie in one array of bytes, which processes can share without copies.

    names: uint8, all of them; ends: int64 (N,), where each ends; labels, sizes: int64 (N,), sizes in bytes;
    held_out: bool (N,).
    """

    folder: Path
    classes: tuple[str, ...]
    names: np.ndarray
    ends: np.ndarray
    labels: np.ndarray
    sizes: np.ndarray
    held_out: np.ndarray

    def __len__(self) -> int:
        return len(self.ends)

    def path(self, row: int) -> Path:
        begin = self.ends[row - 1] if row else 0
        return self.folder / os.fsdecode(self.names[begin : self.ends[row]].tobytes())

    def fingerprint(self, rows: np.ndarray) -> str:
        """A hash of classes, names, labels and sizes, and of the rows that are chosen: what a run was made of."""
        content = hashlib.sha256("\0".join(self.classes).encode("utf-8", "surrogatepass"))
        for values in (self.names, self.ends, self.labels, self.sizes, rows):
            content.update(np.ascontiguousarray(values).data)
        return content.hexdigest()[:16]


def read_index(folder: Path) -> Index | None:
    """The index of a folder, if there is one and the folder is as it was."""
    arrays = read_cache(_name(folder)) if folder.is_dir() else None
    if arrays is None:
        return None
    index = Index(
        folder / str(arrays["inside"]), tuple(arrays["classes"].tolist()),
        *(arrays[key] for key in ("names", "ends", "labels", "sizes", "held_out")),
    )  # fmt: skip
    parts = os.fsdecode(arrays["parts"].tobytes()).split("\0")
    try:
        same = [os.stat(folder / part).st_mtime_ns for part in parts] == arrays["times"].tolist()
        sample = np.linspace(0, len(index) - 1, min(SAMPLE, len(index))).astype(int).tolist()
        same = same and all(index.path(row).stat().st_size == index.sizes[row] for row in sample)
    except OSError:  # a folder or a file is gone
        same = False
    return index if same else None


def write_index(folder: Path, found: "Found", progress: bool = True) -> Index:
    """Make the index of what was found in a folder, and keep it. Raises InputError where a file is not there."""
    files = sorted(found.files, key=lambda file: file[1])  # stable: by label, then as they were found
    names, sizes, held_out = [], np.empty(len(files), np.int64), np.empty(len(files), bool)
    for row, (path, _) in enumerate(tqdm(files, desc=f"listing {folder.name}", unit="file", disable=not progress)):
        name = path.relative_to(found.folder).as_posix()
        names.append(os.fsencode(name))
        try:
            sizes[row] = path.stat().st_size
        except OSError as error:
            raise InputError(f"{path} cannot be read ({error.strerror}); unpack the folder again.") from None
        held_out[row] = int(hashlib.sha256(names[-1]).hexdigest(), 16) % 10 == 0
    holders = {path.parent for path, _ in files}
    parts = sorted({part for holder in holders for part in (holder, *holder.parents) if part.is_relative_to(folder)})
    arrays = {
        "names": np.frombuffer(b"".join(names), np.uint8),
        "ends": np.cumsum([len(name) for name in names]),
        "labels": np.array([label for _, label in files], np.int64),
        "sizes": sizes,
        "held_out": held_out,
    }
    seen = {
        "classes": np.array(found.classes),
        "inside": np.array(str(found.folder.relative_to(folder))),
        "parts": np.frombuffer(b"\0".join(os.fsencode(part.relative_to(folder)) for part in parts), np.uint8),
        "times": np.array([part.stat().st_mtime_ns for part in parts]),
    }
    write_cache(_name(folder), arrays | seen)
    return Index(found.folder, found.classes, **arrays)


def _name(folder: Path) -> str:
    """Of the folder itself, wherever it is named from, and of the lists in it or beside it, which say labels."""
    lists = [place / name for place in (folder, folder.parent) for name in (CATEGORIES, VALIDATION)]
    known = [(str(path), path.stat().st_size, path.stat().st_mtime_ns) for path in lists if path.is_file()]
    return f"index-{hashlib.sha256(repr([str(folder.resolve()), known]).encode('utf-8', 'replace')).hexdigest()[:16]}"
