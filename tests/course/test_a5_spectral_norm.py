import pytest
import torch
from students import answer, told
from torch.nn.functional import normalize

from pyramid.course.a5_spectral_norm import ASSIGNMENT
from pyramid.course.assignments import MASTERS


def test_a_stub_is_told_that_nothing_is_there():
    def stub(weight, u, steps):
        raise NotImplementedError

    assert told(ASSIGNMENT, stub) == {"There is nothing here yet; write the function and run the cell again."}


@pytest.mark.parametrize("seed", range(6))
def test_the_masters_solution_passes(seed):
    assert told(ASSIGNMENT, answer(MASTERS / "a5_spectral_norm.ipynb"), seed) == set()


def by_a_power_of_the_gram_matrix(weight, u, steps):
    """Unusual: no loop; sigma is the length of W v."""
    matrix = weight.flatten(1)
    fixed = matrix.detach().double()
    before = torch.linalg.matrix_power(fixed @ fixed.T, steps - 1) @ u.double()
    v = normalize(before @ fixed, dim=0)
    return weight / (matrix @ v.float()).norm(), normalize(fixed @ v, dim=0).float()


def on_the_kernel_as_it_is(weight, u, steps):
    """Unusual: nothing is reshaped; products are sums over the kernel's own axes, in float64."""
    axes = list(range(1, weight.dim()))
    big, left = weight.double(), u.double()
    with torch.no_grad():
        for _ in range(steps):
            right = torch.tensordot(left, big, dims=1)  # (in, k, k)
            right = right / right.square().sum().sqrt()
            left = (big * right).sum(axes)
            left = left / left.norm()
    sigma = torch.einsum("o...,o,...->", big, left, right)
    return (big / sigma).float(), left.float()


def of_the_other_sign(weight, u, steps):
    """Unusual: -u and -v, which are a singular pair as well."""
    divided, u = by_a_power_of_the_gram_matrix(weight, -u, steps)
    return divided, u


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("unusual", [by_a_power_of_the_gram_matrix, on_the_kernel_as_it_is, of_the_other_sign])
def test_unusual_solutions_pass(unusual, seed):
    assert told(ASSIGNMENT, unusual, seed) == set()


def frobenius(weight, u, steps):
    return weight / (weight**2).sum().sqrt(), u


def frobenius_and_one(weight, u, steps):
    return weight / torch.linalg.norm(weight.flatten()).item(), normalize(u, dim=0)


def vectors_grow(weight, u, steps):
    w = weight.view(weight.shape[0], -1)
    with torch.no_grad():
        for _ in range(steps):
            v = w.T @ u
            u = w @ v
    return weight / torch.dot(u, w @ v), u


def one_vector_grows(weight, u, steps):
    w = weight.view(weight.shape[0], -1)
    with torch.no_grad():
        for _ in range(steps):
            v = w.T @ u
            u = w @ v / (w @ v).norm()
    return weight / torch.dot(u, w @ v), u


def rows_torn(weight, u, steps):
    w = weight.reshape(-1, weight.shape[0])
    with torch.no_grad():
        for _ in range(steps):
            v = normalize(w @ u, dim=0)
            u = normalize(w.T @ v, dim=0)
    return weight / (v @ w @ u), u


def kernels_by_input_channel(weight, u, steps):
    w = weight.transpose(0, 1).flatten(1) if weight.dim() == 4 else weight  # stops where in is not out
    with torch.no_grad():
        for _ in range(steps):
            v = normalize(w.T @ u, dim=0)
            u = normalize(w @ v, dim=0)
    return weight / (u @ w @ v), u


def new_u_each_time(weight, u, steps):
    w = weight.flatten(1)
    u = torch.randn(w.shape[0])
    with torch.no_grad():
        for _ in range(steps):
            v = normalize(w.T @ u, dim=0)
            u = normalize(w @ v, dim=0)
    return weight / (u @ w @ v), u


def always_from_ones(weight, u, steps):
    return on_the_kernel_as_it_is(weight, torch.ones(len(weight)), steps)


def nothing_detached(weight, u, steps):
    w = weight.flatten(1)
    for _ in range(steps):
        v = w.T @ u
        v = v / v.norm()
        u = w @ v
        u = u / u.norm()
    return weight / (u @ w @ v), u


@pytest.mark.parametrize("seed", (0, 5, 91))
@pytest.mark.parametrize(
    "mistaken, beginning",
    [
        (frobenius, "That is the Frobenius norm"),
        (frobenius_and_one, "That is the Frobenius norm"),
        (vectors_grow, "A larger weight comes back smaller"),
        (one_vector_grows, "A larger weight comes back smaller"),
        (rows_torn, "The kernel is reshaped the wrong way"),
        (kernels_by_input_channel, "The kernel is reshaped the wrong way"),
        (new_u_each_time, "The u that is passed in is not used"),
        (always_from_ones, "The u that is passed in is not used"),
        (nothing_detached, "The gradient runs back through the iteration"),
    ],
)
def test_a_mistake_gets_its_sentence(mistaken, beginning, seed):
    (sentence,) = [s for s in ASSIGNMENT.mistakes if s.startswith(beginning)]
    assert told(ASSIGNMENT, mistaken, seed) == {sentence}


def normalised_once(weight, u, steps):
    """u grows until it is normalised at the end; by then it overflows where the weight is large."""
    w = weight.flatten(1)
    with torch.no_grad():
        for _ in range(steps):
            u = w @ (w.T @ u)
        u = u / u.norm()
        v = normalize(w.T @ u, dim=0)
    return weight / (u @ w @ v), u


@pytest.mark.parametrize("seed", (0, 5, 91))
@pytest.mark.parametrize(
    "overflowing",
    [
        normalised_once,
        lambda weight, u, steps: (weight / 0, u),
        lambda weight, u, steps: (weight / nothing_detached(weight, u, steps)[1].norm(), u * torch.nan),
    ],
)
def test_what_overflows_is_told_so(overflowing, seed):
    sentences = told(ASSIGNMENT, overflowing, seed)
    assert "The answer holds inf or nan; when is u normalised?" in sentences
    assert not [sentence for sentence in sentences if "stops with" in sentence]


def sigma_detached(weight, u, steps):
    divided, u = nothing_detached(weight.detach(), u, steps)
    return weight * (divided.norm() / weight.detach().norm()), u


@pytest.mark.parametrize(
    "other, part",
    [
        (lambda weight, u, steps: (weight, u), "largest singular value"),
        (lambda weight, u, steps: weight, "Two things are to be returned"),
        (lambda weight, u, steps: tuple(x.detach() for x in nothing_detached(weight, u, steps)), "No gradient reaches"),
        (
            lambda weight, u, steps: (weight / (weight / nothing_detached(weight, u, steps)[0]).mean().item(), u),
            "constant",
        ),
    ],
)
def test_another_fault_is_not_taken_for_a_typical_mistake(other, part):
    sentences = told(ASSIGNMENT, other)
    assert any(part in sentence for sentence in sentences)
    assert not sentences & set(ASSIGNMENT.mistakes)
