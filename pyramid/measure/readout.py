"""How much of a photograph its features still hold: a linear reader that gives the pixels back from one level alone.

Ridge regression (Hoerl & Kennard 1970) from the features in the 3x3 cells around a place to the pixels of the cell in
the middle, fitted on training photographs and measured on others. What no linear reader finds may still be there; what
it finds, a generator can give back.
"""

from collections.abc import Callable

import torch
from torch import Tensor
from torch.nn import functional as F

from pyramid.data import Photos, from_bytes, luminance
from pyramid.levels import CONV_LEVELS
from pyramid.measure.metrics import chosen, psnr
from pyramid.measure.tables import markdown

LEVELS_READ = CONV_LEVELS[:3]  # deeper, a cell has more pixels than numbers
AROUND = 3  # cells a side that are read for one
RIDGE = 1e-4  # share of the features' mean energy that is added to each
BATCH = 32

Encode = Callable[[Tensor], dict[str, Tensor]]  # images (B, 3, S, S) in [-1, 1] -> level -> (B, C, h, w)


def measure(encode: Encode, training: Photos, held_out: Photos, count: int, seed: int = 0) -> dict:
    """Fit a reader for each of LEVELS_READ on `count` photographs of `training`; measure it on all of `held_out`.

    Returns {"settings": …, "rows": {level: {"psnr": dB, "chroma": share of the colour's energy that is missed}}}.
    Raises InputError where there are fewer training photographs.
    """
    pixels = training.images[chosen(training, count, seed)]
    readers = fit(encode, pixels)
    rows = {name: _score(encode, reader, name, held_out.images) for name, reader in readers.items()}
    return {"settings": {"fitted": count, "measured": len(held_out), "seed": seed}, "rows": rows}


@torch.no_grad()
def fit(encode: Encode, pixels: Tensor) -> dict[str, Tensor]:
    """Each level's reader, (9 C + 1, 3 s^2): from features around a cell to its pixels, s to a side.

    pixels: uint8 (N, 3, S, S).
    """
    products: dict[str, Tensor] = {}
    for part in pixels.split(BATCH):
        images = from_bytes(part)
        features = encode(images)
        for name in LEVELS_READ:
            x, y = _cells(features[name], images)
            product = torch.cat([x, y], 1).T @ x  # (9 C + 1 + 3 s^2, 9 C + 1)
            products[name] = products.get(name, 0) + product.double()
    readers = {}
    for name, product in products.items():
        size = product.shape[1]
        inner = product[:size]
        ridge = RIDGE * inner.diagonal().mean() * torch.eye(size, dtype=inner.dtype, device=inner.device)
        readers[name] = torch.linalg.solve(inner + ridge, product[size:].T).float()
    return readers


def _cells(features: Tensor, images: Tensor) -> tuple[Tensor, Tensor]:
    """What is read around every cell, and the cell's pixels: (B h w, 9 C + 1), (B h w, 3 s^2)."""
    around = F.unfold(features.float(), AROUND, padding=AROUND // 2)  # (B, 9 C, h w)
    around = F.pad(around.transpose(1, 2), (0, 1), value=1.0)  # (B, h w, 9 C + 1)
    cells = F.pixel_unshuffle(images, images.shape[-1] // features.shape[-1])  # (B, 3 s^2, h, w)
    return around.flatten(0, 1), cells.flatten(2).transpose(1, 2).flatten(0, 1).to(features.device)


@torch.no_grad()
def read(encode: Encode, reader: Tensor, name: str, images: Tensor) -> Tensor:
    """Images (B, 3, S, S) in [-1, 1] as the reader gives them back from one level, clipped to that range."""
    features = encode(images)[name]
    around, _ = _cells(features, images)
    side = features.shape[-1]
    cells = (around @ reader.to(around)).unflatten(0, (len(images), side, side)).permute(0, 3, 1, 2)
    return F.pixel_shuffle(cells, images.shape[-1] // side).clamp(-1, 1).cpu()


def _score(encode: Encode, reader: Tensor, name: str, pixels: Tensor) -> dict[str, float]:
    decibels, missed, there = [], 0.0, 0.0
    for part in pixels.split(BATCH):
        images = from_bytes(part)
        found = read(encode, reader, name, images)
        decibels.append(psnr(found, images))
        of_found, of_images = found - luminance(found), images - luminance(images)
        missed += float((of_found - of_images).square().sum())
        there += float(of_images.square().sum())
    return {"psnr": float(torch.cat(decibels).mean()), "chroma": missed / there}


def markdown_table(result: dict) -> str:
    """A row a level, settings below."""
    rows = [[f"`{name}`", f"{row['psnr']:.1f}", f"{row['chroma']:.0%}"] for name, row in result["rows"].items()]
    s = result["settings"]
    note = f"A linear reader of 3x3 cells, fitted on {s['fitted']:,} photographs, measured on {s['measured']:,} others."
    return markdown(["level", "RGB PSNR, dB", "colour's energy missed"], rows, note)
