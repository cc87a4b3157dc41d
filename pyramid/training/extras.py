"""Our own terms of the objective, beside the paper's (`losses.py`).

To add one: write a function from `Made` to its unweighted value, here; a weight of the same name in `presets.py`
(and in TERMS); a row in `docs/replication.md`. `objective.py` weighs and sums it, the metrics file logs it.

    fixed_pattern  no discriminator that sees one image at a time notices a texture that all images share
    retrieval      the reconstruction is nearly satisfied by the class alone; this one asks for the photograph
    other_label    under another label the classifier, too, has to name that label
    other_layout   under another label the edges of the reference have to stay
"""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F

from pyramid.classifier import Classifier
from pyramid.data import luminance, sobel
from pyramid.device import mean_over_ranks
from pyramid.generator import Generator
from pyramid.levels import LEVELS
from pyramid.presets import Preset
from pyramid.training.sampling import Batch


@dataclass
class Made:
    """What a step has made, for the terms to look at."""

    preset: Preset
    batch: Batch
    fake: Tensor  # (B, 3, S, S) in [-1, 1]
    features: dict[str, Tensor]  # what the images of the first z should have, level -> (B/2, …)
    reencoded: dict[str, Tensor]  # and what they have, level -> (B/2, …)
    classifier: Classifier
    generator: Generator
    gallery: dict[str, Tensor]  # features of the photographs that retrieval draws from, at the levels it weighs
    gallery_labels: Tensor  # (N,)


def fixed_pattern(made: Made) -> Tensor:
    """Fine detail that the images of two references of one class and one drawn level have in common: a scalar."""
    first, second = made.batch.split_z(made.fake)
    one, other = made.batch.of_one_class(made.batch.level)
    return common_detail(first, second, one == other)


def common_detail(first: Tensor, second: Tensor, alike: Tensor) -> Tensor:
    """Energy of the fine detail that images of different references share, as a share of all.

    With d the mean `fine_detail` of a reference's two images, it is <d, d'> of two references of one class and
    one drawn level, divided by the mean |detail|^2, both means over all ranks. The two are independent, so that its
    mean is |E d|^2: images with nothing in common give about 0, of either sign.

    first, second: images (B, 3, H, W) of the same B references, two z, rows 2i and 2i + 1 of one class;
    alike: bool (B / 2,), whether the two of a pair were drawn at one level. Returns a scalar.
    """
    a, b = fine_detail(first), fine_detail(second)  # (B, 1, H, W)
    mean = (a + b) / 2
    common = (mean[0::2] * mean[1::2]).sum((1, 2, 3)) * alike  # (B / 2,)
    energy = (a.square().sum((1, 2, 3)) + b.square().sum((1, 2, 3))).mean() / 2
    common, energy = mean_over_ranks(torch.stack([common.mean(), energy]))
    return common / (energy + 1e-6)


def fine_detail(images: Tensor) -> Tensor:
    """Luminance less its 5x5 mean. (B, 3, H, W) -> (B, 1, H, W)."""
    grey = luminance(images.float())
    return grey - F.avg_pool2d(grey, 5, 1, 2, count_include_pad=False)


def retrieval(made: Made) -> Tensor:
    """How hard it is to tell which photograph an image was made of, where one level alone was open: (7,), in nats.

    At fc8, which says the class above all, a photograph is found by what sets it apart from its class.
    """
    p, batch, values = made.preset, made.batch, []
    scale = torch.where(batch.relabelled, p.relabelled_scale, 1.0)  # (B/2,)
    for i, (name, weight) in enumerate(zip(LEVELS, p.retrieval, strict=True)):
        if not weight:
            values.append(made.fake.new_zeros(()))
            continue
        image, own = made.reencoded[name].float().flatten(1), made.features[name].float().flatten(1)  # (B/2, D)
        others = made.gallery[name][batch.others].float()  # (OTHERS, D)
        if name == "fc8":
            mean = made.generator.class_mean[batch.real_labels]  # (B/2, K)
            image, own = image - mean, own - mean
            others = others - made.generator.class_mean[made.gallery_labels[batch.others]]
        counts = (batch.alone & (batch.level == i)) * scale  # (B/2,)
        values.append((find(image, own, others, p.retrieval_temperature[i]) * counts).mean())
    return torch.stack(values)


def find(image: Tensor, own: Tensor, others: Tensor, temperature: float) -> Tensor:
    """InfoNCE (van den Oord et al. 2018): cross-entropy of the own reference among others, in nats: (B,).

    Scores are cosines over the temperature. image, own: features (B, D); others: (N, D).
    """
    a, b, rest = (F.normalize(x.float(), dim=1) for x in (image, own, others))
    scores = torch.cat([(a * b).sum(1, keepdim=True), a @ rest.T], 1) / temperature  # (B, 1 + N)
    return scores.logsumexp(1) - scores[:, 0]


def other_label(made: Made) -> Tensor:
    """Cross-entropy of the label that was asked for, by the classifier, over the relabelled rows: a scalar, in nats."""
    logits = made.reencoded["fc8"].float() * made.classifier.level_std[-1]
    asked, _ = made.batch.split_z(made.batch.labels)
    named = F.cross_entropy(logits, asked, reduction="none")  # (B/2,)
    return (named * made.batch.relabelled).mean()


def other_layout(made: Made) -> Tensor:
    """1 less the correlation of the edges with the reference's, over the relabelled rows: a scalar."""
    reference = edge_strength(made.batch.references)  # (B/2, n)
    kept = (edge_strength(made.fake) * made.batch.both_z(reference)).sum(1)  # (B,)
    return ((1 - kept) * made.batch.both_z(made.batch.relabelled)).mean()


def edge_strength(images: Tensor) -> Tensor:
    """Sobel's slopes at a quarter of the resolution, of mean 0 and norm 1: (B, 3, H, W) -> (B, H * W / 16).

    What training keeps; `measure.uses.drawn_edges`, which measures whether it stayed, is taken from line drawings.
    """
    slopes = sobel(F.avg_pool2d(luminance(images.float()), 4))  # (B, 2, H/4, W/4)
    strength = (slopes.square().sum(1) + 1e-4 / 16).sqrt().flatten(1)
    return F.normalize(strength - strength.mean(1, keepdim=True), dim=1)


EXTRAS: dict[str, Callable[[Made], Tensor]] = {
    term.__name__: term for term in (fixed_pattern, retrieval, other_label, other_layout)
}
