import numpy as np
import pytest
import torch

from pyramid.errors import InputError
from pyramid.measure import metrics


def distance(first, second):
    return metrics.frechet_distance(metrics.fit_gaussian(first), metrics.fit_gaussian(second))


def test_frechet_distance_is_the_closed_form_on_gaussians():
    """Commuting covariances: |mu1 - mu2|^2 + sum (s1 - s2)^2, from sets whose moments are exact."""
    dimensions, n = 6, 4000
    base = torch.randn(n, dimensions, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    base = base - base.mean(0)
    base = base @ torch.linalg.inv(torch.linalg.cholesky(torch.cov(base.T))).T  # covariance exactly the identity
    s1, s2 = torch.linspace(0.5, 2, dimensions).double(), torch.linspace(3, 1, dimensions).double()
    shift = torch.arange(dimensions).double() / 3
    expected = float(shift.square().sum() + (s1 - s2).square().sum())
    assert distance(base * s1, base * s2 + shift) == pytest.approx(expected, rel=1e-8)


def test_frechet_distance_with_covariances_that_do_not_commute():
    g = torch.Generator().manual_seed(1)
    a = torch.randn(300, 5, generator=g).double() @ torch.randn(5, 5, generator=g).double()
    b = torch.randn(300, 5, generator=g).double() @ torch.randn(5, 5, generator=g).double() + 1
    s1, s2 = np.cov(a.numpy().T), np.cov(b.numpy().T)
    roots = np.sqrt(np.linalg.eigvals(s1 @ s2).clip(0)).real.sum()
    expected = ((a.mean(0) - b.mean(0)) ** 2).sum().item() + np.trace(s1) + np.trace(s2) - 2 * roots
    assert distance(a, b) == pytest.approx(expected, rel=1e-8)
    assert distance(a, a) == pytest.approx(0, abs=1e-8)


def test_too_few_images_are_refused_with_the_way_out():
    with pytest.raises(InputError, match="at least 20"):
        metrics.fit_gaussian(torch.randn(10, 10))


def test_psnr_by_hand():
    first = torch.zeros(1, 3, 4, 4)
    assert metrics.psnr(first, first + 0.2).item() == pytest.approx(20.0)  # 10 log10(4 / 0.04)


def test_fixed_pattern_ratio_of_known_mixtures():
    g = torch.Generator().manual_seed(0)
    unrelated = torch.randn(400, 3, 16, 16, generator=g)
    assert metrics.fixed_pattern_ratio(unrelated) == pytest.approx(400**-0.5, rel=0.1)
    assert metrics.fixed_pattern_ratio(unrelated[:1].expand(50, -1, -1, -1)) == pytest.approx(1.0)


def test_agreement_by_hand():
    reference = torch.eye(8)
    labels = torch.tensor([0, 0, 0, 0, 1, 1, 1, 1])
    row = metrics.agreement(reference, reference, labels)
    assert all(torch.equal(row[key], torch.ones(8)) for key in ("cosine", "gain", "top5"))
    row = metrics.agreement(reference.roll(1, 0), reference, labels)  # each looks like its neighbour
    assert torch.equal(row["cosine"], torch.zeros(8))
    assert row["gain"].mean().item() == pytest.approx(-(6 / 8) / 3)  # six have it in their class, one of three others


def test_kernel_distance_is_the_double_sum():
    g = torch.Generator().manual_seed(0)
    x, y = torch.randn(7, 3, generator=g), torch.randn(5, 3, generator=g) + 0.5

    def k(a, b):
        return (sum(float(p) * float(q) for p, q in zip(a, b, strict=True)) / 3 + 1) ** 3

    within_x = sum(k(x[i], x[j]) for i in range(7) for j in range(7) if i != j) / (7 * 6)
    within_y = sum(k(y[i], y[j]) for i in range(5) for j in range(5) if i != j) / (5 * 4)
    between = sum(k(a, b) for a in x for b in y) / (7 * 5)
    assert metrics.kernel_distance(x, y) == pytest.approx(within_x + within_y - 2 * between, rel=1e-6)


def test_kernel_distance_of_one_distribution_is_near_zero():
    x = torch.randn(1200, 8, generator=torch.Generator().manual_seed(0))
    same, spread = metrics.kernel_distances(x[:600], x[600:])
    moved, _ = metrics.kernel_distances(x[:600], x[600:] + 0.5)
    assert abs(same) < 2 * spread < moved / 4


def test_wilson_interval_against_published_values():
    """Newcombe (1998), table I: 81 of 263, 15 of 148, 0 of 20, 1 of 29."""
    published = ((81, 263, 0.2553, 0.3662), (15, 148, 0.0624, 0.1605), (0, 20, 0, 0.1611), (1, 29, 0.0061, 0.1718))
    for successes, trials, low, high in published:
        share, ours_low, ours_high = metrics.share_interval(successes, trials)
        assert share == successes / trials
        assert (round(ours_low, 4), round(ours_high, 4)) == (low, high)


def test_bootstrap_interval_of_a_mean_is_that_of_the_central_limit():
    values = torch.randn(2000, generator=torch.Generator().manual_seed(0), dtype=torch.float64) * 3 + 1
    mean, low, high = metrics.bootstrap_interval(values)
    error = 1.96 * float(values.std()) / 2000**0.5
    assert mean == pytest.approx(float(values.mean()))
    assert low == pytest.approx(mean - error, abs=0.15 * error) and high == pytest.approx(
        mean + error, abs=0.15 * error
    )


def test_bootstrap_of_a_ratio_resamples_whole_images():
    """Numerator and denominator that rise together: their ratio is certain, each mean is not."""
    below = torch.rand(200, generator=torch.Generator().manual_seed(0)) + 0.1
    value, low, high = metrics.bootstrap_interval(torch.stack([2 * below, below], 1), lambda m: m[..., 0] / m[..., 1])
    assert (value, low, high) == (pytest.approx(2), pytest.approx(2), pytest.approx(2))
