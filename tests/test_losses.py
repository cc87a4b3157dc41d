import numpy as np
import pytest
import torch
from scipy import ndimage

from pyramid import losses
from pyramid.levels import LEVELS


def test_adversarial_losses_by_hand():
    real, fake = torch.tensor([2.0, 0.5]), torch.tensor([-2.0, 0.0])
    assert losses.hinge(real, fake).item() == pytest.approx(0.25 + 0.5)  # (0 + .5) / 2 + (0 + 1) / 2
    assert losses.hinge_generator(fake).item() == pytest.approx(1.0)
    assert losses.least_squares(real, fake).item() == pytest.approx(0.5 * ((1 + 0.25) / 2 + (4 + 0) / 2))
    assert losses.least_squares_generator(fake).item() == pytest.approx(0.5 * (9 + 1) / 2)


def test_r1_of_a_linear_score_is_the_squared_norm_of_its_weights():
    weights = torch.randn(3, 4, 4, generator=torch.Generator().manual_seed(0))
    images = torch.randn(5, 3, 4, 4, requires_grad=True)
    scores = (images * weights).sum((1, 2, 3))
    assert losses.r1(scores, images).item() == pytest.approx(weights.square().sum().item(), rel=1e-5)


def pyramid_of(value: float, batch: int = 2):
    sides = {"conv1": 16, "conv2": 8, "conv3": 4, "conv4": 2, "conv5": 1}
    features = {name: torch.full((batch, 3, side, side), value) for name, side in sides.items()}
    return features | {"fc7": torch.full((batch, 7), value), "fc8": torch.full((batch, 3), value)}


def masks_of(amount: float, batch: int = 2):
    return {name: torch.full((batch, 1, *f.shape[2:]), amount) for name, f in pyramid_of(0, batch).items()}


@pytest.mark.parametrize("name", LEVELS)
def test_no_level_wins_by_its_size(name):
    """A difference of 1 everywhere at one open level costs its weight, however many entries it has."""
    weights = tuple(float(i + 1) for i in range(7))
    masks = masks_of(0.0)
    masks[name] = torch.ones_like(masks[name])
    loss = losses.reconstruction(pyramid_of(1.0), pyramid_of(0.0), masks, weights)
    assert loss.item() == pytest.approx(weights[LEVELS.index(name)])


def test_reconstruction_ignores_closed_entries_and_scales_samples():
    reference, generated = pyramid_of(0.0), pyramid_of(0.0)
    generated["conv1"][:, :, :, 8:] = 5.0  # wrong on the right half only
    masks = masks_of(0.0)
    masks["conv1"][:, :, :, :8] = 1.0
    weights = (1.0,) * 7
    assert losses.reconstruction(generated, reference, masks, weights).item() == 0
    masks["conv1"][:, :, :, 8:] = 1.0
    full = losses.reconstruction(generated, reference, masks, weights)
    assert full.item() == pytest.approx(2.5)
    halved = losses.reconstruction(generated, reference, masks, weights, torch.tensor([0.5, 1.0]))
    assert halved.item() == pytest.approx(2.5 * 0.75)


def test_max_pool_forgives_a_shift_but_not_across_fc_units():
    weights = (1.0,) * 7
    reference, generated = pyramid_of(0.0), pyramid_of(0.0)
    reference["conv1"][:, :, 0, 0], generated["conv1"][:, :, 1, 1] = 1.0, 1.0  # one cell of the same 2x2
    masks = masks_of(1.0)
    assert losses.reconstruction(generated, reference, masks, weights).item() == 0
    reference["fc7"][:, 0], generated["fc7"][:, 1] = 1.0, 1.0
    assert losses.reconstruction(generated, reference, masks, weights).item() == pytest.approx(2 / 7)


def test_diversity_is_bounded_and_pulls_hardest_at_collapse():
    g = torch.Generator().manual_seed(0)
    z1, z2 = torch.randn(2, 4, 8, generator=g)
    base, direction = torch.randn(2, 4, 3, 32, 32, generator=g)

    def slope(size):
        step = torch.tensor(size, requires_grad=True)
        losses.diversity(base, base + step * direction, z1, z2).sum().backward()
        return abs(step.grad.item())

    assert losses.diversity(base, base, z1, z2).tolist() == [1.0] * 4
    assert slope(1e-3) > slope(0.5) > slope(5.0)
    assert slope(1e-3) > 0.1


def test_a_change_of_tint_or_contrast_is_no_diversity():
    g = torch.Generator().manual_seed(0)
    z1, z2 = torch.randn(2, 2, 8, generator=g)
    images = torch.randn(2, 3, 32, 32, generator=g)
    tinted = 0.7 * images + torch.tensor([0.5, -0.2, 0.1]).view(1, 3, 1, 1)
    moved = images.roll(9, 3)
    assert losses.diversity(images, tinted, z1, z2).min() > 0.95
    assert losses.diversity(images, moved, z1, z2).max() < 0.5


def test_fixed_pattern_is_the_share_of_fine_detail_in_common():
    """Of images s p + noise (energies 1) it is s^2 / (1 + s^2); half of that where half of the pairs count."""
    g = torch.Generator().manual_seed(0)
    noise = torch.randn(2, 120, 3, 32, 32, generator=g)
    pattern = torch.randn(3, 32, 32, generator=g)
    every, half = torch.ones(60, dtype=torch.bool), torch.arange(60) < 30
    for s in (0.0, 0.4, 1.0):
        images = noise + s * pattern
        assert losses.fixed_pattern(*images, every).item() == pytest.approx(s**2 / (1 + s**2), abs=0.02), s
        assert losses.fixed_pattern(*images, half).item() == pytest.approx(s**2 / (1 + s**2) / 2, abs=0.02), s
    assert losses.fixed_pattern(*noise, every & False) == 0


def test_fixed_pattern_pulls_the_images_of_a_pair_apart():
    """Its gradient at one image lies along the other's detail: a step against it lowers what they share."""
    g = torch.Generator().manual_seed(1)
    images = torch.randn(2, 2, 3, 16, 16, generator=g).requires_grad_()
    alike = torch.ones(1, dtype=torch.bool)
    (gradient,) = torch.autograd.grad(losses.fixed_pattern(*images, alike), images)
    moved = (images - 0.1 * gradient / gradient.norm() * images.norm()).detach()
    assert losses.fixed_pattern(*moved, alike) < losses.fixed_pattern(*images, alike) - 0.01


def test_retrieval_by_hand():
    reference, gallery = torch.tensor([[3.0, 0.0]]), torch.tensor([[0.0, 2.0], [5.0, 0.0]])
    # cosines: own 1; gallery 0 and 1; so the loss is ln(e¹ + e⁰ + e¹) - 1 at temperature 1
    loss = losses.retrieval(torch.tensor([[1.0, 0.0]]), reference, gallery, temperature=1.0)
    assert loss.item() == pytest.approx(torch.tensor([1.0, 0.0, 1.0]).logsumexp(0).item() - 1)
    far = losses.retrieval(torch.tensor([[0.0, 1.0]]), reference, gallery, temperature=1.0)
    assert far.item() == pytest.approx(torch.tensor([0.0, 1.0, 0.0]).logsumexp(0).item())


def test_edges_are_scipys_sobel_strengths_at_a_quarter_of_the_size():
    images = torch.rand(2, 3, 32, 32, generator=torch.Generator().manual_seed(0)) * 2 - 1
    got = losses.edges(images).numpy()
    for image, row in zip(images.numpy(), got, strict=True):
        luminance = 0.299 * image[0] + 0.587 * image[1] + 0.114 * image[2]
        small = luminance.reshape(8, 4, 8, 4).mean((1, 3))
        slopes = [ndimage.sobel(small, axis, mode="nearest") for axis in (0, 1)]
        strength = np.sqrt(slopes[0] ** 2 + slopes[1] ** 2 + 1e-4).ravel()
        expected = strength - strength.mean()
        np.testing.assert_allclose(row, expected / np.linalg.norm(expected), atol=1e-4)


def test_other_layout_forgives_light_and_colour_but_no_move():
    image = torch.rand(1, 3, 32, 32, generator=torch.Generator().manual_seed(1)) * 2 - 1
    assert losses.other_layout(image, image).item() == pytest.approx(0, abs=1e-5)
    assert losses.other_layout(0.5 - 0.3 * image, image).item() < 0.05  # darker where it was brighter
    assert losses.other_layout(image.roll((8, 12), (2, 3)), image).item() > 0.5
