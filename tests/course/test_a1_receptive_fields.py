import pytest
from students import answer, told

from pyramid.course.a1_receptive_fields import ASSIGNMENT, reached
from pyramid.course.assignments import MASTERS
from pyramid.levels import RECEPTIVE_FIELDS

SEEDS = pytest.mark.parametrize("seed", (0, 5, 91))


def test_a_gradient_reaches_as_far_as_the_paper_s_network_sees():
    assert reached([2, 2, 3, 3, 3]) == list(RECEPTIVE_FIELDS.values())


@SEEDS
def test_the_masters_solution_passes(seed):
    assert told(ASSIGNMENT, answer(MASTERS / "a1_receptive_fields.ipynb"), seed) == set()


def by_the_sum(convolutions):
    """Unusual: no running numbers, the formula's sum for each stage."""
    strides = [2**i for i in range(len(convolutions))]
    widened = [(2 * count + 1) * stride for count, stride in zip(convolutions, strides, strict=True)]
    return [[1 + sum(widened[: i + 1]), 2 * stride] for i, stride in enumerate(strides)]


def from_the_deep_end(convolutions):
    """Unusual: backwards from one cell, as many cells of the layer before as it needs; a generator of tuples."""
    for stages in range(1, len(convolutions) + 1):
        cells = 1
        for count in reversed(convolutions[:stages]):
            cells = 2 * cells + 2 * count
        yield cells, 2**stages


@SEEDS
@pytest.mark.parametrize("unusual", [by_the_sum, from_the_deep_end])
def test_unusual_solutions_pass(unusual, seed):
    assert told(ASSIGNMENT, unusual, seed) == set()


def no_stride(convolutions):
    result, rf, s = [], 1, 1
    for n in convolutions:
        for _ in range(n):
            rf = rf + 2
        rf = rf + 1
        s = s * 2
        result.append((rf, s))
    return result


def stride_first(convolutions):
    result, rf, s = [], 1, 1
    for n in convolutions:
        for _ in range(n):
            rf += (3 - 1) * s
        s *= 2
        rf += (2 - 1) * s
        result.append((rf, s))
    return result


def no_pool(convolutions):
    result, rf = [], 1
    for i, n in enumerate(convolutions):
        rf += n * 2 * 2**i
        result.append([rf, 2 ** (i + 1)])
    return result


def convolutions_only(convolutions):
    result, rf = [], 1
    for n in convolutions:
        rf += 2 * n
        result.append((rf, 1))
    return result


def starts_with_nothing(convolutions):
    return [(field - 1, stride) for field, stride in by_the_sum(convolutions)]


def one_convolution(convolutions):
    return by_the_sum([1] * len(convolutions))


@SEEDS
@pytest.mark.parametrize(
    "mistaken, beginning",
    [
        (no_stride, "Every layer widens the field by the same few pixels"),
        (stride_first, "The stride is doubled before the pool"),
        (no_pool, "The convolutions are counted and the pool is not"),
        (convolutions_only, "The convolutions are counted and the pool is not"),
        (starts_with_nothing, "All fields are one pixel too small"),
        (one_convolution, "Each stage counts as if it had one convolution"),
    ],
)
def test_a_mistake_gets_its_sentence(mistaken, beginning, seed):
    (sentence,) = [s for s in ASSIGNMENT.mistakes if s.startswith(beginning)]
    assert told(ASSIGNMENT, mistaken, seed) == {sentence}


@pytest.mark.parametrize(
    "other, part",
    [
        (lambda convolutions: [(6, 2), (16, 4), (44, 8), (100, 16), (212, 32)], "reaches|as many pairs"),  # learnt
        (lambda convolutions: None, "A list is to be returned"),
        (lambda convolutions: 6, "A list is to be returned"),
        (lambda convolutions: [6, 16], "A list is to be returned"),
        (lambda convolutions: by_the_sum(convolutions)[-1:], "need as many pairs"),
    ],
)
def test_other_answers_are_told_what_is_wrong(other, part):
    sentences = told(ASSIGNMENT, other, 3)
    assert sentences and all(any(p in s for p in part.split("|")) for s in sentences)
