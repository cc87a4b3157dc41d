"""How a run's pictures became what they are: distances of its kept generators, level by level, on two extractors.

The second extractor reads the judge's features, which took no part in any training either and come from no ImageNet
network: where both extractors order the snapshots alike, the first was not flattered by the classifier's features.
"""

import hashlib
from dataclasses import replace
from itertools import product
from pathlib import Path

import torch
from scipy.stats import spearmanr
from torch import Tensor
from tqdm.auto import tqdm

from pyramid.checkpoints import as_bytes, load_weights
from pyramid.data import Photos, from_bytes
from pyramid.errors import InputError
from pyramid.generator import Generator
from pyramid.judge import Judge
from pyramid.measure import metrics
from pyramid.measure.extractors import Extractor
from pyramid.measure.levels import BATCH, ROWS, real_features, sample
from pyramid.measure.tables import markdown
from pyramid.model import SemanticPyramid


class JudgeFeatures:
    """What the judge sees before it names a class, as features of a Fréchet distance."""

    def __init__(self, judge: Judge, name: str):
        self.judge, self.name, self.features = judge, f"judge of {name}", judge.head.in_features
        self.resize = f"none, {hashlib.sha256(as_bytes(judge)).hexdigest()}"  # cached features are of these weights

    @torch.no_grad()
    def __call__(self, images: Tensor) -> Tensor:
        """(B, 3, S, S) in [-1, 1] -> (B, features) float32, on the CPU."""
        return self.judge.summary(images.to(self.judge.head.weight.device)).float().cpu()


def snapshots(run: Path) -> dict[int, Path]:
    """The generators that a run has kept: images seen -> file. Raises InputError where there is none."""
    paths = [path for path in (run / "snapshots").glob("*.safetensors") if path.stem.isdigit()]
    found = {int(path.stem): path for path in sorted(paths, key=lambda path: int(path.stem))}
    if not found:
        raise InputError(f"{run} keeps no snapshots; give the folder of a run of `python -m pyramid train`.")
    return found


def measure(
    model: SemanticPyramid,
    kept: dict[int, Path],
    photos: Photos,
    count: int,
    side: int,
    seed: int = 0,
    progress: bool = True,
) -> dict:
    """Fréchet distances of every snapshot at every level, on EfficientNet-lite0 and on the judge's features.

    Args:
        model: whose classifier, judge and preset belong to the snapshots.
        kept: images seen -> weights of a generator, from `snapshots`.
        photos: photographs that the run was not trained on; `count` of them are the references.
        side: pixels to which EfficientNet-lite0's images are resized.

    Returns: {"settings": …, "rows": {images: {extractor: {level: distance}}}, "agreement": {level: rank correlation}}.
    """
    metrics.check_enough(len(photos), Extractor.features)
    order = metrics.chosen(photos, count, seed)
    images, labels = photos.images[order], photos.labels[order]
    extractors = {"lite0": Extractor(side, model.device), "judge": JudgeFeatures(model.judge, model.preset.name)}
    for extractor in extractors.values():
        metrics.check_enough(count, extractor.features)
    real = {key: metrics.fit_gaussian(real_features(extract, photos, order)) for key, extract in extractors.items()}
    made = _features(model, kept, images, labels, seed, extractors, progress)
    rows = {
        str(seen): {
            key: {n: metrics.frechet_distance(real[key], metrics.fit_gaussian(made[seen, n, key])) for n in ROWS}
            for key in extractors
        }
        for seen in kept
    }
    settings = {"images": count, "side": side, "seed": seed, "extractors": [e.name for e in extractors.values()]}
    return {"settings": settings, "rows": rows, "agreement": agreement(rows)}


def _features(model, kept, pixels, labels, seed, extractors, progress) -> dict[tuple[int, str, str], Tensor]:
    """What each extractor sees in each snapshot's images of each level; a photograph is encoded once for all."""
    then = {}
    for seen, path in kept.items():
        generator = Generator(model.preset, len(model.classes))
        load_weights(path, generator)
        then[seen] = replace(model, generator=generator.eval().to(model.device))
    parts: dict[tuple[int, str, str], list[Tensor]] = {}
    with tqdm(total=len(kept) * len(ROWS) * len(pixels), unit="image", desc="curve", disable=not progress) as bar:
        for i in range(0, len(pixels), BATCH):
            features = model.features(from_bytes(pixels[i : i + BATCH]))
            for (seen, snapshot), name in product(then.items(), ROWS):
                images = from_bytes(sample(snapshot, features, name, labels[i : i + BATCH], i, seed))
                for key, extract in extractors.items():
                    parts.setdefault((seen, name, key), []).append(extract(images))
                bar.update(len(images))
    return {key: torch.cat(part) for key, part in parts.items()}


def agreement(rows: dict[str, dict]) -> dict[str, float]:
    """Spearman's rank correlation of the two extractors' distances over the snapshots, level by level.

    Empty for fewer than three snapshots, which have no order to speak of.
    """
    if len(rows) < 3:
        return {}
    pairs = {n: [(row["lite0"][n], row["judge"][n]) for row in rows.values()] for n in ROWS}
    return {name: float(spearmanr(*zip(*values, strict=True)).statistic) for name, values in pairs.items()}


def markdown_table(result: dict) -> str:
    """Both extractors' distances by images seen, and how far they agree."""
    s = result["settings"]
    lines = [
        [f"{int(seen):,}", name, *(f"{row[key][level]:.1f}" for level in ROWS)]
        for key, name in zip(("lite0", "judge"), s["extractors"], strict=True)
        for seen, row in result["rows"].items()
    ]
    if result["agreement"]:
        lines.append(["rank correlation", "of the two", *(f"{value:.2f}" for value in result["agreement"].values())])
    note = (
        f"{s['images']:,} photographs, one sample each under its true label, seed {s['seed']}; lite0 at {s['side']} px."
    )
    return markdown(["images seen", "Fréchet distance on", *(f"`{name}`" for name in ROWS)], lines, note)
