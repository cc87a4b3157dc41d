"""A8, after notebook 06: diversity(first, second, z1, z2) -> (B,), one value a pair of images, 1 at collapse.

first, second: (B, 3, H, W) in [-1, 1], made from z1 and z2: (B, z_size). The bounded ratio of `pyramid.losses`:
0.3 / (0.3 + r), where r is the mean absolute difference of the two images' `pyramid.losses.layout`, over that of
the two z.
"""

import numpy as np
import torch
from torch import Tensor

from pyramid.course.engine import Assignment, Function, Trace, Wrong, same
from pyramid.losses import layout

BOUND = 0.3
CELLS = 256  # of a layout, 16 x 16


def pairs(rng: np.random.Generator, *flips: int) -> tuple[Tensor, Tensor]:
    """Images of 16x16 blocks, half of them bright and half dark, and the same with 2 x `flips` blocks turned over.

    One pair an entry of `flips`: two (B, 3, 32, 32). The layouts of a pair differ by 4 flips / 256 on average.
    """
    first, second = -np.ones((2, len(flips), 3, CELLS))
    for pair, count in enumerate(flips):
        for channel in range(3):
            bright, dark = rng.permutation(CELLS).reshape(2, CELLS // 2)
            first[pair, channel, bright] = second[pair, channel, bright[count:]] = 1
            second[pair, channel, dark[:count]] = 1
    blocks = torch.tensor(0.8 * np.stack([first, second]), dtype=torch.float32).reshape(2, -1, 3, 16, 16)
    return tuple(blocks.repeat_interleave(2, 3).repeat_interleave(2, 4))


def noises(rng: np.random.Generator, count: int, apart: float = 1.0) -> tuple[Tensor, Tensor]:
    """Two z a pair, (count, 8) each, that differ by `apart` on average over their entries."""
    z1, step = (torch.tensor(rng.normal(size=(count, 8)), dtype=torch.float32) for _ in range(2))
    return z1, z1 + apart * step / step.abs().mean(1, keepdim=True)


def values(function: Function, first: Tensor, second: Tensor, z1: Tensor, z2: Tensor) -> Tensor:
    """What a function answers, if it is one finite value a pair."""
    answer = function(first, second, z1, z2)
    if not isinstance(answer, Tensor):
        raise Wrong(f"A tensor is to be returned, not {type(answer).__name__}.")
    if answer.shape != (len(first),):
        raise Wrong(f"{len(first)} pairs should give as many values, not the shape {tuple(answer.shape)}.")
    if not torch.isfinite(answer).all():
        raise Wrong(f"The values {answer.tolist()} are not all finite numbers.")
    return answer


def one_at_collapse(function: Function, rng: np.random.Generator) -> None:
    first, _ = pairs(rng, 0, 0, 0)
    found = values(function, first, first.clone(), *noises(rng, 3, rng.uniform(0.5, 2)))
    if not same(found, torch.ones(3)):
        raise Wrong(f"Two equal images should give 1, the worst there is; they give {found.tolist()}.")


def falls_as_layouts_part(function: Function, rng: np.random.Generator) -> None:
    for apart in (0.5, 1.0, 2.0):
        flips = sorted(int(n) for n in rng.choice(np.arange(4, 120), 4, replace=False))
        found = values(function, *pairs(rng, *flips), *noises(rng, 4, apart)).tolist()
        if not all(a > b for a, b in zip(found, found[1:], strict=False)):
            raise Wrong(f"Four pairs whose layouts differ more and more should give ever less: {found}.")
        by_hand = [BOUND / (BOUND + 4 * count / CELLS / apart) for count in flips]
        if not same(found, by_hand, 0.01):
            raise Wrong(
                f"Layouts {4 * flips[-1] / CELLS:.3f} apart, z {apart} apart: {by_hand[-1]:.4f} by hand, "
                f"not {found[-1]:.4f}."
            )


def blind_to_tint(function: Function, rng: np.random.Generator) -> None:
    first, _ = pairs(rng, 0, 0)
    tint = torch.tensor(rng.uniform(-0.2, 0.2, (2, 3, 1, 1)), dtype=torch.float32)
    found = values(function, first, first + tint, *noises(rng, 2))
    if not same(found, torch.ones(2), 0.01):
        raise Wrong(f"An image and the same in another tint should give 1; they give {found.tolist()}.")


def finite_gradient(function: Function, rng: np.random.Generator) -> None:
    first, _ = pairs(rng, 0, 0)
    z1, z2 = noises(rng, 2)
    for step in (0.0, 0.01):
        second = first + step * torch.tensor(rng.normal(size=first.shape), dtype=torch.float32)
        second.requires_grad_()
        found = values(function, first, second, z1, z2)
        if not found.requires_grad:
            raise Wrong("No gradient reaches the images, so the generator cannot learn from it.")
        found.sum().backward()
        if not torch.isfinite(second.grad).all():
            raise Wrong("At two equal images the gradient is no finite number, and one such step ends a training run.")
        if step and not second.grad.any():
            raise Wrong("Near collapse the gradient is 0, and nothing drives the images apart.")


def one_value_a_pair(function: Function, rng: np.random.Generator) -> None:
    first, second = pairs(rng, *(int(n) for n in rng.integers(5, 120, 4)))
    z1, z2 = noises(rng, 4)
    together = values(function, first, second, z1, z2)
    alone = torch.cat([values(function, *(x[i : i + 1] for x in (first, second, z1, z2))) for i in range(4)])
    if not same(together, alone, 1e-3):
        raise Wrong(f"Four pairs together give {together.tolist()}, one at a time {alone.tolist()}.")


def trace(function: Function, rng: np.random.Generator) -> Trace:
    """What becomes of the mean in experiments each of which shows one of the mistakes."""
    (first, second), (z1, z2) = pairs(rng, 8, 8, 8), noises(rng, 3)

    def mean(first: Tensor, second: Tensor, step: float = 1.0) -> float:
        return float(function(first, second, z1, z1 + step * (z2 - z1)).mean())

    here = mean(first, second)
    tint = torch.tensor(rng.uniform(0.1, 0.2, (3, 3, 1, 1)), dtype=torch.float32)
    outcomes = [
        mean(*pairs(rng, 64, 64, 64)) < here,
        same(mean(first, second + tint), here, 1e-3),
        same(mean(first, second, 2), here, 1e-3),
        mean(first, second, 9) > 1,
        function(first, second, z1, z2).dim(),
    ]
    return [np.array(outcomes, dtype=np.float64)]


def _apart(first: Tensor, second: Tensor) -> Tensor:
    return (first - second).abs().flatten(1).mean(1)


def _unbounded(first: Tensor, second: Tensor, z1: Tensor, z2: Tensor) -> Tensor:
    return _apart(z1, z2) / (_apart(layout(first), layout(second)) + 1e-5)


def _inverted(first: Tensor, second: Tensor, z1: Tensor, z2: Tensor) -> Tensor:
    return BOUND / (BOUND + _apart(z1, z2) / _apart(layout(first), layout(second)))


def _raw_pixels(first: Tensor, second: Tensor, z1: Tensor, z2: Tensor) -> Tensor:
    return BOUND / (BOUND + _apart(first, second) / _apart(z1, z2))


def _batch_mean(first: Tensor, second: Tensor, z1: Tensor, z2: Tensor) -> Tensor:
    return BOUND / (BOUND + _apart(layout(first), layout(second)).mean() / _apart(z1, z2).mean())


def _z_ignored(first: Tensor, second: Tensor, z1: Tensor, z2: Tensor) -> Tensor:
    return BOUND / (BOUND + _apart(layout(first), layout(second)))


ASSIGNMENT = Assignment(
    name="a8_diversity",
    questions={
        "Two equal images give 1": one_at_collapse,
        "The value falls as the layouts part": falls_as_layouts_part,
        "A tint leaves it at 1": blind_to_tint,
        "The gradient at equal images is finite": finite_gradient,
        "One value a pair": one_value_a_pair,
    },
    mistakes={
        "The loss has no bound: the nearer two images are, the more it explodes, and above 1 it should never be. What "
        "has to stand in the denominator beside r, and what above it?": _unbounded,
        "It rises as the images part, so training would make them equal. Which of the two distances is divided by "
        "which?": _inverted,
        "Another tint alone counts as another image, so the generator may tint and leave all where it is. What are the "
        "images to be reduced to before they are compared?": _raw_pixels,
        "The batch comes out as a single value, so a pair that has collapsed hides behind the others. Over which axes "
        "is the mean to be taken, and over which not?": _batch_mean,
        "The z do not matter here: a small step in z is asked for as large a change as a long one. By what is the "
        "distance of the images to be divided?": _z_ignored,
    },
    trace=trace,
)
