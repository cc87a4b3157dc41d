"""Scenes as datasets to train on and to measure with, and any dataset by its name or folder."""

import hashlib
from pathlib import Path

import numpy as np
import torch
from tqdm.auto import tqdm

from pyramid.data import Photos, cached
from pyramid.errors import InputError
from pyramid.scenes import places
from pyramid.scenes.builders import LABELS
from pyramid.scenes.canvas import MATERIALS, TIMES
from pyramid.scenes.folders import load_folder
from pyramid.scenes.scene import Scene, render
from pyramid.scenes.streaming import Streamed

TRAINING, TEST = range(12_000), range(1_000_000, 1_003_000)
UNTOLD = "-untold"  # at the end of a name: the same pictures, whose attributes do not tell of people
RANGES = {  # numbers of their scenes
    "scenes": TRAINING, "scenes-test": TEST, "people": TRAINING, "people-untold": TRAINING, "people-test": TEST,
}  # fmt: skip
PEOPLED = ("people", "people-untold", "people-test")  # the same landscapes, with people in six of ten


def load_scenes(name: str, size: int, progress: bool = True) -> Photos:
    """A dataset of scenes at size x size pixels: "scenes" and "people" to train on, "…-test" to measure with.

    Fixed ranges of scene numbers of seed 0 (`RANGES`); of the former every tenth counts as held out. Beside
    its label every scene has attributes: its hour, one of three, and the share of each material; those of "people"
    two more, the share that is people and whether there are any; "people-untold" is "people" without these two.
    Drawn once and cached in data/cache. Raises InputError for a size that scenes are not drawn at.
    """
    drawn = name.removesuffix(UNTOLD)
    arrays = cached(f"{drawn}-{size}-{_fingerprint()}", lambda: _draw(drawn, size, progress))
    if name.endswith(UNTOLD):
        arrays = arrays | {"attributes": arrays["attributes"][:, :-2]}
    return Photos(**{key: torch.from_numpy(a) for key, a in arrays.items()}, classes=LABELS)


def load_photos(source: str | Path, size: int, progress: bool = True, streamed: bool = False) -> Photos | Streamed:
    """A dataset at size x size pixels, by name (`RANGES`, Places365) or from a folder of photographs.

    Names: "scenes", "scenes-test"; "places365" and "places365-test" where `python -m pyramid fetch places365` has put
    them (or the folder that has both, for the first). streamed: what does not fit in memory may come as `Streamed`, for
    training; without, a sample of it is loaded, see `load_folder`. Raises InputError for a folder that is missing or
    holds no picture, and for scenes of a size there is not.
    """
    if str(source) in RANGES:
        return load_scenes(str(source), size, progress)
    if str(source) in places.SPLITS:
        return load_places(str(source), places.home(), size, progress, streamed)
    if places.is_root(Path(source)):
        return load_places("places365", Path(source), size, progress, streamed)
    return load_folder(source, size, progress, streamed)


def load_places(name: str, root: Path, size: int, progress: bool = True, streamed: bool = False) -> Photos | Streamed:
    """Places365 from torchvision's layout, by its lists. name: one of `places.SPLITS`; the rest as `load_folder`.

    Raises InputError where it is not there.
    """
    folder = root / places.SPLITS[name][1]
    if not folder.is_dir():
        raise InputError(
            f"Places365 is not in {root}; run `python -m pyramid fetch places365`, or give your own copy's folder "
            f"{folder.name} with --data."
        )
    return load_folder(folder, size, progress, streamed, lambda: places.find(root, name))


def _draw(name: str, size: int, progress: bool) -> dict[str, np.ndarray]:
    """The arrays of `Photos` for a named dataset of N scenes."""
    people = name in PEOPLED
    numbers = tqdm(RANGES[name], desc=f"drawing {name}", unit="scene", disable=not progress)
    drawn = [render(n, size, people=people) for n in numbers]
    return {
        "images": np.stack([scene.image.transpose(2, 0, 1) for scene in drawn]),  # (N, 3, size, size)
        "labels": np.array([LABELS.index(scene.label) for scene in drawn], dtype=np.int64),
        "held_out": np.arange(len(drawn)) % 10 == 0,
        "attributes": np.stack([_attributes(scene, people) for scene in drawn]),  # (N, 12), with people (N, 14)
    }


def _attributes(scene: Scene, people: bool) -> np.ndarray:
    """1 at the scene's hour, then the share of the picture that each material of a landscape takes: (12,).

    people: with the share that is people, and 1 if there are any: (14,).
    """
    shares = np.bincount(scene.materials.ravel(), minlength=len(MATERIALS)) / scene.materials.size
    of_people = shares[MATERIALS.index("person")]
    told = [of_people, of_people > 0] if people else []
    hour = [time == scene.time for time in TIMES]
    return np.concatenate([hour, shares[: MATERIALS.index("person")], told]).astype(np.float32)


def _fingerprint() -> str:
    """A hash of the source of this module and those beside it: after a change to any, no older cache is read."""
    modules = sorted(Path(__file__).parent.glob("[a-z]*.py"))  # without the facade and an editor's hidden files
    sources = b"".join(module.read_bytes() for module in modules)
    return hashlib.sha256(sources).hexdigest()[:16]
