"""A5, after notebook 05: spectral_normalise(weight, u, steps) -> (the weight divided, the new u).

weight: (out, in) or (out, in, k, k), float32, read as a matrix (out, the rest); u: (out,), of length 1, the estimate
of its first left singular vector so far; steps: 1 or more of power iteration, each v from u and then u from v.
The weight is divided by sigma = u . (W v), and its gradient takes u and v for constants (Miyato et al. 2018).
"""

from collections.abc import Iterator

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import normalize

from pyramid.course.engine import Assignment, Function, Trace, Wrong, same

ENOUGH = 20  # steps after which an iteration has arrived, where the second singular value is half the first


def drawn(rng: np.random.Generator, *shape: int, second: float = 0.5, largest: float = 1.0) -> Tensor:
    """A weight with the largest singular value `largest` and none of the others above `second` times that."""
    rows, columns = shape[0], int(np.prod(shape[1:]))
    rank = min(rows, columns)
    left, right = (np.linalg.qr(rng.normal(size=(side, rank)))[0] for side in (rows, columns))
    values = np.append(1.0, rng.uniform(0.6 * second, second, rank - 1))
    return torch.tensor(largest * (left * values) @ right.T, dtype=torch.float32).reshape(shape)


def direction(rng: np.random.Generator, size: int) -> Tensor:
    """A random vector of length 1."""
    return normalize(torch.tensor(rng.normal(size=size), dtype=torch.float32), dim=0)


def answer(function: Function, weight: Tensor, u: Tensor, steps: int) -> tuple[Tensor, Tensor]:
    """What a function returns, if it has the form that was asked for."""
    returned = function(weight, u.clone(), steps)
    if not (isinstance(returned, tuple | list) and len(returned) == 2):
        raise Wrong("Two things are to be returned: the divided weight and the new u.")
    divided, new = returned
    if divided.shape != weight.shape:
        raise Wrong(f"The divided weight is to keep its shape {tuple(weight.shape)}; it has {tuple(divided.shape)}.")
    if new.shape != u.shape:
        raise Wrong(f"The new u is to have the shape {tuple(u.shape)} of the old; it has {tuple(new.shape)}.")
    if not all(torch.isfinite(torch.as_tensor(x)).all() for x in (divided, new)):
        raise Wrong("The answer holds inf or nan; when is u normalised?")
    return divided, new


def largest_is_one(function: Function, rng: np.random.Generator) -> None:
    small, large, channels = (int(n) for n in rng.integers((3, 9, 3), (6, 14, 6)))
    for shape in ((large, small), (small, large), (large, channels, 3, 3)):
        weight = drawn(rng, *shape, largest=rng.uniform(2, 5))
        divided, _ = answer(function, weight, direction(rng, shape[0]), ENOUGH)
        first = torch.linalg.svdvals(weight.flatten(1))[0]
        if not same(divided, weight / first, 1e-3):
            value = torch.linalg.svdvals(divided.detach().flatten(1))[0]
            raise Wrong(
                f"A weight {shape} comes back with the largest singular value {value:.3f} after {ENOUGH} steps, and "
                "should be itself, divided so that the value is 1. A kernel counts as the matrix (out, all the rest)."
            )


def scale_does_not_matter(function: Function, rng: np.random.Generator) -> None:
    weight, u = drawn(rng, 7, 4, 3, 3, largest=rng.uniform(0.5, 2)), direction(rng, 7)
    for steps in (1, 3):
        one, three = (answer(function, w, u, steps)[0] for w in (weight, 3 * weight))
        if not same(three, one, 1e-3):
            ratio = float(three.detach().norm() / one.detach().norm())
            raise Wrong(
                f"Three times the weight gives an answer {ratio:.3g} times as large; it should be the same one. "
                "What is divided by has to grow with the weight, and no faster."
            )


def a_step_at_a_time(function: Function, rng: np.random.Generator) -> None:
    weight, u = drawn(rng, 9, 6, second=0.8, largest=rng.uniform(2, 5)), direction(rng, 9)
    at_once = answer(function, weight, u, 3)[0]
    for step in range(3 * ENOUGH):
        divided, u = answer(function, weight, u, 1)
        if step == 2 and not same(divided, at_once, 1e-3):
            raise Wrong("Three calls of one step, each given the u of the one before, should be one call of three.")
        if abs(float(u.detach().norm()) - 1) > 1e-3:
            raise Wrong(f"The new u should have length 1; its length is {float(u.detach().norm()):.3f}.")
    if not same(divided, weight / torch.linalg.svdvals(weight)[0], 1e-3):
        raise Wrong(f"{3 * ENOUGH} calls of one step, u carried on, should have found the largest singular value.")


def constant_vectors(function: Function, rng: np.random.Generator) -> None:
    values = drawn(rng, 6, 8, second=0.9, largest=rng.uniform(0.5, 2))
    u, towards = direction(rng, 6), leaning(rng, values)
    gradient = gradient_at(function, values, u, 1, towards)  # far from having arrived
    matrix, left = values.double().numpy(), u.double().numpy()
    right = matrix.T @ left / np.linalg.norm(matrix.T @ left)
    left = matrix @ right / np.linalg.norm(matrix @ right)
    sigma = left @ matrix @ right
    if same(gradient, towards / sigma - (towards * matrix).sum() / sigma**2 * np.outer(left, right), 1e-3):
        return
    if same(gradient, towards / sigma, 1e-3):
        raise Wrong("Sigma counts as a constant in the gradient: it has to move with the weight, and only u and v not.")
    raise Wrong("The gradient at the weight is not that of W / (u . W v) with u and v held constant.")


def leaning(rng: np.random.Generator, weight: Tensor) -> np.ndarray:
    """A random direction not square to a weight: along one that is, sigma does not matter."""
    return weight.numpy() + 0.1 * rng.normal(size=weight.shape)


def gradient_at(function: Function, values: Tensor, u: Tensor, steps: int, towards: np.ndarray) -> np.ndarray:
    """Gradient at a weight of the divided weight's product with `towards`."""
    weight = values.clone().requires_grad_()
    divided = answer(function, weight, u, steps)[0]
    if not divided.requires_grad:
        raise Wrong("No gradient reaches the weight: the division itself must not be cut off.")
    (divided * torch.tensor(towards, dtype=torch.float32)).sum().backward()
    return weight.grad.numpy()


def trace(function: Function, rng: np.random.Generator) -> Trace:
    """Outcomes of experiments that each show one of the mistakes, up to the first that is not the right one."""
    return [np.array(list(outcomes(function, rng)), dtype=np.float64)]


def outcomes(function: Function, rng: np.random.Generator) -> Iterator[float]:
    """How a larger weight comes out; whether columns may change places; the largest value; u's part; the gradient."""
    shape = (8, 8, 3, 3)
    weight, u = drawn(rng, *shape), direction(rng, 8)

    def divided(rows: Tensor, u: Tensor = u, steps: int = ENOUGH) -> Tensor:
        return answer(function, rows.reshape(shape), u, steps)[0].detach().flatten(1)

    rows = weight.flatten(1)
    usual = divided(rows)
    growth = float(divided(1.5 * rows).norm() / usual.norm())
    yield growth < 0.9
    yield growth > 1.1
    if abs(growth - 1) > 0.1:
        return
    orders = [rng.permutation(rows.shape[1]) for _ in range(3)]
    kept = all(same(divided(rows[:, order]), usual[:, order]) for order in orders)
    yield kept
    if not kept:
        return
    largest = float(torch.linalg.svdvals(usual)[0])
    yield largest
    if abs(largest - 1) > 1e-3:
        return
    used = same(divided(rows, torch.linalg.svd(rows)[0][:, 0], 1), usual)  # from where it should arrive
    yield used
    if used:
        weight = drawn(rng, *shape, second=0.9)
        yield from gradient_at(function, weight, u, 1, leaning(rng, weight)).ravel()


def _iterated(matrix: Tensor, u: Tensor, steps: int) -> tuple[Tensor, Tensor]:
    for _ in range(steps):
        v = normalize(matrix.T @ u, dim=0)
        u = normalize(matrix @ v, dim=0)
    return u, v


def _divided(weight: Tensor, u: Tensor, steps: int) -> tuple[Tensor, Tensor]:
    matrix = weight.flatten(1)
    u, v = _iterated(matrix.detach(), u, steps)
    return weight / (u @ matrix @ v), u


def _frobenius(weight: Tensor, u: Tensor, steps: int) -> tuple[Tensor, Tensor]:
    return weight / weight.norm(), u


def _never_normalised(weight: Tensor, u: Tensor, steps: int) -> tuple[Tensor, Tensor]:
    matrix = weight.flatten(1)
    for _ in range(steps):
        v = matrix.detach().T @ u
        u = matrix.detach() @ v
    return weight / (u @ matrix @ v), u


def _reshaped_the_wrong_way(weight: Tensor, u: Tensor, steps: int) -> tuple[Tensor, Tensor]:
    matrix = weight.reshape(-1, len(weight)).T
    u, v = _iterated(matrix.detach(), u, steps)
    return weight / (u @ matrix @ v), u


def _drawn_anew(weight: Tensor, u: Tensor, steps: int) -> tuple[Tensor, Tensor]:
    return _divided(weight, direction(np.random.default_rng(0), len(u)), steps)


def _gradient_through(weight: Tensor, u: Tensor, steps: int) -> tuple[Tensor, Tensor]:
    matrix = weight.flatten(1)
    u, v = _iterated(matrix, u, steps)
    return weight / (u @ matrix @ v), u


ASSIGNMENT = Assignment(
    name="a5_spectral_norm",
    questions={
        "The largest singular value becomes 1": largest_is_one,
        "Three times the weight gives the same": scale_does_not_matter,
        "A step at a time arrives as well": a_step_at_a_time,
        "The gradient takes u and v for constants": constant_vectors,
    },
    mistakes={
        "That is the Frobenius norm, the root of the sum of all squared entries: it is never smaller than the largest "
        "singular value, so the weight comes out too small. Which stretch does one single direction suffer most?": (
            _frobenius
        ),
        "A larger weight comes back smaller: the vectors grow with every product. Power iteration is after a "
        "direction alone; what has to happen to a vector after each product, that only its direction is left?": (
            _never_normalised
        ),
        "The kernel is reshaped the wrong way: a row of the matrix must hold all the numbers that make one output "
        "channel. Which axis of the weight has to stay as it is?": _reshaped_the_wrong_way,
        "The u that is passed in is not used, so every call begins anew and a single step never arrives. What is u "
        "returned for?": _drawn_anew,
        "The gradient runs back through the iteration. u and v only say in which direction to measure: which part "
        "of the computation needs no gradient, and which does?": _gradient_through,
    },
    trace=trace,
)
