"""Inversion by optimisation with a prior: what one did before the pyramid (Mahendran & Vedaldi 2015).

    x* = argmin  C |Phi(x) - Phi_0|^2 / |Phi_0|^2  +  R_alpha(x)  +  R_V(x)             (their equation 1)

with the alpha-norm R_alpha = mean |x|^6 and the total variation R_V = mean (dx^2 + dy^2) / V^2 as priors.
"""

import torch
from torch import Tensor

from pyramid.classifier import Classifier
from pyramid.device import seeded
from pyramid.levels import check_level

ALPHA = 6
VARIATION = 2 / 6.5  # V: the range of the pixels over 6.5, as in section 3.2 of the source
FIRST_RATE, LAST_RATE = 1.0, 0.02  # of Adam, falling geometrically; a first as large as this finds light and colour
#: C, how much features count against the priors: of three weights a level (10, 30, 100 at conv1 and conv2; 3, 10, 30
#: below) what lets the judge name most images of 24 held-out training photographs; by eye where two are alike
WEIGHT = {"conv1": 30.0, "conv2": 30.0, "conv3": 10.0, "conv4": 10.0, "conv5": 30.0, "fc7": 30.0, "fc8": 30.0}


def alpha_norm(images: Tensor) -> Tensor:
    """R_alpha: keeps pixels in range. (B, 3, H, W) in about [-1, 1] -> (B,)."""
    return images.abs().pow(ALPHA).mean((1, 2, 3))


def total_variation(images: Tensor) -> Tensor:
    """R_V with beta = 2: keeps images smooth. (B, 3, H, W) -> (B,)."""
    across = images[..., :-1, 1:] - images[..., :-1, :-1]
    down = images[..., 1:, :-1] - images[..., :-1, :-1]
    return (across.square() + down.square()).mean((1, 2, 3)) / VARIATION**2


@torch.enable_grad()
def invert(
    classifier: Classifier,
    target: Tensor,
    level: str,
    seed: int = 0,
    steps: int = 200,
    start: Tensor | None = None,
) -> Tensor:
    """Images whose features match the target at one level.

    Args:
        classifier: frozen, in evaluation mode.
        target: features of B images at `level`, as `Classifier.pyramid` gives them.
        seed: of the noise that the images start from, where no `start` is given.
        steps: of Adam, in which its rate falls from FIRST_RATE to LAST_RATE.
        start: images (B, 3, S, S) in [-1, 1] to start from instead of noise; the search keeps the last rate
            then, so that it stays near them.

    Returns: (B, 3, S, S) in [-1, 1], on the CPU.
    """
    check_level(level)
    first = FIRST_RATE if start is None else LAST_RATE
    if start is None:
        with seeded(seed):
            start = 0.1 * torch.randn(len(target), 3, classifier.image_size, classifier.image_size)
    images = start.to(target.device, copy=True).requires_grad_()
    optimiser = torch.optim.Adam([images], lr=first)
    scale = target.flatten(1).square().sum(1).clamp(min=1e-8)  # (B,)
    for step in range(steps):
        optimiser.param_groups[0]["lr"] = first * (LAST_RATE / first) ** (step / steps)
        error = (classifier.pyramid(images, level)[level] - target).flatten(1).square().sum(1) / scale  # (B,)
        # the sum, not the mean: every image is a problem of its own
        loss = (WEIGHT[level] * error + alpha_norm(images) + total_variation(images)).sum()
        (images.grad,) = torch.autograd.grad(loss, images)
        optimiser.step()
    return images.detach().clamp(-1, 1).cpu()
