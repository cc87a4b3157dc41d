"""Places365 (Zhou et al. 2018), the paper's data: where it is fetched from, and its pictures by its own lists.

Nothing of it is in this project. The addresses and MD5s are those that torchvision.datasets.Places365 goes by, which
also reads the lists; of the VGG-16 its publisher, CSAILVision/places365, gives no hash.
"""

import os
import shutil
import tarfile
from dataclasses import dataclass
from pathlib import Path

from torchvision.datasets import Places365
from tqdm.auto import tqdm

from pyramid import data
from pyramid.checkpoints import locked, unwritable
from pyramid.errors import InputError
from pyramid.scenes.fetching import fetch
from pyramid.scenes.folders import Found
from pyramid.scenes.index import CATEGORIES

DATA = "http://data.csail.mit.edu/places/places365/"
MODELS = "http://places2.csail.mit.edu/models_places365/"
TRAINING = "places365_train_standard.txt"
SPLITS = {  # dataset -> torchvision's split, the folder of its pictures
    "places365": ("train-standard", "data_256_standard"),
    "places365-test": ("val", "val_256"),
}


@dataclass(frozen=True)
class Part:
    """A file to fetch. holds: what a tar unpacks to, and the name that it then gets."""

    address: str
    md5: str | None
    about: str
    holds: tuple[tuple[str, str], ...] = ()


PARTS = {
    "labels": Part(
        f"{DATA}filelist_places365-standard.tar",
        "35a0585fee1fa656440f3ab298f8479c",
        "365 labels and the lists of pictures",
        tuple((name, name) for name in (CATEGORIES, TRAINING, "places365_val.txt", "places365_test.txt")),
    ),
    "val": Part(
        f"{DATA}val_256.tar",
        "e27b17d8d44f4af9a78502beb927f808",
        "36,500 pictures to measure with, 0.5 GB",
        (("val_256", "val_256"),),
    ),
    "train": Part(
        f"{DATA}train_256_places365standard.tar",
        "53ca1c756c3d1e7809517cc47c5561c5",
        "1.8 million pictures to train on, 24 GB, and as much again while it is unpacked",
        (("data_256", "data_256_standard"),),
    ),
    "vgg": Part(f"{MODELS}vgg16_places365.caffemodel", None, "VGG-16 trained on it, 0.5 GB, for convert-vgg"),
}


def home() -> Path:
    """Where Places365 is fetched to unless another folder is named."""
    return data.CACHE / "places365"


def is_root(folder: Path) -> bool:
    """Whether a folder holds Places365's training pictures and lists as torchvision lays them out."""
    return (folder / SPLITS["places365"][1]).is_dir() and (folder / TRAINING).is_file()


def fetch_part(name: str, folder: Path, progress: bool = True) -> list[Path]:
    """Fetch a part of Places365 into a folder and unpack it, unless that is done; returns what is there.

    The layout is torchvision's. A tar is removed once it is unpacked. Raises InputError where the part cannot be
    fetched or unpacked, with what can be done by hand.
    """
    part = PARTS[name]
    archive = folder / part.address.rsplit("/", 1)[1]
    there = [folder / called for _, called in part.holds] or [archive]
    with locked(folder):
        if not all(path.exists() for path in there):
            if part.holds and not hasattr(tarfile, "data_filter"):
                raise InputError(f"This Python cannot unpack {archive.name} safely; 3.10.12 or 3.11.4 can.")
            fetch(part.address, archive, part.md5, progress)
            if part.holds:
                _unpack(archive, folder, part, progress)
                archive.unlink()
    return there


def _unpack(archive: Path, folder: Path, part: Part, progress: bool) -> None:
    """Unpack a tar beside its place and move what it holds there, so that what has its name is whole."""
    apart = folder / f".{archive.name}.unpacking"
    try:
        shutil.rmtree(apart, ignore_errors=True)
        with (
            tarfile.open(archive) as tar,
            tqdm(
                total=archive.stat().st_size, desc="unpacking", unit="B", unit_scale=True, disable=not progress
            ) as bar,
        ):
            for member in tar:
                tar.extract(member, apart, filter="data")
                tar.members = []  # else 1.8 million of them are remembered
                bar.update(member.offset_data + member.size - bar.n)
        for held, called in part.holds:
            os.replace(apart / held, folder / called)
        shutil.rmtree(apart)
    except tarfile.TarError:
        raise InputError(f"{archive} is not a tar that can be read; remove it, and give the same command.") from None
    except OSError as error:
        raise unwritable(apart, error) from None


def find(folder: Path, dataset: str) -> Found:
    """The pictures of one of SPLITS by torchvision, which reads Places365's lists. folder: torchvision's root.

    Raises InputError where the lists are missing or altered.
    """
    split, called = SPLITS[dataset]
    try:
        listed = Places365(folder, split, small=True)
    except (RuntimeError, OSError, ValueError):
        raise InputError(
            f"Places365's lists are not in {folder}, or were altered; run `python -m pyramid fetch places365 --parts "
            f"labels --out {folder}`, or give the folder {folder / called} with --data."
        ) from None
    classes = sorted(listed.class_to_idx, key=listed.class_to_idx.__getitem__)
    return Found(
        folder / called,
        tuple(name[3:] for name in classes),  # without the letter: /a/airfield
        [(Path(path), label) for path, label in listed.imgs],
    )
