from dataclasses import replace

import numpy as np
import pytest
import scipy.linalg
import torch
from students import answer, told

from pyramid.course.a7_frechet_and_kid import ASSIGNMENT
from pyramid.course.assignments import MASTERS


def about(name):
    """The assignment with the questions about one of its two functions."""
    return replace(ASSIGNMENT, questions={t: q for t, q in ASSIGNMENT.questions.items() if t.startswith(f"{name}:")})


pytestmark = pytest.mark.filterwarnings("ignore:Matrix is singular")  # scipy's, of a root that comes out all the same
FRECHET, KID = about("frechet"), about("kid")


def test_every_question_is_about_one_of_the_two():
    assert {**FRECHET.questions, **KID.questions} == ASSIGNMENT.questions
    assert len(FRECHET.questions) == 5 and len(KID.questions) == 2


@pytest.mark.parametrize("assignment", [FRECHET, KID], ids=["frechet", "kid"])
def test_a_stub_is_told_that_nothing_is_there(assignment):
    def stub(x, y):
        raise NotImplementedError

    assert told(assignment, stub) == {"There is nothing here yet; write the function and run the cell again."}


SEEDS = (0, 1, 2, 3, 4, 5)


@pytest.mark.parametrize("seed", SEEDS)
def test_the_masters_solutions_pass(seed):
    frechet, kid = answer(MASTERS / "a7_frechet_and_kid.ipynb")
    assert told(FRECHET, frechet, seed) == set()
    assert told(KID, kid, seed) == set()


def frechet_by_scipy(x, y):
    """Unusual in that it takes the root of a product that is not symmetric, with something small on the diagonals."""
    a, b = (np.cov(f.T) + 1e-9 * np.eye(f.shape[1]) for f in (x, y))
    root = scipy.linalg.sqrtm(a.dot(b)).real
    return ((x.mean(axis=0) - y.mean(axis=0)) ** 2).sum() + np.trace(a + b - 2 * root)


def frechet_in_torch(x, y):
    """Unusual: float64 tensors, and roots of the complex eigenvalues of the product."""
    x, y = torch.from_numpy(x), torch.from_numpy(y)
    a, b = torch.cov(x.T), torch.cov(y.T)
    roots = torch.linalg.eigvals(a @ b).real.clamp(min=0).sqrt()
    return (x.mean(0) - y.mean(0)).pow(2).sum() + a.trace() + b.trace() - 2 * roots.sum()


def kid_in_loops(x, y):
    """Unusual: pair by pair, the symmetric pairs once."""

    def k(a, b):
        return (float(np.dot(a, b)) / len(a) + 1) ** 3

    def within(rows):
        pairs = [k(rows[i], rows[j]) for i in range(len(rows)) for j in range(i)]
        return sum(pairs) / len(pairs)

    return within(x) + within(y) - 2 * sum(k(a, b) for a in x for b in y) / (len(x) * len(y))


def kid_in_one_table(x, y):
    """Unusual: one table of both sets together, weighted."""
    n, m = len(x), len(y)
    both = torch.from_numpy(np.concatenate([x, y]))
    table = (1 + both @ both.T / both.shape[1]) ** 3
    weights = torch.full((n + m, n + m), -1.0 / (n * m), dtype=torch.float64)
    weights[:n, :n], weights[n:, n:] = 1 / (n * (n - 1)), 1 / (m * (m - 1))
    return (table * weights.fill_diagonal_(0)).sum().item()


@pytest.mark.parametrize("seed", SEEDS[:4])
@pytest.mark.parametrize(
    "assignment, unusual",
    [(FRECHET, frechet_by_scipy), (FRECHET, frechet_in_torch), (KID, kid_in_loops), (KID, kid_in_one_table)],
)
def test_unusual_solutions_pass(assignment, unusual, seed):
    assert told(assignment, unusual, seed) == set()


def means_apart(x, y, axis=0):
    return ((x.mean(axis) - y.mean(axis)) ** 2).sum()


def entrywise(x, y):
    a, b = np.cov(x, rowvar=False), np.cov(y, rowvar=False)
    with np.errstate(invalid="ignore"):
        return means_apart(x, y) + np.trace(a + b - 2 * np.sqrt(a @ b))


def two_lost(x, y):
    a, b = np.cov(x, rowvar=False), np.cov(y, rowvar=False)
    return means_apart(x, y) + np.trace(a) + np.trace(b) - np.trace(scipy.linalg.sqrtm(a @ b).real)


def variances_only(x, y):
    return means_apart(x, y) + ((x.std(0, ddof=1) - y.std(0, ddof=1)) ** 2).sum()


def diagonal_covariances(x, y):
    a, b = np.diag(x.var(0, ddof=1)), np.diag(y.var(0, ddof=1))
    return means_apart(x, y) + np.trace(a + b - 2 * scipy.linalg.sqrtm(a @ b))


def covariance_of_images(x, y):
    a, b = np.cov(x), np.cov(y)
    return means_apart(x, y) + np.trace(a + b - 2 * scipy.linalg.sqrtm(a @ b).real)


def all_axes_swapped(x, y):
    a, b = np.cov(x), np.cov(y)
    roots = np.sqrt(np.abs(np.linalg.eigvals(a @ b)))
    return means_apart(x, y, axis=1) + np.trace(a) + np.trace(b) - 2 * roots.sum()


def diagonal_kept(x, y):
    def k(a, b):
        return ((a @ b.T) / a.shape[1] + 1) ** 3

    return k(x, x).mean() + k(y, y).mean() - 2 * k(x, y).mean()


def diagonal_zeroed(x, y):
    def k(a, b):
        return ((a @ b.T) / a.shape[1] + 1) ** 3

    within = [(k(a, a) * (1 - np.eye(len(a)))).mean() for a in (x, y)]
    return sum(within) - 2 * k(x, y).mean()


@pytest.mark.parametrize("seed", (0, 5, 91))
@pytest.mark.parametrize(
    "assignment, mistaken, beginning",
    [
        (FRECHET, entrywise, "The root is taken entry by entry"),
        (FRECHET, two_lost, "The last trace is counted once"),
        (FRECHET, variances_only, "Only the variances enter"),
        (FRECHET, diagonal_covariances, "Only the variances enter"),
        (FRECHET, covariance_of_images, "The axes are swapped"),
        (FRECHET, all_axes_swapped, "The axes are swapped"),
        (KID, diagonal_kept, "Each point is compared with itself"),
        (KID, diagonal_zeroed, "The diagonals are left out of the sums"),
    ],
)
def test_a_mistake_gets_its_sentence(assignment, mistaken, beginning, seed):
    (sentence,) = [s for s in ASSIGNMENT.mistakes if s.startswith(beginning)]
    assert told(assignment, mistaken, seed) == {sentence}


def means_alone(x, y):
    return means_apart(x, y)


def over_n(x, y):
    a, b = np.cov(x, rowvar=False, ddof=0), np.cov(y, rowvar=False, ddof=0)
    return means_apart(x, y) + np.trace(a + b) - 2 * np.sqrt(np.linalg.eigvals(a @ b).real.clip(0)).sum()


def linear_kernel(x, y):
    xx, yy = x @ x.T / x.shape[1] + 1, y @ y.T / x.shape[1] + 1
    within = [(k.sum() - np.trace(k)) / len(k) / (len(k) - 1) for k in (xx, yy)]
    return sum(within) - 2 * (x @ y.T / x.shape[1] + 1).mean()


@pytest.mark.parametrize(
    "assignment, other, part",
    [
        (FRECHET, means_alone, "three distances in one dimension"),
        (FRECHET, over_n, "Covariances are over N - 1"),
        (FRECHET, lambda x, y: np.nan, "The answer is nan"),
        (FRECHET, lambda x, y: frechet_by_scipy(x, y) + 0j, "is complex"),
        (KID, linear_kernel, "pair by pair"),
        (KID, lambda x, y: x @ y.T, "One number"),
    ],
)
def test_another_fault_is_not_taken_for_a_typical_mistake(assignment, other, part):
    sentences = told(assignment, other)
    assert any(part in sentence for sentence in sentences)
    assert not sentences & set(ASSIGNMENT.mistakes)
