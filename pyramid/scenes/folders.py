"""A folder of photographs as a dataset, as folders are in the wild: which pictures are of which class.

FOLDER/class/*.jpg            the classes are the folders
FOLDER/a/airfield/*.jpg       Places365's own layout: a letter, then a class of one name or two (bedroom, or
                              apartment_building/outdoor)
FOLDER/*.jpg                  one class; Places365's validation pictures, with places365_val.txt beside them, by it
FOLDER/one/FOLDER-of-classes  what an archive unpacks to: the folder inside it is taken
"""

import hashlib
import json
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import torch
from tqdm.auto import tqdm

from pyramid.data import SUFFIXES, Photos, cached, read_image, square
from pyramid.errors import InputError
from pyramid.scenes.index import CATEGORIES, VALIDATION, read_index, write_index
from pyramid.scenes.streaming import Streamed, fits, stream

UNREAD = {
    ".heic",
    ".heif",
    ".avif",
    ".jfif",
    ".raw",
    ".dng",
    ".cr2",
    ".nef",
    ".svg",
    ".psd",
}  # pictures, not for Pillow
SHOWN = 8  # names in a sentence


@dataclass
class Found:
    """What a folder holds. files: (path, label); passed: what was left out -> why."""

    folder: Path
    classes: tuple[str, ...]
    files: list[tuple[Path, int]]
    passed: dict[str, str] = field(default_factory=dict)


def find_pictures(folder: Path) -> Found:
    """Which pictures of a folder are of which class. Raises InputError, naming what would work, where none is."""
    if not folder.is_dir():
        raise InputError(f"There is no folder {folder}; give one with a folder of pictures per class.")
    listed = _validation_list(folder)
    if listed:
        return listed
    children, hidden = _children(folder)
    passed = dict.fromkeys(hidden, "hidden")
    classes = {child: pictures for child in children if (pictures := _pictures(child))}
    loose = _pictures(folder)
    if not classes and loose:
        if below := _holders(folder):
            passed[_some([str(holder.relative_to(folder)) for holder in below])] = "deeper than a class folder"
        return Found(folder, (folder.resolve().name,), [(path, 0) for path in loose], passed)
    if not classes:
        return _deeper(folder, children, passed)
    for child in children:
        below = _holders(child)
        if child not in classes:
            why = f"its pictures lie deeper, in {below[0].relative_to(folder)}" if below else "it holds no picture"
            passed[child.name] = why
        elif below:
            passed[_some([str(holder.relative_to(folder)) for holder in below])] = "deeper than a class folder"
    unread = Counter(path.suffix.lower() for child in classes for path in child.iterdir() if path.is_file())
    for suffix in sorted(UNREAD & unread.keys()):
        passed[f"{unread[suffix]} {suffix} files"] = "a kind that is not read; export them as JPEG"
    if loose:
        passed[f"{len(loose)} pictures beside the class folders"] = "of no class"
    return _found(folder, {child.name: pictures for child, pictures in classes.items()}, passed)


def _deeper(folder: Path, children: list[Path], passed: dict[str, str]) -> Found:
    """Where no child of the folder holds pictures itself: Places365's letters, a folder in a folder, or nothing."""
    holders = _holders(folder)
    if not holders:
        kinds = ", ".join(sorted(SUFFIXES))
        raise InputError(f"The folder {folder} holds no picture ({kinds}); give one with a folder of pictures a class.")
    with_pictures = [child for child in children if any(child in holder.parents for holder in holders)]
    parts = {holder: holder.relative_to(folder).parts for holder in holders}
    if all(len(letter) == 1 and name.startswith(letter) for letter, name, *_ in parts.values()):  # a/airfield
        return _found(folder, {"/".join(parts[holder][1:]): _pictures(holder) for holder in holders}, passed)
    if len(with_pictures) == 1:
        inner = find_pictures(with_pictures[0])
        return Found(inner.folder, inner.classes, inner.files, passed | inner.passed)
    works = sorted({str(holder.parent) for holder in holders})
    raise InputError(
        f"The folder {folder} holds no pictures of its own, and several folders of classes; give one of them: "
        f"{_some(works)}."
    )


def _found(folder: Path, pictures: dict[str, list[Path]], passed: dict[str, str]) -> Found:
    """Classes in alphabetical order, or in that of Places365's list of categories where it lies beside them."""
    order = {name: i for i, name in enumerate(_categories(folder))}
    names = sorted(pictures, key=lambda name: (order.get(name, len(order)), name))
    return Found(folder, tuple(names), [(path, i) for i, name in enumerate(names) for path in pictures[name]], passed)


def _categories(folder: Path) -> list[str]:
    """Names in Places365's list, `/a/airfield 0` a line, in the folder or beside it: airfield, …; none without."""
    for place in (folder, folder.parent):
        if (place / CATEGORIES).is_file():
            lines = (place / CATEGORIES).read_text(encoding="utf-8", errors="replace").split("\n")
            return [line.split()[0][3:] for line in lines if line.startswith("/")]
    return []


def _validation_list(folder: Path) -> Found | None:
    """Places365's validation pictures, by the list beside them: `Places365_val_00000001.jpg 165` a line."""
    names = _categories(folder)
    lists = [place / VALIDATION for place in (folder, folder.parent) if (place / VALIDATION).is_file()]
    pictures = {path.name: path for path in _pictures(folder)}
    if not (names and lists and pictures):
        return None
    rows = [line.split() for line in lists[0].read_text(encoding="utf-8", errors="replace").splitlines()]
    of = {row[0]: int(row[1]) for row in rows if len(row) == 2 and row[1].isdigit() and int(row[1]) < len(names)}
    present = sorted({of[name] for name in pictures if name in of})
    if not present:
        return None
    rest = len([name for name in pictures if name not in of])
    files = [(path, present.index(of[name])) for name, path in pictures.items() if name in of]
    passed = {f"{rest} pictures": f"not in {VALIDATION}"} if rest else {}
    return Found(folder, tuple(names[i] for i in present), sorted(files, key=lambda file: file[1]), passed)


def _children(folder: Path) -> tuple[list[Path], list[str]]:
    """The folders in a folder, and the names of those that are hidden (.ipynb_checkpoints) or not a user's."""
    folders = sorted(path for path in folder.iterdir() if path.is_dir())
    hidden = [path for path in folders if path.name.startswith((".", "__"))]
    return [path for path in folders if path not in hidden], [path.name for path in hidden]


def _pictures(folder: Path) -> list[Path]:
    """Pictures that lie in the folder itself, without what a Mac keeps beside each (`._name`)."""
    return sorted(
        p for p in folder.iterdir() if p.suffix.lower() in SUFFIXES and not p.name.startswith(".") and p.is_file()
    )


def _holders(folder: Path, above: tuple[Path, ...] = ()) -> list[Path]:
    """Every folder below this one that holds pictures itself; a link back to a folder above is not followed."""
    above = (*above, folder.resolve())
    children = [child for child in _children(folder)[0] if child.resolve() not in above]
    return [found for child in children for found in ([child] if _pictures(child) else []) + _holders(child, above)]


def _some(names: list[str]) -> str:
    return ", ".join(names[:SHOWN]) + (" …" if len(names) > SHOWN else "")


def load_folder(
    folder: str | Path,
    size: int,
    progress: bool = True,
    streamed: bool = False,
    find: Callable[[], Found] | None = None,
) -> Photos | Streamed:
    """Read a folder of photographs (see above) at size x size pixels, and say what was taken and what was not.

    What fits in memory (`streaming.IN_MEMORY`) is decoded once and cached in data/cache; a fixed tenth is held out by
    the hash of each file's content, so that it is the same tenth everywhere. Unreadable files are counted and named,
    and left out. What does not fit is listed once in an index, its tenth held out by the hash of each file's name; with
    `streamed` it is read when it is needed, else a sample of it is loaded, as much as fits, evenly of all classes.

    find: says what the folder holds; None looks. Raises InputError for a folder that is missing, holds no picture, or
    cannot be read.
    """
    folder = Path(folder)
    try:
        index = read_index(folder)
        if index is None or fits(len(index), size):
            found = find() if find else find_pictures(folder)
            if fits(len(found.files), size):
                return _load(found, size, progress)
            index = write_index(folder, found, progress)
            _say_passed(found)
    except OSError as error:
        raise InputError(
            f"{error.filename or folder} cannot be read ({error.strerror}); give another folder."
        ) from None
    _say_taken(index.folder, index.classes, index.labels)
    needed = f"At {size} px they take {3 * size**2 * len(index) / 1e9:.0f} GB, more than is held in memory:"
    print(f"{needed} {'they are read as they are needed.' if streamed else 'a fixed sample is read.'}")
    return stream(index, size) if streamed else stream(index, size).in_memory(progress)


def _load(found: Found, size: int, progress: bool) -> Photos:
    """What was found, in memory."""
    listing = [(str(p.relative_to(found.folder)), p.stat().st_size, p.stat().st_mtime_ns) for p, _ in found.files]
    key = hashlib.sha256(json.dumps([size, found.classes, listing]).encode()).hexdigest()[:16]
    name = f"{found.folder.resolve().name}-{size}-{key}"[-120:]
    arrays = cached(name, lambda: _decode(found.files, size, found.folder, progress))
    counts = _say_taken(found.folder, found.classes, arrays["labels"])
    _say_passed(found)
    if empty := [name for name, count in zip(found.classes, counts, strict=True) if not count]:
        raise InputError(f"No picture of {_some(empty)} can be read; mend them, or take these folders away.")
    return Photos(**{name: torch.from_numpy(a) for name, a in arrays.items()}, classes=found.classes)


def _say_taken(folder: Path, classes: tuple[str, ...], labels: np.ndarray) -> list[int]:
    """Prints, and returns, how many pictures of each class there are."""
    counts = np.bincount(labels, minlength=len(classes)).tolist()
    each = [f"{name} {count:,}" for name, count in zip(classes, counts, strict=True)]
    kinds = "1 class" if len(each) == 1 else f"{len(each)} classes"
    print(f"{folder}: {len(labels):,} pictures of {kinds}: {_some(each)}")
    return counts


def _say_passed(found: Found) -> None:
    if found.passed:
        print("Passed over: " + _some([f"{name} ({why})" for name, why in found.passed.items()]))


def _decode(files: list[tuple[Path, int]], size: int, folder: Path, progress: bool) -> dict[str, np.ndarray]:
    """Read (path, label) pairs: images, labels and held_out of `Photos`, without what cannot be read."""
    images = np.empty((len(files), 3, size, size), np.uint8)
    labels, held_out, broken = [], [], []
    for path, label in tqdm(files, desc=f"reading {folder.name}", unit="image", disable=not progress):
        try:
            picture = np.asarray(square(read_image(path), size))
            digest = hashlib.sha256(path.read_bytes()).hexdigest()
        except (InputError, OSError):
            broken.append(path.name)
            continue
        images[len(labels)] = picture.transpose(2, 0, 1)  # (3, size, size)
        labels.append(label)
        held_out.append(int(digest, 16) % 10 == 0)
    if broken:
        print(f"Left out {len(broken)} unreadable file(s): {_some(broken)}")
    if not labels:
        raise InputError(f"None of the {len(files)} files in {folder} is a picture that can be read.")
    return {
        "images": images[: len(labels)],
        "labels": np.array(labels, dtype=np.int64),
        "held_out": np.array(held_out, dtype=bool),
    }
