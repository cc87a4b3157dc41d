"""Metrics per level: what the samples are like, and how much of the reference they keep."""

import hashlib
from pathlib import Path

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F
from tqdm.auto import tqdm

from pyramid import masks
from pyramid.data import Labelled, cached, from_bytes, to_bytes
from pyramid.device import autocast
from pyramid.errors import InputError
from pyramid.levels import LEVELS
from pyramid.measure import metrics
from pyramid.measure.extractors import Extractor, Inception
from pyramid.measure.tables import markdown
from pyramid.model import SemanticPyramid

GALLERY = 500  # references among which one is looked up; the references are taken so many at a time
MOST_NUMBERS = 65_536  # of an image's features at a level that are kept for a gallery: conv1's at 64 px
BATCH = 8  # small, since a CPU is three times as fast where the maps stay in its caches
ROWS = (*LEVELS, "closed")
PAPER = {"conv1": 2.89, "fc8": 29.34}  # FID on Places365, 6,000 photographs: other data, another extractor


def evaluate(
    model: SemanticPyramid,
    photos: Labelled,
    training: Labelled,
    count: int,
    side: int = 224,
    seed: int = 0,
    seeds: int = 1,
    inception: Inception | None = None,
    others: str = "training photographs",
    statistics: Path | None = None,
    progress: bool = True,
) -> dict:
    """One row for each level opened alone and for everything closed, over held-out photographs.

    Args:
        photos: held-out photographs; `count` of them, in an order fixed by `seed`, are the references.
        training: photographs for the real-against-real floor; `others` calls them by their name in the table's note.
        side: pixels to which EfficientNet-lite0's images are resized.
        seeds: of z; with more than one, the distances of sets are means over them, beside their spread.
        inception: FID's network, for a column of FID.
        statistics: file of the real photographs' mean and covariance for FID, in pytorch-fid's layout: read where it is
            there, else written.

    Returns: {"settings": …, "floor": …, "photo_distance": …, "rows": {level: {column: number}}}; a row's
    "intervals" are 95 %, by bootstrap for means and Wilson for shares. A Fréchet distance (or FID) is left out where
    there are no more images than features. Photographs are read, and images made and measured, batch by batch; their
    features stay, and of GALLERY references at a time what is looked at together.
    """
    if min(len(photos), len(training)) < count:
        raise InputError(
            f"There are {len(photos)} held-out and {len(training)} {others}, fewer than the {count} "
            "asked for; give more or lower --images."
        )
    generator = torch.Generator().manual_seed(seed)
    order, second = (torch.randperm(len(part), generator=generator)[:count] for part in (photos, training))
    extractors = {"frechet": Extractor(side, model.device)} | ({"fid": inception} if inception else {})
    gaussian = [key for key, extract in extractors.items() if count > extract.features]  # enough images to fit one
    rows = {name: _Level(name, seed, extractors, seeds) for name in ROWS}
    with tqdm(total=len(ROWS) * seeds * count, unit="image", desc="evaluate", disable=not progress) as bar:
        real = _Real(extractors, gaussian, photos, order, statistics)
        floor = real.floor(training, second, seed)
        parts = order.split(BATCH)
        for chosen, pixels in zip(parts, photos.batches(parts), strict=True):
            photo, y = from_bytes(pixels), photos.labels[chosen]
            features = model.features(photo)  # once for all levels
            for level in rows.values():
                level.add(model, photo, y, features)
                bar.update(seeds * len(photo))
        table = {name: level.columns() | real.distances(level) for name, level in rows.items()}
    settings = {
        "images": count, "seed": seed, "seeds": seeds, "side": side, "resize": "bicubic",
        "extractor": extractors["frechet"].name, "classes": list(model.classes),
        "floor": f"{others} against the same references",
        "paper": {"fid": PAPER, "note": "Places365, 6,000 photographs, full VGG-16: not comparable number by number"},
    }  # fmt: skip
    settings |= {"statistics": statistics.name} if real.read else {}
    few = order[: 2 * GALLERY]
    photo_distance = _same_class_distance(photos.pixels(few), photos.labels[few])
    return {"settings": settings, "floor": floor, "photo_distance": photo_distance, "rows": table}


def real_features(extract: Extractor | Inception, photos: Labelled, rows: Tensor) -> Tensor:
    """Features of some photographs, cached by the fingerprint of all and by which they are: (N, D) float32."""
    content = hashlib.sha256(rows.numpy().tobytes())
    content.update(f"{photos.fingerprint}, {extract.name}, {extract.resize}".encode())

    def extract_all() -> dict[str, np.ndarray]:
        parts = photos.batches(rows.split(BATCH))
        return {"features": torch.cat([extract(from_bytes(part)) for part in parts]).numpy()}

    return torch.from_numpy(cached(f"features-{content.hexdigest()[:20]}", extract_all)["features"])


def mask_of(name: str) -> masks.Masks:
    """A row's mask: one level, or everything closed."""
    return masks.closed() if name == "closed" else masks.level(name)


def sample(
    model: SemanticPyramid, features: dict[str, Tensor], name: str, labels: Tensor, first: int, seed: int = 0
) -> Tensor:
    """One image of each reference in 8 bits, as files have them: uint8 (B, 3, S, S).

    first: the number of the batch's first reference, which with the seed gives z.
    """
    return to_bytes(model.generate(features, mask_of(name), labels, seed=seed * 7919 + 2 * first))


class _Level:
    """What one level makes of the references, measured batch by batch."""

    def __init__(self, name: str, seed: int, extractors: dict[str, Extractor | Inception], seeds: int):
        self.name, self.seed, self.extractors, self.done = name, seed, extractors, 0
        self.sets: list[dict[str, list[Tensor]]] = [{key: [] for key in extractors} for _ in range(seeds)]
        self.singles: dict[str, list[Tensor]] = {"judge": [], "psnr": [], "z_distance": []}
        self.shown: list[Tensor] = []  # uint8: the first GALLERY images
        self.agreeing = _Agreement()

    @torch.no_grad()
    def add(self, model: SemanticPyramid, photo: Tensor, y: Tensor, features: dict[str, Tensor]) -> None:
        """A batch of references, their labels and features."""
        for k, parts in enumerate(self.sets):
            pixels = sample(model, features, self.name, y, self.done, self.seed + k)
            made = from_bytes(pixels)
            for key, extract in self.extractors.items():
                parts[key].append(extract(made))
            if k == 0:
                self._add_first(model, photo, y, features, pixels, made)
        self.done += len(photo)

    def _add_first(self, model, photo, y, features, pixels, made) -> None:
        """The images of the first seed: each by itself, beside its reference and beside its twin."""
        self.singles["judge"].append((model.judged(made) == y.cpu()).float())
        self.singles["psnr"].append(metrics.psnr(made, photo.cpu()))
        if sum(map(len, self.shown)) < GALLERY:
            twin = model.generate(features, mask_of(self.name), y, seed=self.seed * 7919 + 2 * self.done + 1)
            self.shown.append(pixels)
            self.singles["z_distance"].append((made - from_bytes(to_bytes(twin))).abs().mean((1, 2, 3)))
        if self.name in LEVELS:
            with autocast(model.device):
                reencoded = model.features(made)
            self.agreeing.add(reencoded[self.name], features[self.name], y)

    def columns(self) -> dict[str, float | dict]:
        """Those of single images, with their intervals."""
        columns = {key: torch.cat(values) for key, values in self.singles.items()}
        columns["z_distance"] = columns["z_distance"][:GALLERY]
        if self.name in LEVELS:
            columns |= self.agreeing.columns()
        shown = from_bytes(torch.cat(self.shown)[:GALLERY])
        row: dict = {"fixed_pattern": metrics.fixed_pattern_ratio(shown), "intervals": {}}
        for key, values in columns.items():
            share = key in ("judge", "top5")
            found = (
                metrics.share_interval(int(values.sum()), len(values)) if share else metrics.bootstrap_interval(values)
            )
            row[key], row["intervals"][key] = found[0], list(found[1:])
        return row


class _Real:
    """What the references' features are on each extractor, and the Gaussians fitted to them, or one from a file."""

    def __init__(self, extractors, gaussian: list[str], photos: Labelled, rows: Tensor, statistics: Path | None):
        self.extractors, self.gaussian = extractors, gaussian
        self.read = statistics is not None and statistics.exists()
        given = {"fid": metrics.read_statistics(statistics, extractors["fid"].features)} if self.read else {}
        needed = {key: extract for key, extract in extractors.items() if key not in given}
        self.features = {key: real_features(extract, photos, rows) for key, extract in needed.items()}
        self.fitted = given | {key: metrics.fit_gaussian(f) for key, f in self.features.items() if key in gaussian}
        if statistics is not None and not self.read and "fid" in self.fitted:
            metrics.write_statistics(statistics, self.fitted["fid"])

    def floor(self, training: Labelled, rows: Tensor, seed: int) -> dict[str, float]:
        """Distances of other photographs."""
        other = {key: real_features(extract, training, rows) for key, extract in self.extractors.items()}
        floor = {
            key: metrics.frechet_distance(self.fitted[key], metrics.fit_gaussian(other[key])) for key in self.gaussian
        }
        return floor | {"kid": metrics.kernel_distances(self.features["frechet"], other["frechet"], seed)[0]}

    def distances(self, level: _Level) -> dict[str, float]:
        """Of what a level has made, one set of images a seed."""
        row, sets = {}, [{key: torch.cat(part) for key, part in parts.items()} for parts in level.sets]
        for key in self.gaussian:
            distances = [metrics.frechet_distance(self.fitted[key], metrics.fit_gaussian(made[key])) for made in sets]
            row |= {key: float(np.mean(distances)), f"{key}_spread": float(np.std(distances))}
        kid, spread = metrics.kernel_distances(self.features["frechet"], sets[0]["frechet"], level.seed)
        return row | {"kid": kid, "kid_spread": spread}


class _Agreement:
    """`metrics.agreement` over galleries of GALLERY references, one after the other; none is kept once measured.

    A map of more than MOST_NUMBERS is averaged down first: those of 64 px stay as they are.
    """

    def __init__(self):
        self.waiting: list[tuple[Tensor, Tensor, Tensor]] = []
        self.measured: list[dict[str, Tensor]] = []

    def add(self, generated: Tensor, reference: Tensor, labels: Tensor) -> None:
        made, given = (_reduced(f.float()).flatten(1).cpu() for f in (generated, reference))
        self.waiting.append((made, given, labels.cpu()))
        if sum(len(y) for _, _, y in self.waiting) >= GALLERY:
            whole = [torch.cat(part) for part in zip(*self.waiting, strict=True)]
            self.measured.append(metrics.agreement(*(part[:GALLERY] for part in whole)))
            self.waiting = [tuple(part[GALLERY:] for part in whole)]

    def columns(self) -> dict[str, Tensor]:
        """A last gallery that is not full would be an easier one: it counts only where there is no other."""
        if not self.measured:
            self.measured.append(metrics.agreement(*(torch.cat(part) for part in zip(*self.waiting, strict=True))))
        return {key: torch.cat([part[key] for part in self.measured]) for key in self.measured[0]}


def _reduced(f: Tensor) -> Tensor:
    """Features of at most MOST_NUMBERS an image: a larger map (B, C, h, h) is halved until it is of no more."""
    while f[0].numel() > MOST_NUMBERS and f.dim() == 4:
        f = F.avg_pool2d(f, 2)
    return f


def _same_class_distance(pixels: Tensor, labels: Tensor) -> float:
    """Mean absolute difference between two photographs of one class, range [-1, 1]."""
    distances = []
    for label in labels.unique():
        group = from_bytes(pixels[labels == label])
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
        + (f"FID against the statistics in {s['statistics']}; " if "statistics" in s else "")
        + f"two photographs of one class differ by {result['photo_distance']:.2f}. The paper's FID, on other data, "
        f"runs from {PAPER['conv1']} at conv1 to {PAPER['fc8']} at fc8."
    )
    return markdown(["open level", *(title for title, _ in columns.values())], rows, note)
