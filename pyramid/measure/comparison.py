"""One pass of the generator against inversion by optimisation: same photographs, same levels, one run."""

import time

import torch
from torch import Tensor
from tqdm.auto import tqdm

from pyramid import masks
from pyramid.data import Photos, from_bytes, to_bytes
from pyramid.measure import metrics
from pyramid.measure.extractors import Extractor
from pyramid.measure.inversion import invert
from pyramid.measure.tables import markdown
from pyramid.model import SemanticPyramid

BATCH = 10
PAIRS = 20  # photographs of which two images are made, for the distance of two seeds
METHODS = ("generator", "inversion")


def compare(
    model: SemanticPyramid, photos: Photos, levels: list[str], count: int, side: int, seed: int = 0, progress=True
) -> dict:
    """Both methods at each level, over the first `count` photographs of an order fixed by `seed`.

    KID and the Fréchet distance are taken to as many other photographs.

    Returns: {"settings": …, "rows": {level: {method: {column: number}}}, "pictures": uint8 per level and method}.
    Seconds are of this machine, an image, in batches of BATCH. A Fréchet distance is among the columns where
    there are more photographs than features. Raises InputError where there are fewer than 2 * `count` photographs.
    """
    order, apart = metrics.chosen_and_others(photos, count, seed)
    images, labels = from_bytes(photos.images[order]), photos.labels[order]
    extract = Extractor(side, model.device)
    real = torch.cat([extract(part) for part in from_bytes(photos.images[apart]).split(BATCH)])
    rows: dict[str, dict] = {}
    pictures: dict[str, Tensor] = {}
    with tqdm(total=len(levels) * len(METHODS), unit="set", desc="compare", disable=not progress) as bar:
        for level in levels:
            rows[level] = {}
            for method in METHODS:
                start = time.perf_counter()
                made = _make(model, method, images, labels, level, seed)
                seconds = (time.perf_counter() - start) / count
                twin = _make(model, method, images[:PAIRS], labels[:PAIRS], level, seed + 1)
                rows[level][method] = {"seconds": seconds} | _columns(
                    model, extract, made, twin, images, labels, real, level
                )
                pictures[f"{level} {method}"] = to_bytes(made[:8])
                bar.update()
    settings = {"images": count, "side": side, "seed": seed, "device": str(model.device), "batch": BATCH}
    return {"settings": settings, "rows": rows, "pictures": pictures}


def _make(model, method: str, images: Tensor, labels: Tensor, level: str, seed: int) -> Tensor:
    parts = []
    for i in range(0, len(images), BATCH):
        features = model.features(images[i : i + BATCH])
        if method == "generator":
            parts.append(model.generate(features, masks.level(level), labels[i : i + BATCH], seed=seed + 2 * i))
        else:
            parts.append(invert(model.classifier, features[level], level, seed=seed + 2 * i))
    return torch.cat(parts)


@torch.no_grad()
def _columns(model, extract, made, twin, images, labels, real, level) -> dict[str, float]:
    features = torch.cat([extract(part) for part in made.split(BATCH)])
    reencoded, given = (
        torch.cat([model.features(part)[level].cpu() for part in x.split(BATCH)]) for x in (made, images)
    )
    named = torch.cat([model.judged(part) for part in made.split(BATCH)])
    near = metrics.agreement(reencoded, given, labels)
    kid, spread = metrics.kernel_distances(real, features)
    frechet = {}
    if len(real) > real.shape[1]:
        frechet["frechet"] = metrics.frechet_distance(metrics.fit_gaussian(real), metrics.fit_gaussian(features))
    return {
        "cosine": float(near["cosine"].mean()),
        "top5": float(near["top5"].mean()),
        "kid": kid,
        "kid_spread": spread,
        "judge": float((named == labels).float().mean()),
        "psnr": float(metrics.psnr(made, images).mean()),
        "two_seeds": float((made[: len(twin)] - twin).abs().mean()),
    } | frechet


COLUMNS = {
    "seconds": ("seconds an image", "{:.4f}"),
    "cosine": ("cosine to the reference", "{:.2f}"),
    "frechet": ("Fréchet distance (EfficientNet-lite0)", "{:.0f}"),
    "kid": ("KID (EfficientNet-lite0)", "{:.2f}"),
    "judge": ("class agreement (judge)", "{:.0%}"),
    "psnr": ("RGB PSNR, dB", "{:.1f}"),
    "two_seeds": ("distance of two seeds", "{:.2f}"),
}


def markdown_table(result: dict) -> str:
    """The table of `compare` as Markdown, with how many times faster the generator was."""
    first = next(iter(result["rows"].values()))["generator"]
    columns = {key: column for key, column in COLUMNS.items() if key in first}
    rows = [
        [f"`{level}`", method, *(form.format(row[key]) for key, (_, form) in columns.items())]
        for level, methods in result["rows"].items()
        for method, row in methods.items()
    ]
    faster = ", ".join(
        f"{level} {rows['inversion']['seconds'] / rows['generator']['seconds']:.0f}"
        for level, rows in result["rows"].items()
    )
    s = result["settings"]
    note = (
        f"{s['images']} held-out photographs, seed {s['seed']}, {s['device']}, batches of {s['batch']}; "
        f"EfficientNet-lite0 at {s['side']} px. Times faster than inversion: {faster}."
    )
    return markdown(["level", "method", *(title for title, _ in columns.values())], rows, note)
