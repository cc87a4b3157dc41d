"""A1, after notebook 01: receptive_fields(convolutions) -> for every stage (field, stride), both in pixels.

convolutions: number of 3x3 convolutions of each stage, [2, 2, 3, 3, 3] in VGG-16; a 2x2 max-pool ends a stage, and
what is asked for is measured behind it.
"""

import numpy as np
import torch
from torch.nn import functional as F

from pyramid.course.engine import Assignment, Function, Trace, Wrong, same

VGG = [2, 2, 3, 3, 3]
BY_HAND = [(6, 2), (16, 4), (44, 8), (100, 16), (212, 32)]  # of VGG-16, stage by stage


def drawn(rng: np.random.Generator) -> list[int]:
    """A network of two to five stages: one to four convolutions each, at least two in the last."""
    stages = [int(n) for n in rng.integers(1, 5, int(rng.integers(1, 5)))]
    return [*stages, int(rng.integers(2, 5))]


def reached(convolutions: list[int]) -> list[tuple[int, int]]:
    """(field, stride) of every stage as a gradient finds them, in one dimension, with weights that cancel nothing.

    The field of a cell are the pixels that its gradient reaches; the stride is how far on those of the next cell begin.
    """
    found = []
    for stages in range(1, len(convolutions) + 1):
        row = torch.ones(1, 1, 1024, dtype=torch.float64, requires_grad=True)
        x = row
        for count in convolutions[:stages]:
            for _ in range(count):
                x = F.conv1d(x, torch.full((1, 1, 3), 1 / 3, dtype=torch.float64), padding=1)
            x = F.avg_pool1d(x, 2)  # reaches what a max-pool may reach, without its choice
        middle = x.shape[-1] // 2
        here, there = (torch.autograd.grad(x[0, 0, i], row, retain_graph=True)[0][0, 0] for i in (middle, middle + 1))
        pixels = here.nonzero()[:, 0]
        found.append((len(pixels), int(there.nonzero()[0, 0] - pixels[0])))
    return found


def compare(function: Function, convolutions: list[int], right: list[tuple[int, int]], why: str) -> None:
    """Raise Wrong at the first stage that has another field or stride than the right ones."""
    stages = function(list(convolutions))
    try:
        rows = [tuple(float(n) for n in stage) for stage in stages]
    except TypeError:
        raise Wrong("A list is to be returned, with a pair (field, stride) for every stage.") from None
    if [len(row) for row in rows] != [2] * len(convolutions):
        raise Wrong(f"{len(convolutions)} stages need as many pairs (field, stride); this is what came: {stages}.")
    for i, (row, wanted) in enumerate(zip(rows, right, strict=True)):
        if not same(row, wanted):
            raise Wrong(
                f"Stages {convolutions}: behind stage {i + 1} the field and stride are {wanted}, {why}; the function "
                f"says ({row[0]:g}, {row[1]:g})."
            )


def vgg(function: Function, rng: np.random.Generator) -> None:
    compare(function, VGG, BY_HAND, "as notebook 01 has them")


def gradients(function: Function, rng: np.random.Generator) -> None:
    for _ in range(6):
        convolutions = drawn(rng)
        compare(function, convolutions, reached(convolutions), "as far as a gradient reaches")


def trace(function: Function, rng: np.random.Generator) -> Trace:
    return [np.array(function(drawn(rng)), dtype=np.float64) for _ in range(8)]


def _stride_ignored(convolutions: list[int]) -> list[tuple[int, int]]:
    field, stride, stages = 1, 1, []
    for count in convolutions:
        field += 2 * count + 1
        stride *= 2
        stages.append((field, stride))
    return stages


def _stride_doubled_first(convolutions: list[int]) -> list[tuple[int, int]]:
    field, stride, stages = 1, 1, []
    for count in convolutions:
        field += 2 * stride * count
        stride *= 2
        field += stride
        stages.append((field, stride))
    return stages


def _pool_forgotten(convolutions: list[int]) -> list[tuple[int, int]]:
    field, stride, stages = 1, 1, []
    for count in convolutions:
        field += 2 * stride * count
        stride *= 2
        stages.append((field, stride))
    return stages


def _pool_forgotten_altogether(convolutions: list[int]) -> list[tuple[int, int]]:
    return [(1 + 2 * int(n), 1) for n in np.cumsum(convolutions)]


def _from_zero(convolutions: list[int]) -> list[tuple[int, int]]:
    field, stride, stages = 0, 1, []
    for count in convolutions:
        field += 2 * stride * count + stride
        stride *= 2
        stages.append((field, stride))
    return stages


def _one_a_stage(convolutions: list[int]) -> list[tuple[int, int]]:
    field, stride, stages = 1, 1, []
    for _ in convolutions:
        field += 3 * stride
        stride *= 2
        stages.append((field, stride))
    return stages


ASSIGNMENT = Assignment(
    name="a1_receptive_fields",
    questions={
        "VGG-16 is as in the notebook": vgg,
        "Any other network: as far as a gradient reaches": gradients,
    },
    mistakes={
        "Every layer widens the field by the same few pixels, as if no pool had come before. How far apart, in pixels, "
        "are two neighbours of the map that a later convolution reads?": _stride_ignored,
        "The stride is doubled before the pool has widened the field, so every pool counts twice. Which stride do the "
        "cells have that the pool reads?": _stride_doubled_first,
        "The convolutions are counted and the pool is not: it reads two cells, so it too widens the field. By how "
        "much, at the stride of its input?": [_pool_forgotten, _pool_forgotten_altogether],
        "All fields are one pixel too small, so the walk begins at 0. How many pixels does a pixel see?": _from_zero,
        "Each stage counts as if it had one convolution. Where does the number in the list enter?": _one_a_stage,
    },
    trace=trace,
)
