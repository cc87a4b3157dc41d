"""Metrics per level: what the samples are like, and how much of the reference they keep."""

import hashlib

import numpy as np
import torch
from torch import Tensor
from tqdm.auto import tqdm

from pyramid import masks
from pyramid.data import Photos, cached, from_bytes, to_bytes
from pyramid.device import autocast
from pyramid.errors import InputError
from pyramid.levels import LEVELS
from pyramid.measure import metrics
from pyramid.measure.extractors import Extractor, Inception
from pyramid.measure.tables import markdown
from pyramid.model import SemanticPyramid

GALLERY = 500  # references among which one is looked up; the references are taken so many at a time
BATCH = 8  # small, since a CPU is three times as fast where the maps stay in its caches
ROWS = (*LEVELS, "closed")
PAPER = {"conv1": 2.89, "fc8": 29.34}  # FID on Places365, 6,000 photographs: other data, another extractor


def evaluate(
    model: SemanticPyramid,
    photos: Photos,
    training: Photos,
    count: int,
    side: int = 224,
    seed: int = 0,
    seeds: int = 1,
    inception: Inception | None = None,
    others: str = "training photographs",
    progress: bool = True,
) -> dict:
    """One row for each level opened alone and for everything closed, over held-out photographs.

    Args:
        photos: held-out photographs; `count` of them, in an order fixed by `seed`, are the references.
        training: photographs for the real-against-real floor; `others` calls them by their name in the table's note.
        side: pixels to which EfficientNet-lite0's images are resized.
        seeds: of z; with more than one, the distances of sets are means over them, beside their spread.
        inception: FID's network, for a column of FID.

    Returns: {"settings": …, "floor": …, "photo_distance": …, "rows": {level: {column: number}}}; a row's
    "intervals" are 95 %, by bootstrap for means and Wilson for shares. A Fréchet distance (or FID) is left out where
    there are no more images than features. Images are made, measured and let go batch by batch; what stays is their
    features.
    """
    if min(len(photos), len(training)) < count:
        raise InputError(
            f"There are {len(photos)} held-out and {len(training)} {others}, fewer than the {count} "
            "asked for; give more or lower --images."
        )
    generator = torch.Generator().manual_seed(seed)
    order = torch.randperm(len(photos), generator=generator)[:count]
    images, labels = photos.images[order], photos.labels[order]
    second = training.images[torch.randperm(len(training), generator=generator)[:count]]
    extractors = {"frechet": Extractor(side, model.device)} | ({"fid": inception} if inception else {})
    gaussian = [key for key, extract in extractors.items() if count > extract.features]  # enough images to fit one
    with tqdm(total=len(ROWS) * seeds * count, unit="image", desc="evaluate", disable=not progress) as bar:
        real = {key: real_features(extract, images) for key, extract in extractors.items()}
        fitted = {key: metrics.fit_gaussian(real[key]) for key in gaussian}
        other = {key: real_features(extract, second) for key, extract in extractors.items()}
        floor = {key: metrics.frechet_distance(fitted[key], metrics.fit_gaussian(other[key])) for key in gaussian}
        floor["kid"] = metrics.kernel_distances(real["frechet"], other["frechet"], seed)[0]
        rows = {}
        for name in ROWS:
            rows[name], sets = _measure_level(model, images, labels, name, seed, seeds, extractors, bar)
            for key in gaussian:
                distances = [metrics.frechet_distance(fitted[key], metrics.fit_gaussian(made[key])) for made in sets]
                rows[name] |= {key: float(np.mean(distances)), f"{key}_spread": float(np.std(distances))}
            rows[name]["kid"], rows[name]["kid_spread"] = metrics.kernel_distances(
                real["frechet"], sets[0]["frechet"], seed
            )
    settings = {
        "images": count, "seed": seed, "seeds": seeds, "side": side, "resize": "bicubic",
        "extractor": extractors["frechet"].name, "classes": list(model.classes),
        "floor": f"{others} against the same references",
        "paper": {"fid": PAPER, "note": "Places365, 6,000 photographs, full VGG-16: not comparable number by number"},
    }  # fmt: skip
    photo_distance = _same_class_distance(images[: 2 * GALLERY], labels[: 2 * GALLERY])
    return {"settings": settings, "floor": floor, "photo_distance": photo_distance, "rows": rows}


def real_features(extract: Extractor | Inception, pixels: Tensor) -> Tensor:
    """Features of uint8 photographs (N, 3, S, S), cached by the hash of their content: (N, D) float32."""
    content = hashlib.sha256(np.ascontiguousarray(pixels.cpu().numpy()).tobytes())
    content.update(f"{extract.name}, {extract.resize}".encode())

    def extract_all() -> dict[str, np.ndarray]:
        return {"features": torch.cat([extract(from_bytes(part)) for part in pixels.split(BATCH)]).numpy()}

    return torch.from_numpy(cached(f"features-{content.hexdigest()[:20]}", extract_all)["features"])


@torch.no_grad()
def _measure_level(
    model, pixels, labels, name, seed, seeds, extractors, bar
) -> tuple[dict[str, float | dict], list[dict[str, Tensor]]]:
    """The columns of single images, with their intervals, and the extractors' features of one sample each a seed."""
    mask = masks.closed() if name == "closed" else masks.level(name)
    sets: list[dict[str, list[Tensor]]] = [{key: [] for key in extractors} for _ in range(seeds)]
    singles: dict[str, list[Tensor]] = {"judge": [], "psnr": []}
    gallery, twins, agreeing = [], [], _Agreement()
    for i in range(0, len(pixels), BATCH):
        photo, y = from_bytes(pixels[i : i + BATCH]), labels[i : i + BATCH]
        features = model.features(photo)

        def sample(start: int, features=features, y=y) -> Tensor:
            return from_bytes(to_bytes(model.generate(features, mask, y, seed=start)))

        for k, parts in enumerate(sets):
            made = sample((seed + k) * 7919 + 2 * i)
            for key, extract in extractors.items():
                parts[key].append(extract(made))
            bar.update(len(made))
            if k > 0:
                continue
            singles["judge"].append((model.judged(made) == y.cpu()).float())
            singles["psnr"].append(metrics.psnr(made, photo))
            if sum(map(len, gallery)) < GALLERY:
                gallery.append(made)
                twins.append(sample(seed * 7919 + 2 * i + 1))
            if name in LEVELS:
                with autocast(model.device):
                    reencoded = model.features(made)
                agreeing.add(reencoded[name], features[name], y)
    shown, twin = torch.cat(gallery)[:GALLERY], torch.cat(twins)[:GALLERY]
    columns = {key: torch.cat(values) for key, values in singles.items()}
    columns["z_distance"] = (shown - twin).abs().mean((1, 2, 3))
    if name in LEVELS:
        columns |= agreeing.columns()
    row: dict = {"fixed_pattern": metrics.fixed_pattern_ratio(shown), "intervals": {}}
    for key, values in columns.items():
        share = key in ("judge", "top5")
        found = metrics.share_interval(int(values.sum()), len(values)) if share else metrics.bootstrap_interval(values)
        row[key], row["intervals"][key] = found[0], list(found[1:])
    return row, [{key: torch.cat(part) for key, part in parts.items()} for parts in sets]


class _Agreement:
    """`metrics.agreement` over galleries of GALLERY references, one after the other; none is kept once measured."""

    def __init__(self):
        self.waiting: list[tuple[Tensor, Tensor, Tensor]] = []
        self.measured: list[dict[str, Tensor]] = []

    def add(self, generated: Tensor, reference: Tensor, labels: Tensor) -> None:
        self.waiting.append((generated.flatten(1).float().cpu(), reference.flatten(1).float().cpu(), labels.cpu()))
        if sum(len(y) for _, _, y in self.waiting) >= GALLERY:
            whole = [torch.cat(part) for part in zip(*self.waiting, strict=True)]
            self.measured.append(metrics.agreement(*(part[:GALLERY] for part in whole)))
            self.waiting = [tuple(part[GALLERY:] for part in whole)]

    def columns(self) -> dict[str, Tensor]:
        """A last gallery that is not full would be an easier one: it counts only where there is no other."""
        if not self.measured:
            self.measured.append(metrics.agreement(*(torch.cat(part) for part in zip(*self.waiting, strict=True))))
        return {key: torch.cat([part[key] for part in self.measured]) for key in self.measured[0]}


def _same_class_distance(pixels: Tensor, labels: Tensor) -> float:
    """Mean absolute difference between two photographs of one class, range [-1, 1]."""
    images, distances = from_bytes(pixels), []
    for label in labels.unique():
        group = images[labels == label]
        half = len(group) // 2
        distances.append((group[:half] - group[half : 2 * half]).abs().mean((1, 2, 3)))
    return float(torch.cat(distances).mean())


COLUMNS = {
    "frechet": ("Fréchet distance (EfficientNet-lite0)", "{:.1f}"),
    "fid": ("FID (pytorch-fid)", "{:.1f}"),
    "kid": ("KID (EfficientNet-lite0)", "{:.3f}"),
    "gain": ("cosine above another of the class", "{:+.2f}"),
    "top5": ("reference in nearest 5 of 500", "{:.0%}"),
    "judge": ("class agreement (judge)", "{:.0%}"),
    "psnr": ("RGB PSNR, dB", "{:.1f}"),
    "z_distance": ("distance of two z", "{:.2f}"),
    "fixed_pattern": ("fixed-pattern ratio", "{:.2f}"),
}


def markdown_table(result: dict) -> str:
    """The table of `evaluate` as Markdown, settings below it; ± is the spread over seeds of z or subsets."""
    columns = {key: c for key, c in COLUMNS.items() if any(key in row for row in result["rows"].values())}
    rows = []
    for name, row in result["rows"].items():
        cells = [f"`{name}`"]
        for key, (_, form) in columns.items():
            spread = row.get(f"{key}_spread", 0.0)
            cells.append((form.format(row[key]) if key in row else "–") + (f" ± {form.format(spread)}" * (spread > 0)))
        rows.append(cells)
    s, floor = result["settings"], result["floor"]
    floors = ", ".join(f"{columns[key][0]} {columns[key][1].format(floor[key])}" for key in floor)
    spreads = ["KID's ± is over 50 subsets"] + ["the Fréchet distance's over the seeds"] * (s["seeds"] > 1)
    kind = "one sample each" if s["seeds"] == 1 else f"one sample each for each of {s['seeds']} seeds of z"
    note = (
        f"{s['images']:,} held-out photographs, {kind} under its true label, seed {s['seed']}; "
        f"{s['extractor']} at {s['side']} px ({s['resize']}); {', '.join(spreads)}; "
        f"real against real ({s['floor']}): {floors}; "
        f"two photographs of one class differ by {result['photo_distance']:.2f}. The paper's FID, on other data, "
        f"runs from {PAPER['conv1']} at conv1 to {PAPER['fc8']} at fc8."
    )
    return markdown(["open level", *(title for title, _ in columns.values())], rows, note)
