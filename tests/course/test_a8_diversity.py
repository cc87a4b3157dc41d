import pytest
import torch
from students import answer, told
from torch.nn import functional as F

from pyramid.course.a8_diversity import ASSIGNMENT
from pyramid.course.assignments import MASTERS
from pyramid.losses import layout


def test_a_stub_is_told_that_nothing_is_there():
    def stub(first, second, z1, z2):
        raise NotImplementedError

    assert told(ASSIGNMENT, stub) == {"There is nothing here yet; write the function and run the cell again."}


@pytest.mark.parametrize("seed", range(6))
def test_the_masters_solution_passes(seed):
    assert told(ASSIGNMENT, answer(MASTERS / "a8_diversity.ipynb"), seed) == set()


def pair_by_pair(first, second, z1, z2):
    """Unusual: a loop, norms for means, and the fraction the other way up."""
    found = []
    for a, b, z, w in zip(layout(first), layout(second), z1, z2, strict=True):
        r = (a - b).norm(p=1) / a.numel() / ((z - w).norm(p=1) / z.numel())
        found.append(1 / (1 + r / 0.3))
    return torch.stack(found)


def with_its_own_layout(first, second, z1, z2):
    """Unusual: float64, a layout of its own, and a single fraction of 0.3 |z| and 0.3 |z| + |layouts|."""

    def own(images):
        cells = F.interpolate(images.double(), (16, 16), mode="area").flatten(2)  # (B, 3, 256)
        return (cells - cells.mean(2, keepdim=True)) / (cells.var(2, correction=0, keepdim=True) + 1e-3).sqrt()

    images, steps = (own(first) - own(second)).abs().flatten(1).mean(1), 0.3 * (z1 - z2).double().abs().mean(1)
    return steps / (steps + images)


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("unusual", [pair_by_pair, with_its_own_layout])
def test_unusual_solutions_pass(unusual, seed):
    assert told(ASSIGNMENT, unusual, seed) == set()


def apart(a, b):
    return (a - b).abs().reshape(len(a), -1).mean(dim=1)


def as_in_the_paper(first, second, z1, z2):
    return apart(z1, z2) / (apart(layout(first), layout(second)) + 1e-8)


def as_in_the_paper_with_sums(first, second, z1, z2):
    images = (layout(first) - layout(second)).abs().sum((1, 2, 3))
    return (z1 - z2).abs().sum(1) / (images / 96 + 0.001)


def upside_down(first, second, z1, z2):
    r = apart(z1, z2) / apart(layout(first), layout(second))
    return 0.3 / (0.3 + r)


def r_on_top(first, second, z1, z2):
    r = apart(layout(first), layout(second)) / apart(z1, z2)
    return r / (0.3 + r)


def pixels(first, second, z1, z2):
    r = apart(first, second) / apart(z1, z2)
    return 0.3 / (0.3 + r)


def small_pixels(first, second, z1, z2):
    r = apart(F.avg_pool2d(first, 2), F.avg_pool2d(second, 2)) / apart(z1, z2)
    return 0.3 / (0.3 + r)


def mean_at_the_end(first, second, z1, z2):
    r = apart(layout(first), layout(second)) / apart(z1, z2)
    return (0.3 / (0.3 + r)).mean()


def mean_of_everything(first, second, z1, z2):
    r = (layout(first) - layout(second)).abs().mean() / (z1 - z2).abs().mean()
    return 0.3 / (0.3 + r)


def images_alone(first, second, z1, z2):
    return 0.3 / (0.3 + apart(layout(first), layout(second)))


@pytest.mark.parametrize("seed", (0, 5, 91))
@pytest.mark.parametrize(
    "mistaken, beginning",
    [
        (as_in_the_paper, "The loss has no bound"),
        (as_in_the_paper_with_sums, "The loss has no bound"),
        (upside_down, "It rises as the images part"),
        (r_on_top, "It rises as the images part"),
        (pixels, "Another tint alone counts"),
        (small_pixels, "Another tint alone counts"),
        (mean_at_the_end, "The batch comes out as a single value"),
        (mean_of_everything, "The batch comes out as a single value"),
        (images_alone, "The z do not matter here"),
    ],
)
def test_a_mistake_gets_its_sentence(mistaken, beginning, seed):
    (sentence,) = [s for s in ASSIGNMENT.mistakes if s.startswith(beginning)]
    assert told(ASSIGNMENT, mistaken, seed) == {sentence}


def another_bound(first, second, z1, z2):
    r = apart(layout(first), layout(second)) / apart(z1, z2)
    return 1 / (1 + r)


def euclidean(first, second, z1, z2):
    r = (layout(first) - layout(second)).square().mean((1, 2, 3)).sqrt() / apart(z1, z2)
    return 0.3 / (0.3 + r)


def one_pair_for_all(first, second, z1, z2):
    r = apart(layout(first), layout(second)).mean() / apart(z1, z2)
    return 0.3 / (0.3 + r)


def cut_off(first, second, z1, z2):
    return pair_by_pair(first.detach(), second.detach(), z1, z2)


@pytest.mark.parametrize(
    "other, part",
    [
        (another_bound, "by hand"),
        (euclidean, "no finite number"),
        (one_pair_for_all, "one at a time"),
        (cut_off, "No gradient reaches"),
        (lambda first, second, z1, z2: 1.0, "A tensor is to be returned"),
    ],
)
def test_another_fault_is_not_taken_for_a_typical_mistake(other, part):
    sentences = told(ASSIGNMENT, other)
    assert any(part in sentence for sentence in sentences)
    assert not sentences & set(ASSIGNMENT.mistakes)
