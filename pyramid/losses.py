"""The objective of the paper, L = L_adv + alpha L_rec + beta L_div (section 3.1), and R1.

Pure functions of tensors, computed in float32, that return their unweighted value, level by level where weights
go by levels. `training/objective.py` puts them on a step's tensors, weighs and sums them; our own terms are in
`training/extras.py`. The adversarial losses take scores of any shape.
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


ADVERSARIAL = {
    "hinge": (hinge, hinge_generator),
    "least_squares": (least_squares, least_squares_generator),
}  # game -> losses of discriminator and generator


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
    scale: Tensor | None = None,
) -> Tensor:
    """Semantic reconstruction: || (C_i(x) - C_i(G(z, F, M))) * m_i ||, L1 (paper, section 3.1).

    At each level both maps are max-pooled 2x2 where they measure at least 4x4, which forgives small
    shifts, and the mask is min-pooled with them; never across the units of an fc level. The mean is over
    the open entries of a level, then over samples, so that no level wins by its size.

    Args:
        generated, reference: level -> (B, C, h, w) or (B, C), each level divided by its standard deviation.
        masks: level -> (B, 1, h, w) or (B, 1).
        scale: (B,) factor of each sample, 1 by default.

    Returns: (7,), one value a level in the order of LEVELS.
    """
    levels = []
    for name in LEVELS:
        x, y, m = reference[name].float(), generated[name].float(), masks[name].float()
        if x.dim() == 4 and x.shape[-1] >= 4:
            x, y, m = F.max_pool2d(x, 2), F.max_pool2d(y, 2), -F.max_pool2d(-m, 2)
        difference = ((x - y).abs().mean(1, keepdim=True) * m).flatten(1).sum(1)  # (B,)
        open_entries = (m > 0).flatten(1).sum(1).clamp(min=1)  # (B,)
        mean = difference / open_entries
        levels.append((mean if scale is None else mean * scale).mean())
    return torch.stack(levels)


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
