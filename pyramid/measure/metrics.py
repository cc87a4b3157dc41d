"""Metrics as functions of tensors: distances of two sets, numbers of single images, and intervals.

Distances are taken on an extractor's features: Fréchet (FID, where the extractor is FID's Inception) and
kernel (KID). `levels.py` puts them together, level by level.
"""

import io
import zipfile
import zlib
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
import torch
from scipy.stats import binomtest
from torch import Tensor
from torch.nn import functional as F

from pyramid.checkpoints import write_atomically
from pyramid.data import Labelled
from pyramid.device import random_from
from pyramid.errors import InputError
from pyramid.training.extras import fine_detail

AT_ONCE = 50  # draws of a bootstrap: memory does not grow with all of them


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
    check_enough(*features.shape)
    return Gaussian(features.double().mean(0), torch.cov(features.double().T))


def read_statistics(path: Path, features: int) -> Gaussian:
    """A Gaussian from a file in pytorch-fid's layout: `mu` (D,) and `sigma` (D, D), an .npz without pickles.

    Raises InputError where it cannot be read, or is not of D = `features`.
    """
    try:
        with np.load(path, allow_pickle=False) as stored:
            mean, covariance = (torch.from_numpy(stored[key].astype(np.float64)) for key in ("mu", "sigma"))
        if mean.shape != (features,) or covariance.shape != (features, features):
            raise ValueError("of another extractor")
        if not (mean.isfinite().all() and covariance.isfinite().all()):
            raise ValueError("not finite")
    except (OSError, ValueError, EOFError, KeyError, TypeError, zipfile.BadZipFile, zlib.error):
        raise InputError(
            f"{path} holds no statistics of {features} features (mu and sigma, as pytorch-fid writes them); give "
            "another file, or one that is not there yet, to be written."
        ) from None
    return Gaussian(mean, covariance)


def write_statistics(path: Path, gaussian: Gaussian) -> None:
    """Write a Gaussian as `read_statistics`, and `python -m pytorch_fid`, read it."""
    content = io.BytesIO()
    np.savez(content, mu=gaussian.mean.numpy(), sigma=gaussian.covariance.numpy())
    write_atomically(path, content.getvalue())


def chosen(photos: Labelled, count: int, seed: int) -> Tensor:
    """Indices of `count` photographs in an order fixed by `seed`: (count,). Raises InputError where there are fewer."""
    if len(photos) < count:
        raise InputError(f"There are {len(photos):,} photographs, fewer than the {count:,} asked for; lower --images.")
    return torch.randperm(len(photos), generator=random_from(seed))[:count]


def chosen_and_others(photos: Labelled, count: int, seed: int) -> tuple[Tensor, Tensor]:
    """Indices of `count` photographs in an order fixed by `seed`, and of as many others: (count,) each.

    To the others a set of images is compared: to the same ones, what returns them unchanged would have a KID below 0.
    Raises InputError where there are fewer than twice `count`.
    """
    if len(photos) < 2 * count:
        raise InputError(f"There are {len(photos)} photographs, fewer than twice {count}; give more or lower --images.")
    order = chosen(photos, 2 * count, seed)
    return order[:count], order[count:]


def check_enough(images: int, features: int) -> None:
    """Raises InputError, with the way out, where there are too few images for so many features."""
    if images <= features:
        raise InputError(
            f"A Fréchet distance on {features} features needs more than as many images, "
            f"not {images}; measure at least {2 * features}."
        )


def frechet_distance(first: Gaussian, second: Gaussian) -> float:
    """Fréchet distance of two Gaussians (Heusel et al. 2017, equation 6).

    |mu1 - mu2|^2 + Tr(S1) + Tr(S2) - 2 Tr((S1 S2)^(1/2)); the last trace is the sum of the square roots
    of the eigenvalues of S1 S2, which are those of the symmetric S1^(1/2) S2 S1^(1/2).
    """
    cross = torch.linalg.eigvalsh(first.root @ second.covariance @ first.root).clamp(min=0).sqrt().sum()
    traces = first.covariance.trace() + second.covariance.trace()
    return float((first.mean - second.mean).square().sum() + traces - 2 * cross)


def kernel_distance(first: Tensor, second: Tensor) -> float:
    """KID (Binkowski et al. 2018): the unbiased squared MMD under the kernel (x . y / D + 1)^3.

    first: (N, D); second: (M, D). May come out slightly negative where the sets are alike.
    """
    x, y = first.double(), second.double()
    n, m = len(x), len(y)

    def kernel(a: Tensor, b: Tensor) -> Tensor:
        return (a @ b.T / a.shape[1] + 1) ** 3

    xx, yy = kernel(x, x), kernel(y, y)
    within = (xx.sum() - xx.trace()) / (n * (n - 1)) + (yy.sum() - yy.trace()) / (m * (m - 1))
    return float(within - 2 * kernel(x, y).mean())


def kernel_distances(first: Tensor, second: Tensor, seed: int = 0, subsets: int = 50) -> tuple[float, float]:
    """Mean and standard deviation of KID over random subsets of at most 1,000 images, half of the smaller set."""
    size = min(1000, min(len(first), len(second)) // 2)
    random = torch.Generator().manual_seed(seed)
    values = [
        kernel_distance(*(x[torch.randperm(len(x), generator=random)[:size]] for x in (first, second)))
        for _ in range(subsets)
    ]
    return float(np.mean(values)), float(np.std(values))


def share_interval(successes: int, trials: int) -> tuple[float, float, float]:
    """Share of successes and its 95 % Wilson interval (Wilson 1927): (share, low, high)."""
    interval = binomtest(successes, trials).proportion_ci(0.95, method="wilson")
    return successes / trials, float(interval.low), float(interval.high)


def bootstrap_interval(
    values: Tensor, statistic: Callable[[Tensor], Tensor] = lambda means: means, draws: int = 2000, seed: int = 0
) -> tuple[float, float, float]:
    """A statistic of per-image means and its 95 % percentile bootstrap interval (Efron 1979): (value, low, high).

    values: (N,) or (N, K), one row an image; statistic: means (K,) or (draws, K) -> a number or (draws,).
    """
    values, random = values.double(), torch.Generator().manual_seed(seed)
    means = [
        values[torch.randint(len(values), (min(AT_ONCE, draws - i), len(values)), generator=random)].mean(1)
        for i in range(0, draws, AT_ONCE)
    ]
    resampled = statistic(torch.cat(means))  # (draws,)
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
    fine = fine_detail(images)  # (N, 1, H, W)
    each = fine.square().mean((1, 2, 3)).sqrt().mean()
    return float(fine.mean(0).square().mean().sqrt() / each)


def agreement(generated: Tensor, reference: Tensor, labels: Tensor) -> dict[str, Tensor]:
    """How near re-encoded features are to the reference's, image by image.

    generated, reference: (N, …) features at one level; labels: (N,).
    Returns, each (N,): the cosine to the reference; gain, that cosine less the mean of those to the other
    references of the class; top5, whether the reference is among the 5 nearest of all N.
    """
    a = F.normalize(generated.flatten(1).float(), dim=1)
    b = F.normalize(reference.flatten(1).float(), dim=1)
    similarity = a @ b.T  # (N, N)
    own = similarity.diagonal()
    same = (labels[:, None] == labels[None]) & ~torch.eye(len(labels), dtype=torch.bool, device=labels.device)
    other = (similarity * same).sum(1) / same.sum(1).clamp(min=1)
    rank = (similarity > own[:, None]).sum(1)
    return {"cosine": own, "gain": own - other, "top5": (rank < 5).float()}
