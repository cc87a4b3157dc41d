"""The three losses of the paper, L = L_adv + alpha L_rec + beta L_div, as pure functions of tensors.

All are computed in float32. The adversarial losses take scores of any shape.
"""

import torch
from torch import Tensor
from torch.nn import functional as F

from pyramid.levels import LEVELS


def least_squares(real: Tensor, fake: Tensor) -> Tensor:
    """The paper's discriminator loss (Mao et al. 2017): real scores towards 1, fake ones towards 0."""
    return 0.5 * ((real.float() - 1).square().mean() + fake.float().square().mean())


def least_squares_generator(fake: Tensor) -> Tensor:
    """Fake scores towards 1 (Mao et al. 2017, equation 2)."""
    return 0.5 * (fake.float() - 1).square().mean()


def hinge(real: Tensor, fake: Tensor) -> Tensor:
    """SAGAN's discriminator loss (Zhang et al. 2019, equation 4): scores apart by a margin of 2."""
    return F.relu(1 - real.float()).mean() + F.relu(1 + fake.float()).mean()


def hinge_generator(fake: Tensor) -> Tensor:
    """The generator's side of the hinge: raise the fake scores."""
    return -fake.float().mean()


def no_game(real: Tensor, fake: Tensor) -> Tensor:
    """Nothing to learn for the discriminator: 0, for runs without an adversary."""
    return 0.0 * (real.float().mean() + fake.float().mean())


def no_game_generator(fake: Tensor) -> Tensor:
    """Nothing to learn from it for the generator either: 0."""
    return 0.0 * fake.float().mean()


ADVERSARIAL = {
    "hinge": (hinge, hinge_generator),
    "least_squares": (least_squares, least_squares_generator),
    "none": (no_game, no_game_generator),
}


def r1(scores: Tensor, images: Tensor) -> Tensor:
    """Squared gradient of the real scores at the images (Mescheder et al. 2018), mean over images.

    scores: any shape, float32, computed from images (B, 3, H, W) that require a gradient.
    """
    (gradient,) = torch.autograd.grad(scores.sum(), images, create_graph=True)
    return gradient.square().sum((1, 2, 3)).mean()


def reconstruction(
    generated: dict[str, Tensor],
    reference: dict[str, Tensor],
    masks: dict[str, Tensor],
    weights: tuple[float, ...],
    scale: Tensor | None = None,
) -> Tensor:
    """Semantic reconstruction: || (C_i(x) - C_i(G(z, F, M))) * m_i ||, L1 (paper, section 3.1).

    At each level both maps are max-pooled 2x2 where they measure at least 4x4, which forgives small
    shifts, and the mask is min-pooled with them; never across the units of an fc level. The mean is over
    the open entries of a level, then over samples, so that no level wins by its size.

    Args:
        generated, reference: level -> (B, C, h, w) or (B, C), each level divided by its deviation.
        masks: level -> (B, 1, h, w) or (B, 1).
        weights: of each level, in the order of LEVELS.
        scale: (B,) factor of each sample, 1 by default.

    Returns: a scalar.
    """
    total = 0.0
    for name, weight in zip(LEVELS, weights, strict=True):
        x, y, m = reference[name].float(), generated[name].float(), masks[name].float()
        if x.dim() == 4 and x.shape[-1] >= 4:
            x, y, m = F.max_pool2d(x, 2), F.max_pool2d(y, 2), -F.max_pool2d(-m, 2)
        difference = ((x - y).abs().mean(1, keepdim=True) * m).flatten(1).sum(1)  # (B,)
        open_entries = (m > 0).flatten(1).sum(1).clamp(min=1)  # (B,)
        total = total + weight * difference / open_entries
    return (total if scale is None else total * scale).mean()


def layout(images: Tensor, side: int = 16) -> Tensor:
    """What lies where, without tint and contrast: side x side means, each channel standardised by itself."""
    small = F.adaptive_avg_pool2d(images.float(), side)  # (B, 3, side, side)
    centred = small - small.mean((2, 3), keepdim=True)
    return centred / (centred.square().mean((2, 3), keepdim=True) + 1e-3).sqrt()


def diversity(first: Tensor, second: Tensor, z1: Tensor, z2: Tensor, bound: float = 0.3) -> Tensor:
    """How little two noise vectors change the image: (B,) in (0, 1], 1 where they change nothing.

    The paper minimises ||z1 - z2|| / (||G(z1) - G(z2)|| + eps) (mode-seeking GAN, Mao et al. 2019), which
    explodes at collapse and which a change of tint alone satisfies. Ours: the images enter as their
    `layout`; with the ratio r = mean|layout(G(z1)) - layout(G(z2))| / mean|z1 - z2|, the loss is
    bound / (bound + r): it falls with the same r, is at most 1, and its slope in r is steepest,
    -1 / bound, exactly at collapse.

    first, second: images (B, 3, H, W) in [-1, 1]; z1, z2: (B, z_size); bound: the r that gives 1/2.
    """
    r = (layout(first) - layout(second)).abs().mean((1, 2, 3)) / (z1 - z2).float().abs().mean(1)
    return bound / (bound + r)


def fine_detail(images: Tensor) -> Tensor:
    """Luminance less its 5x5 mean. (B, 3, H, W) -> (B, 1, H, W)."""
    luminance = (images.float() * images.new_tensor((0.299, 0.587, 0.114)).view(1, 3, 1, 1)).sum(1, keepdim=True)
    return luminance - F.avg_pool2d(luminance, 5, 1, 2, count_include_pad=False)


def fixed_pattern(first: Tensor, second: Tensor, alike: Tensor) -> Tensor:
    """Energy of the fine detail that images of different references have in common, as a share of all (ours).

    No discriminator that sees one image at a time notices a texture that sits at the same place in all of
    them. With d the mean `fine_detail` of a reference's two images, it is <d, d'> of two references of one
    class and one drawn level, divided by the mean |detail|^2. The two are independent, so that its mean is
    |E d|^2: images with nothing in common give about 0, of either sign.

    first, second: images (B, 3, H, W) of the same B references, two z, rows 2i and 2i + 1 of one class;
    alike: bool (B / 2,), whether the two of a pair were drawn at one level. Returns a scalar.
    """
    a, b = fine_detail(first), fine_detail(second)  # (B, 1, H, W)
    mean = (a + b) / 2
    common = (mean[0::2] * mean[1::2]).sum((1, 2, 3)) * alike  # (B / 2,)
    energy = (a.square().sum((1, 2, 3)) + b.square().sum((1, 2, 3))).mean() / 2
    return common.mean() / (energy + 1e-6)


def edges(images: Tensor) -> Tensor:
    """Strength of the edges at a quarter of the resolution, of mean 0 and norm 1: (B, 3, H, W) -> (B, H * W / 16).

    Sobel's operator on the luminance.
    """
    luminance = (images.float() * images.new_tensor((0.299, 0.587, 0.114)).view(1, 3, 1, 1)).sum(1, keepdim=True)
    sobel = luminance.new_tensor([[-1, 0, 1], [-2, 0, 2], [-1, 0, 1]])
    small = F.pad(F.avg_pool2d(luminance, 4), (1, 1, 1, 1), mode="replicate")
    slopes = F.conv2d(small, torch.stack([sobel, sobel.T])[:, None])  # (B, 2, H/4, W/4)
    strength = (slopes.square().sum(1) + 1e-4).sqrt().flatten(1)
    return F.normalize(strength - strength.mean(1, keepdim=True), dim=1)


def other_layout(generated: Tensor, reference: Tensor) -> Tensor:
    """What another label must leave alone: 1 - the correlation of the `edges` with the reference's, (B,) (ours)."""
    return 1 - (edges(generated) * edges(reference)).sum(1)


def retrieval(generated: Tensor, reference: Tensor, gallery: Tensor, temperature: float = 0.02) -> Tensor:
    """How hard it is to tell from a re-encoded image which reference it was made of: (B,), in nats (ours).

    Cross-entropy of the own reference among itself and a gallery of other photographs, scores being cosines
    over a temperature (InfoNCE, van den Oord et al. 2018). The reconstruction alone is nearly satisfied by
    what all references of a class share.

    generated, reference: features (B, D) of one level; gallery: (N, D).
    """
    a, own, others = (F.normalize(x.float(), dim=1) for x in (generated, reference, gallery))
    scores = torch.cat([(a * own).sum(1, keepdim=True), a @ others.T], 1) / temperature  # (B, 1 + N)
    return scores.logsumexp(1) - scores[:, 0]
