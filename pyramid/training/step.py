"""One training step on one draw: what is made, what each network is told of it, and a batch that comes in parts.

The discriminator and then the generator learn from the same generated images. A batch too large for a card goes
through in parts, whose gradients add up to those of their mean (`learn_in_parts`).
"""

from typing import TYPE_CHECKING, NamedTuple

import torch
from torch import Tensor

from pyramid.device import autocast
from pyramid.errors import InputError
from pyramid.layers import statistics_held
from pyramid.presets import Preset
from pyramid.training import objective, ranks
from pyramid.training.extras import Made
from pyramid.training.objective import compute, discriminator_terms, extra_terms, paper_terms
from pyramid.training.sampling import Batch

if TYPE_CHECKING:
    from pyramid.training.loop import Run

Terms = dict[str, Tensor]  # name -> unweighted value, a scalar or one value a level
Learned = tuple[Batch, Tensor, objective.Scores, dict[str, Terms]]  # what a step leaves for the metrics


class Images(NamedTuple):
    """What the generator made of a draw, and what is seen of it."""

    features: objective.Features  # that it was given, level -> (B, …)
    fake: Tensor  # (B, 3, S, S) in [-1, 1]
    seen: objective.Seen


def make(run: "Run", batch: Batch) -> Images:
    """Generate a draw's images and pass them and the references through the classifier."""
    features = run.encode(batch)
    with autocast(run.device):
        fake = run.generator(features, batch.masks, batch.z, batch.labels)  # (B, 3, S, S)
    return Images(features, fake, objective.look(batch, fake, run.classifier))


def judge(run: "Run", batch: Batch, images: Images, weight: objective.Weights) -> tuple[objective.Scores, Terms]:
    """The discriminator's scores and its terms."""
    scores = objective.score(run.discriminator, batch, images.seen.detach(), weight)
    return scores, compute(discriminator_terms(run.preset, run.discriminator, batch, images.seen, scores), weight)


def answer(run: "Run", batch: Batch, images: Images, weight: objective.Weights) -> Terms:
    """The generator's terms, before a discriminator that takes no gradient."""
    features, fake, seen = images
    made = Made(
        run.preset, batch, fake, objective.wanted(batch, seen, features), seen.fake_features,
        run.classifier, run.generator, run.gallery, run.gallery_labels,
    )  # fmt: skip
    scores = objective.score_fakes(run.discriminator, batch, seen, weight)
    return compute(paper_terms(made, scores) | extra_terms(made), weight)


def learn_whole(run: "Run", batch: Batch, weight: objective.Weights, on_device: objective.Weights) -> list[Learned]:
    """Update both networks on a draw. weight: of each term, 0 to leave it out; on_device: the same on the device."""
    images = make(run, batch)
    scores, terms = judge(run, batch, images, weight)
    run.update(run.discriminator, [terms], on_device)
    run.discriminator.requires_grad_(False)
    terms_now = answer(run, batch, images, weight)
    run.update(run.generator, [terms_now], on_device)
    run.discriminator.requires_grad_(True)
    return [(batch, images.fake, scores, {"discriminator": terms, "generator": terms_now})]


def learn_in_parts(run: "Run", batch: Batch, weight: objective.Weights, on_device: objective.Weights) -> list[Learned]:
    """`learn_whole`, part by part, as much memory as one part takes; the images are made twice, once for each network.

    Each network moves once, along the mean of the parts' gradients. That is the whole batch's gradient but for what
    is taken over the rows of a batch: a batch norm's mean and variance, which are a part's; the energy by which
    `fixed_pattern` is divided; and spectral norm, which refines its estimate at each pass.
    """
    parts, judged, learned = batch.split(run.parts), [], []

    def of_discriminator():
        for part in parts:
            with torch.no_grad(), statistics_held(run.generator):  # for the generator's turn they are made again
                images = make(run, part)
            judged.append(judge(run, part, images, weight))
            yield judged[-1][1]

    def of_generator():
        for part, (scores, terms) in zip(parts, judged, strict=True):
            images = make(run, part)
            terms_now = answer(run, part, images, weight)
            learned.append((part, images.fake.detach(), scores, {"discriminator": terms, "generator": terms_now}))
            yield terms_now

    run.update(run.discriminator, of_discriminator(), on_device)
    run.discriminator.requires_grad_(False)
    run.update(run.generator, of_generator(), on_device)
    run.discriminator.requires_grad_(True)
    return learned


def check_economies(preset: Preset, parts: int = 1, recompute: bool = False, compiled: bool = False) -> None:
    """Raises InputError for parts that a batch cannot be cut into or that several processes would cut, and for
    `recompute` with `compiled`.
    """
    if recompute and compiled:
        raise InputError(
            "--recompute and --compile do not go together: the compiler chooses what it keeps; leave one out."
        )
    if parts > 1 and ranks.ranks() > 1:
        raise InputError(
            f"The {ranks.ranks()} processes share the batch already, each with a part of it; leave --parts out."
        )
    if preset.batch % (4 * parts):
        raise InputError(
            f"A batch of {preset.batch} cannot be cut into {parts} parts of whole pairs with two z each; "
            f"give --parts a divisor of {preset.batch // 4}."
        )


def economise(run: "Run", parts: int = 1, recompute: bool = False, compiled: bool = False) -> None:
    """Let a run do with less memory, or less time; nothing of it is kept in a checkpoint.

    parts: in which a step goes through its batch; recompute: compute inner maps anew for the way back, a fifth more
    work; compiled: fuse the generator and the classifier with torch.compile, which takes minutes once (what it makes of
    a network is for one way back: the discriminator, whose R1 has two, stays as it is).
    Raises InputError as `check_economies`.
    """
    check_economies(run.preset, parts, recompute, compiled)
    run.parts = run.sampler.parts = parts
    run.generator.recompute = run.classifier.recompute = recompute
    if compiled:
        run.generator.compile()
        run.classifier.pyramid_of_normalised = torch.compile(run.classifier.pyramid_of_normalised)
