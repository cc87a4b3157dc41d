import pytest
import torch

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
    """A difference of 1 everywhere at one open level is 1 there and 0 elsewhere, however many entries it has."""
    masks = masks_of(0.0)
    masks[name] = torch.ones_like(masks[name])
    values = losses.reconstruction(pyramid_of(1.0), pyramid_of(0.0), masks)
    assert values.tolist() == [pytest.approx(float(level == name)) for level in LEVELS]


def test_reconstruction_ignores_closed_entries_and_scales_samples():
    reference, generated = pyramid_of(0.0), pyramid_of(0.0)
    generated["conv1"][:, :, :, 8:] = 5.0  # wrong on the right half only
    masks = masks_of(0.0)
    masks["conv1"][:, :, :, :8] = 1.0
    assert losses.reconstruction(generated, reference, masks).sum() == 0
    masks["conv1"][:, :, :, 8:] = 1.0
    full = losses.reconstruction(generated, reference, masks)
    assert full.sum().item() == pytest.approx(2.5)
    halved = losses.reconstruction(generated, reference, masks, torch.tensor([0.5, 1.0]))
    assert halved.sum().item() == pytest.approx(2.5 * 0.75)


def test_max_pool_forgives_a_shift_but_not_across_fc_units():
    reference, generated = pyramid_of(0.0), pyramid_of(0.0)
    reference["conv1"][:, :, 0, 0], generated["conv1"][:, :, 1, 1] = 1.0, 1.0  # one cell of the same 2x2
    masks = masks_of(1.0)
    assert losses.reconstruction(generated, reference, masks).sum() == 0
    reference["fc7"][:, 0], generated["fc7"][:, 1] = 1.0, 1.0
    assert losses.reconstruction(generated, reference, masks).sum().item() == pytest.approx(2 / 7)


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


def test_a_level_open_by_a_tenth_is_asked_a_tenth_of_the_difference():
    values = losses.reconstruction(pyramid_of(1.0), pyramid_of(0.0), masks_of(0.1))
    assert values.tolist() == pytest.approx([0.1] * len(LEVELS))


def test_a_window_that_the_masks_edge_cuts_is_closed():
    """Columns 0 to 6 of conv1 are open: the pooled ones 0, 1 and 2; column 3 sees the closed column 7."""
    reference, generated, masks = pyramid_of(0.0), pyramid_of(0.0), masks_of(0.0)
    masks["conv1"][:, :, :, :7] = 1.0
    generated["conv1"][:, :, :, 6] = 5.0
    assert losses.reconstruction(generated, reference, masks).sum() == 0
    generated["conv1"][:, :, :, 5] = 6.0
    assert losses.reconstruction(generated, reference, masks).tolist() == pytest.approx([6 / 3] + [0] * 6)
