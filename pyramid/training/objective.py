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
from pyramid.data import shift
from pyramid.device import autocast
from pyramid.discriminator import HEAD_LEVELS, Discriminator
from pyramid.presets import TERMS, Preset
from pyramid.training.extras import EXTRAS, Made
from pyramid.training.sampling import DRAW_NAMES, Batch

Terms = dict[str, Callable[[], Tensor]]  # name -> the term, not yet computed
Weights = dict[str, float | tuple[float, ...]]  # name -> one number, or one a level
Stages = dict[str, Tensor]  # level of the heads' VGG-16 -> its features


@dataclass
class Seen:
    """What the discriminator looks at: references and fakes, shifted alike, and the stages its heads read."""

    real: Tensor  # (B/2, 3, S, S)
    fake: Tensor  # (B, 3, S, S)
    real_stages: Stages  # (B/2, …)
    fake_stages: Stages  # (B/2, …): the heads see one z of each reference

    def detach(self) -> "Seen":
        """The same without a way back to the generator."""
        stages = {name: f.detach() for name, f in self.fake_stages.items()}
        return Seen(self.real, self.fake.detach(), self.real_stages, stages)


def look(batch: Batch, fake: Tensor, frozen: Callable[[Tensor], Stages]) -> Seen:
    """Shift references and fakes, each by its own draw, and pass them through the heads' frozen stages."""
    down, right = batch.shift
    real = shift(batch.references, down, right)
    moved = shift(fake, batch.both_z(down), batch.both_z(right))
    with autocast(fake.device):
        with torch.no_grad():
            real_stages = frozen(real)
        fake_stages = frozen(batch.split_z(moved)[0])
    return Seen(real, moved, real_stages, {name: fake_stages[name] for name in HEAD_LEVELS})


@dataclass
class Scores:
    """The discriminator's scores of references and fakes; each list holds whole and patches, or one a head."""

    real: list[Tensor]  # whole (B/2, 1), patches (B/2, 64)
    fake: list[Tensor]  # whole (B, 1), patches (B, 64)
    real_heads: list[Tensor]  # (B/2, positions)
    fake_heads: list[Tensor]  # (B/2, positions)


def score(discriminator: Discriminator, batch: Batch, seen: Seen) -> Scores:
    """Score references under their own labels and fakes under those they are judged by."""
    half = len(seen.real)
    with autocast(seen.fake.device):
        pixels = discriminator.pixels(
            torch.cat([seen.real, seen.fake]), torch.cat([batch.real_labels, batch.judged])
        )  # whole (3B/2, 1), patches (3B/2, 64)
        real_heads = discriminator.forward_heads(seen.real_stages, batch.real_labels)
        fake_heads = discriminator.forward_heads(seen.fake_stages, batch.judged[:half])
    return Scores([s[:half] for s in pixels], [s[half:] for s in pixels], real_heads, fake_heads)


def score_fakes(discriminator: Discriminator, batch: Batch, seen: Seen) -> Scores:
    """Score the fakes alone: all that the generator learns from."""
    with autocast(seen.fake.device):
        pixels = discriminator.pixels(seen.fake, batch.judged)
        heads = discriminator.forward_heads(seen.fake_stages, batch.judged[: len(seen.real)])
    return Scores([], [*pixels], [], heads)


def discriminator_terms(p: Preset, discriminator: Discriminator, batch: Batch, seen: Seen, scores: Scores) -> Terms:
    """Terms of the discriminator's step; R1 (Mescheder et al. 2018) on the pixels of the references alone."""
    loss, _ = losses.ADVERSARIAL[p.game]

    def r1() -> Tensor:
        images = seen.real.detach().requires_grad_()
        with sdpa_kernel(SDPBackend.MATH):  # the fused attention has no second derivative
            whole, patches = discriminator.pixels(images, batch.real_labels)  # float32
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
        scale = torch.where(batch.relabelled, p.relabelled_scale, 1.0)  # (B,)
        return losses.reconstruction(made.reencoded, made.features, batch.masks, scale)  # (7,)

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


def weights(p: Preset) -> Weights:
    """The weight of every term: one number, or one a level. R1 is computed now and then, so much the heavier."""
    return {name: getattr(p, name) for name in TERMS} | {"r1": p.r1 / 2 * p.r1_every}


def compute(terms: Terms, weight: Weights) -> dict[str, Tensor]:
    """The terms whose weight is not 0, unweighted: a scalar each, or one value a level."""
    return {name: term() for name, term in terms.items() if np.any(weight[name])}


def total(values: dict[str, Tensor], weight: Weights) -> Tensor:
    """The weighted sum of the terms: the one place where weights come in."""
    return sum((value * value.new_tensor(weight[name])).sum() for name, value in values.items())


def mean(values: Iterable[Tensor]) -> Tensor:
    """Mean of a few scalars."""
    values = list(values)
    return sum(values) / len(values)


def by_level(batch: Batch, values: Tensor) -> Tensor:
    """Sums of (B/2,) over the references that were drawn at each of DRAW_NAMES: (9,)."""
    return values.new_zeros(len(DRAW_NAMES)).index_add_(0, batch.level, values)
