"""The objective in one place: which terms a step has, on what, and with which weights they are summed.

    L = L_adv + alpha L_rec + beta L_div        (paper, section 3.1)

and our extra terms (`extras.py`). A term is named once: preset field, metrics key, `--without`, row in the docs. It
is computed unweighted, and only where its weight is not 0; the weights come in once, in `total`.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import partial

import numpy as np
import torch
from torch import Tensor
from torch.nn.attention import SDPBackend, sdpa_kernel

from pyramid import losses
from pyramid.classifier import Classifier
from pyramid.data import shift
from pyramid.device import autocast
from pyramid.discriminator import Discriminator
from pyramid.presets import TERMS, Preset
from pyramid.training.extras import EXTRAS, Made
from pyramid.training.sampling import DRAW_NAMES, Batch

Terms = dict[str, Callable[[], Tensor]]  # name -> the term, not yet computed
Weights = dict[str, float | tuple[float, ...] | Tensor]  # name -> one number, or one a level
Features = dict[str, Tensor]  # level -> (B, C, h, w) or (B, C)
LATE = ("retrieval", "other_label", "other_layout")  # terms that a generator without training cannot bear


@dataclass
class Seen:
    """What is looked at: references and fakes, shifted alike, and the pyramids of the references and of one z's fakes.

    The discriminator's heads and the reconstruction share that pass of the classifier.
    """

    real: Tensor  # (B/2, 3, S, S)
    fake: Tensor  # (B, 3, S, S)
    real_features: Features  # (B/2, …)
    fake_features: Features  # (B/2, …): of the first z of each reference

    def detach(self) -> "Seen":
        """The same without a way back to the generator."""
        features = {name: f.detach() for name, f in self.fake_features.items()}
        return Seen(self.real, self.fake.detach(), self.real_features, features)


def look(batch: Batch, fake: Tensor, classifier: Classifier) -> Seen:
    """Shift references and fakes, each by its own draw, and pass them through the classifier."""
    down, right = batch.shift
    real = shift(batch.references, down, right)
    moved = shift(fake, batch.both_z(down), batch.both_z(right))
    with autocast(fake.device):
        with torch.no_grad():
            real_features = classifier.pyramid(real)
        fake_features = classifier.pyramid(batch.split_z(moved)[0])
    return Seen(real, moved, real_features, fake_features)


def wanted(batch: Batch, seen: Seen, features: Features) -> Features:
    """The features that the looked-at fakes should have, (B/2, …): the shifted references' own.

    features: what the generator was given, (B, …). Of a sample with a region, which does not move, it is these:
    another photograph's part may be composed in.
    """
    table = {}
    for name, f in seen.real_features.items():
        given, _ = batch.split_z(features[name])
        table[name] = torch.where(batch.region.view(-1, *[1] * (f.dim() - 1)), given, f.float())
    return table


@dataclass
class Scores:
    """The discriminator's scores of references and fakes; each list holds whole and patches, or one a head.

    A list is empty where nothing that is weighed needs it.
    """

    real: list[Tensor]  # whole (B/2, 1), patches (B/2, 64)
    fake: list[Tensor]  # whole (B, 1), patches (B, 64)
    real_heads: list[Tensor]  # (B/2, positions)
    fake_heads: list[Tensor]  # (B/2, positions)


def score(discriminator: Discriminator, batch: Batch, seen: Seen, weight: Weights) -> Scores:
    """Score references under their own labels and fakes under those they are judged by."""
    half, scores = len(seen.real), Scores([], [], [], [])
    with autocast(seen.fake.device):
        if weight["adversarial"]:
            pixels = discriminator.pixels(
                torch.cat([seen.real, seen.fake]), torch.cat([batch.real_judged, batch.judged])
            )  # whole (3B/2, 1), patches (3B/2, 64)
            scores.real, scores.fake = [s[:half] for s in pixels], [s[half:] for s in pixels]
        if weight["heads"]:
            scores.real_heads = discriminator.forward_heads(seen.real_features, batch.real_judged)
            scores.fake_heads = discriminator.forward_heads(seen.fake_features, batch.judged[:half])
    return scores


def score_fakes(discriminator: Discriminator, batch: Batch, seen: Seen, weight: Weights) -> Scores:
    """Score the fakes alone: all that the generator learns from."""
    scores = Scores([], [], [], [])
    with autocast(seen.fake.device):
        if weight["adversarial"]:
            scores.fake = [*discriminator.pixels(seen.fake, batch.judged)]
        if weight["heads"]:
            scores.fake_heads = discriminator.forward_heads(seen.fake_features, batch.judged[: len(seen.real)])
    return scores


def discriminator_terms(p: Preset, discriminator: Discriminator, batch: Batch, seen: Seen, scores: Scores) -> Terms:
    """Terms of the discriminator's step; R1 (Mescheder et al. 2018) on the pixels of the references alone."""
    loss, _ = losses.ADVERSARIAL[p.game]

    def r1() -> Tensor:
        images = seen.real.detach().requires_grad_()
        with sdpa_kernel(SDPBackend.MATH):  # the fused attention has no second derivative
            whole, patches = discriminator.pixels(images, batch.real_judged)  # float32
        return losses.r1(whole.mean(1) + patches.mean(1), images)

    return {
        "adversarial": lambda: mean(map(loss, scores.real, scores.fake)),
        "heads": lambda: mean(map(loss, scores.real_heads, scores.fake_heads)),
        "r1": r1,
    }


def paper_terms(made: Made, scores: Scores) -> Terms:
    """The paper's terms of the generator's step: L_adv (and our heads' share of it), L_rec, L_div."""
    p, batch = made.preset, made.batch
    _, loss = losses.ADVERSARIAL[p.game]

    def reconstruction() -> Tensor:
        scale = torch.where(batch.relabelled, p.relabelled_scale, 1.0)  # (B/2,)
        masks = {name: batch.split_z(m)[0] for name, m in batch.masks.items()}
        return losses.reconstruction(made.reencoded, made.features, masks, scale)  # (7,)

    def diversity() -> Tensor:
        pairs = losses.diversity(*batch.split_z(made.fake), *batch.split_z(batch.z))  # (B/2,)
        return by_level(batch, pairs) / len(pairs)  # (9,)

    return {
        "adversarial": lambda: mean(map(loss, scores.fake)),
        "heads": lambda: mean(map(loss, scores.fake_heads)),
        "reconstruction": reconstruction,
        "diversity": diversity,
    }


def extra_terms(made: Made) -> Terms:
    """Ours, see `extras.py`."""
    return {name: partial(term, made) for name, term in EXTRAS.items()}


def ramp(p: Preset, images: int) -> float:
    """How far the terms of LATE have come in after so many images, linearly over the preset's `late`: 0 … 1."""
    start, end = (share * p.images for share in p.late)
    return min(max((images - start) / (end - start), 0.0), 1.0) if end > start else float(images >= end)


def weights(p: Preset, images: int) -> Weights:
    """The weight of every term after so many images: one number, or one a level.

    The terms of LATE come in by `ramp`; R1, computed now and then, is so much the heavier.
    """
    late, table = ramp(p, images), full_weights(p)
    for name in LATE:
        table[name] = tuple(late * w for w in table[name]) if isinstance(table[name], tuple) else late * table[name]
    return table


def full_weights(p: Preset) -> Weights:
    """The weights once the terms of LATE are in."""
    return {name: getattr(p, name) for name in TERMS} | {"r1": p.r1 / 2 * p.r1_every}


def compute(terms: Terms, weight: Weights) -> dict[str, Tensor]:
    """The terms whose weight is not 0, unweighted: a scalar each, or one value a level."""
    return {name: term() for name, term in terms.items() if np.any(weight[name])}


def total(values: dict[str, Tensor], weight: Weights) -> Tensor:
    """The weighted sum of the terms: the one place where weights come in."""
    return sum((value * torch.as_tensor(weight[name], device=value.device)).sum() for name, value in values.items())


def mean(values: Iterable[Tensor]) -> Tensor:
    """Mean of a few scalars."""
    values = list(values)
    return sum(values) / len(values)


def by_level(batch: Batch, values: Tensor) -> Tensor:
    """Sums of (B/2,) over the references that were drawn at each of DRAW_NAMES: (9,)."""
    return values.new_zeros(len(DRAW_NAMES)).index_add_(0, batch.level, values)
