"""The images that `levels.evaluate` measures, as folders of PNGs, for any other tool to measure."""

import io
from pathlib import Path

from torch import Tensor
from tqdm.auto import tqdm

from pyramid.checkpoints import write_atomically
from pyramid.data import Labelled, from_bytes, to_picture
from pyramid.errors import InputError
from pyramid.measure.levels import BATCH, ROWS, sample
from pyramid.measure.metrics import chosen
from pyramid.model import SemanticPyramid

REAL = "real"


def export(
    model: SemanticPyramid,
    photos: Labelled,
    count: int,
    names: list[str],
    folder: Path,
    seed: int = 0,
    progress: bool = True,
) -> list[Path]:
    """Write `count` references and one image of each from every row named: folder/real/000000.png, folder/conv3/….

    photos, count, seed: as for `levels.evaluate`, which measures the same images; names: of `levels.ROWS`.
    Returns the folders. Raises InputError for another name, for fewer photographs, and where one of the folders holds
    something: a tool would take it for images of these.
    """
    if unknown := [name for name in names if name not in ROWS]:
        raise InputError(f"There is no row {unknown[0]!r}; the rows are {', '.join(ROWS)}.")
    folders = {name: folder / name for name in (REAL, *names)}
    if full := [path for path in folders.values() if path.exists() and any(path.iterdir())]:
        raise InputError(f"{full[0]} is not empty; give another folder with --out.")
    parts, written = chosen(photos, count, seed).split(BATCH), 0
    with tqdm(total=count * len(folders), unit="image", desc="export", disable=not progress) as bar:
        for rows, pixels in zip(parts, photos.batches(parts), strict=True):
            features = model.features(from_bytes(pixels))
            for name, place in folders.items():
                made = pixels if name == REAL else sample(model, features, name, photos.labels[rows], written, seed)
                _write(place, made, written)
                bar.update(len(made))
            written += len(rows)
    return list(folders.values())


def _write(folder: Path, pixels: Tensor, first: int) -> None:
    """uint8 (B, 3, S, S) as PNGs, numbered from `first` on."""
    for i, image in enumerate(from_bytes(pixels)):
        content = io.BytesIO()
        to_picture(image).save(content, format="PNG")
        write_atomically(folder / f"{first + i:06d}.png", content.getbuffer())
