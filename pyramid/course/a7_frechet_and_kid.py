"""A7, after notebook 08: frechet(x, y) and kid(x, y), each of which is tried by its own questions.

x: (N, D), y: (M, D), NumPy arrays of float64, one row an image's features; both return a number. frechet: the
Fréchet distance of the two fitted Gaussians, with covariances over N - 1 (Heusel et al. 2017); kid: the unbiased
squared MMD under the kernel (a . b / D + 1)^3 (Binkowski et al. 2018).
"""

from itertools import permutations, product

import numpy as np
from numpy import ndarray

from pyramid.course.engine import Assignment, Function, Trace, Wrong, same

DRAWS, STANDARD_ERRORS = 200, 3


def world(rng: np.random.Generator, count: int, mixing: ndarray) -> ndarray:
    """Features (count, D) of one world, correlated by a mixing matrix (D, D)."""
    return rng.normal(size=(count, len(mixing))) @ mixing


def number(function: Function, x: ndarray, y: ndarray) -> float:
    """What a function answers, if it is one real number."""
    value = np.asarray(function(x.copy(), y.copy()))
    if value.size != 1:
        raise Wrong(f"One number is to be returned, not an array of the shape {value.shape}.")
    if np.iscomplexobj(value):
        raise Wrong(f"The answer {value.item():.3g} is complex; rounding has made an eigenvalue negative that is 0.")
    if not np.isfinite(value):
        raise Wrong(f"The answer is {float(value.item())}; look at what a square root is taken of.")
    return float(value.item())


def spread(x: ndarray) -> float:
    """The trace of the covariance."""
    return float(x.var(0, ddof=1).sum())


def by_nuclear_norm(x: ndarray, y: ndarray) -> float:
    """The Fréchet distance without a root: S = A A^T, and Tr((S1 S2)^(1/2)) sums the singular values of A1^T A2."""
    first, second = ((a - a.mean(0)) / np.sqrt(len(a) - 1) for a in (x, y))
    common = np.linalg.svd(first @ second.T, compute_uv=False).sum()
    return float(np.square(x.mean(0) - y.mean(0)).sum() + spread(x) + spread(y) - 2 * common)


def equal_sets(function: Function, rng: np.random.Generator) -> None:
    x = world(rng, 60, rng.normal(size=(5, 5)))
    if abs(value := number(function, x, x)) > 1e-4 * spread(x):
        raise Wrong(f"A set is {value:.3f} away from itself, and should be 0.")


def shifted(function: Function, rng: np.random.Generator) -> None:
    x, y, t = (world(rng, count, rng.normal(size=(4, 4))) for count in (50, 70, 1))
    y = y - y.mean(0) + x.mean(0)
    before, after, by_hand = number(function, x, y), number(function, x, y + t), float(np.square(t).sum())
    if not same(after - before, by_hand, 1e-3):
        raise Wrong(
            f"Two sets of one mean, then one of them shifted by t with |t|^2 = {by_hand:.3f}: the distance rises by "
            f"{after - before:.3f} and should rise by |t|^2."
        )


def turned(function: Function, rng: np.random.Generator) -> None:
    x, y = (world(rng, count, rng.normal(size=(4, 4))) for count in (50, 70))
    rotation = np.linalg.qr(rng.normal(size=(4, 4)))[0]
    before, after = number(function, x, y), number(function, x @ rotation, y @ rotation)
    if not same(after, before, 1e-3):
        raise Wrong(f"Both sets were turned by one rotation, and the distance went from {before:.3f} to {after:.3f}.")


def closed_form(function: Function, rng: np.random.Generator) -> None:
    x, y = (np.linalg.qr(centred(rng.normal(size=(count, 3))))[0] * np.sqrt(count - 1) for count in (10, 20))
    (m1, m2), (s1, s2) = rng.normal(size=(2, 3)), rng.uniform(0.5, 3, (2, 3))
    value, by_hand = number(function, m1 + s1 * x, m2 + s2 * y), float(np.square([m1 - m2, s1 - s2]).sum())
    if not same(value, by_hand):
        raise Wrong(
            "Three features without any correlation are three distances in one dimension, each (m1 - m2)^2 + "
            f"(s1 - s2)^2: together {by_hand:.4f}, not {value:.4f}. (Covariances are over N - 1.)"
        )


def flat(function: Function, rng: np.random.Generator) -> None:
    along = rng.normal(size=(1, 6))
    line = rng.normal(size=(30, 1)) @ along, rng.normal(size=(40, 1)) @ along * rng.uniform(2, 3)
    few = rng.normal(size=(5, 12)), rng.normal(size=(7, 12))
    for (x, y), what in ((line, "on one line of six dimensions"), (few, "five and seven of them in twelve dimensions")):
        value, right = number(function, x, y), by_nuclear_norm(x, y)
        if abs(value - right) > 0.01 * (spread(x) + spread(y)):
            raise Wrong(f"Points {what} have covariances without an inverse: {right:.3f} is right, not {value:.3f}.")


def one_world(function: Function, rng: np.random.Generator) -> None:
    mixing = np.linalg.qr(rng.normal(size=(4, 4)))[0]
    for _ in range(2):  # of a right function, one in 370 is farther away by chance
        values = [number(function, world(rng, 15, mixing), world(rng, 20, mixing)) for _ in range(DRAWS)]
        mean, error = np.mean(values), np.std(values, ddof=1) / np.sqrt(DRAWS)
        if abs(mean) <= STANDARD_ERRORS * error:
            return
    raise Wrong(
        f"{DRAWS} times two sets of one world: the mean is {mean:.3f}, its standard error {error:.3f}, and no more "
        f"than {STANDARD_ERRORS} of those should lie between it and 0."
    )


def pair_by_pair(function: Function, rng: np.random.Generator) -> None:
    x, y = world(rng, 5, np.eye(3)), world(rng, 7, np.eye(3)) + rng.normal(size=3)

    def kernel(a: ndarray, b: ndarray) -> float:
        return (sum(a * b) / len(a) + 1) ** 3

    within = [np.mean([kernel(a, b) for a, b in permutations(rows, 2)]) for rows in (x, y)]
    between = np.mean([kernel(a, b) for a, b in product(x, y)])
    value, by_hand = number(function, x, y), float(sum(within) - 2 * between)
    if not same(value, by_hand, 1e-3):
        raise Wrong(f"Five points and seven in three dimensions, pair by pair: {by_hand:.4f}, not {value:.4f}.")


def centred(x: ndarray) -> ndarray:
    """Less the mean of each column."""
    return x - x.mean(0)


def trace(function: Function, rng: np.random.Generator) -> Trace:
    """The answer for two sets that are as large and agree in the means of all rows and of all columns.

    So it does not show along which axis a mean was taken. The sets are near each other, so that the product of their
    covariances has a positive diagonal, of which an entrywise root is a number.
    """
    x = world(rng, 12, 2 * np.eye(4) + 0.5 * rng.normal(size=(4, 4)))
    y = x + 0.4 * centred(centred(rng.normal(size=x.shape)).T).T
    return [np.atleast_1d(np.real(function(x.copy(), y.copy())))]


def _distance(x: ndarray, y: ndarray, common: float) -> float:
    return float(np.square(x.mean(0) - y.mean(0)).sum() + spread(x) + spread(y) - common)


def _covariances(x: ndarray, y: ndarray) -> tuple[ndarray, ndarray]:
    return np.cov(x, rowvar=False), np.cov(y, rowvar=False)


def _roots(matrix: ndarray) -> float:
    return float(np.sqrt(np.linalg.eigvals(matrix).real.clip(min=0)).sum())


def _entrywise_root(x: ndarray, y: ndarray) -> float:
    first, second = _covariances(x, y)
    return _distance(x, y, 2 * np.sqrt(np.diag(first @ second)).sum())


def _factor_lost(x: ndarray, y: ndarray) -> float:
    first, second = _covariances(x, y)
    return _distance(x, y, _roots(first @ second))


def _correlations_ignored(x: ndarray, y: ndarray) -> float:
    return _distance(x, y, 2 * (x.std(0, ddof=1) * y.std(0, ddof=1)).sum())


def _axes_swapped(x: ndarray, y: ndarray) -> float:
    first, second = np.cov(x), np.cov(y)
    means = np.square(x.mean(0) - y.mean(0)).sum()
    return float(means + np.trace(first + second) - 2 * _roots(first @ second))


def _diagonal_kept(x: ndarray, y: ndarray) -> float:
    xx, yy, xy = (((a @ b.T) / a.shape[1] + 1) ** 3 for a, b in ((x, x), (y, y), (x, y)))
    return float(xx.mean() + yy.mean() - 2 * xy.mean())


def _diagonal_counted(x: ndarray, y: ndarray) -> float:
    """Left out of the sums, and counted in the means all the same."""
    xx, yy, xy = (((a @ b.T) / a.shape[1] + 1) ** 3 for a, b in ((x, x), (y, y), (x, y)))
    n, m = len(x), len(y)
    return float((xx.sum() - xx.trace()) / n**2 + (yy.sum() - yy.trace()) / m**2 - 2 * xy.mean())


ASSIGNMENT = Assignment(
    name="a7_frechet_and_kid",
    questions={
        "frechet: a set is 0 away from itself": equal_sets,
        "frechet: a shift by t adds |t|^2": shifted,
        "frechet: turning both sets changes nothing": turned,
        "frechet: the closed form of one dimension": closed_form,
        "frechet: flat sets give a number": flat,
        "kid: two sets of one world are 0 apart on average": one_world,
        "kid: a small example, pair by pair": pair_by_pair,
    },
    mistakes={
        "The root is taken entry by entry. The root of a matrix is another matrix R with R R = S; what does that make "
        "of its eigenvalues?": _entrywise_root,
        "The last trace is counted once. Of a set and itself Tr(S1) + Tr(S2) has to cancel; how often must the root's "
        "trace be taken away for that?": _factor_lost,
        "Only the variances enter, so two clouds that lean different ways count as alike. What do the covariances know "
        "besides their diagonals?": _correlations_ignored,
        "The axes are swapped: the covariance is that of the images, a row and column each, and should be that of the "
        "features. Which of the two does your function take for the variables?": _axes_swapped,
        "Each point is compared with itself too, which makes two sets of one world look apart. Which entries of the "
        "two square tables are to be left out, and by how many is the rest divided?": _diagonal_kept,
        "The diagonals are left out of the sums and still counted in what these are divided by, so that two sets of "
        "one world come out too near. How many pairs are there of two different points?": _diagonal_counted,
    },
    trace=trace,
)
