"""Inversion by optimisation: the priors by hand, and that it finds what it looks for."""

import pytest
import torch

from pyramid.errors import InputError
from pyramid.measure import inversion


def test_priors_by_hand():
    images = torch.full((1, 3, 4, 4), 0.5)
    assert inversion.alpha_norm(images).item() == pytest.approx(0.5**6)
    assert inversion.total_variation(images).item() == 0
    step = torch.zeros(1, 3, 3, 3)
    step[..., 1:] = 1.0  # one vertical edge: 1 at one of the two columns of differences
    assert inversion.total_variation(step).item() == pytest.approx(0.5 / (2 / 6.5) ** 2)


def test_inversion_matches_the_features_it_was_given(tiny_model):
    photos = torch.rand(2, 3, 32, 32, generator=torch.Generator().manual_seed(0)) * 2 - 1
    target = tiny_model.features(photos)["conv2"]
    start = inversion.invert(tiny_model.classifier, target, "conv2", steps=0)
    end = inversion.invert(tiny_model.classifier, target, "conv2", steps=120)

    def error(images):
        return (tiny_model.features(images)["conv2"] - target).square().sum() / target.square().sum()

    assert error(end) < 0.3 * error(start)
    assert end.shape == photos.shape and end.abs().max() <= 1


def test_every_image_is_a_problem_of_its_own(tiny_model):
    photos = torch.rand(2, 3, 32, 32, generator=torch.Generator().manual_seed(0)) * 2 - 1
    target = tiny_model.features(photos)["conv3"]
    both = inversion.invert(tiny_model.classifier, target, "conv3", steps=8)
    first = inversion.invert(tiny_model.classifier, target[:1], "conv3", steps=8)
    torch.testing.assert_close(both[:1], first, rtol=1e-3, atol=1e-3)


def test_seed_decides_and_the_callers_randomness_is_left_alone(tiny_model):
    target = tiny_model.features(torch.zeros(1, 3, 32, 32))["conv4"]
    before = torch.get_rng_state()
    first, again, other = (
        inversion.invert(tiny_model.classifier, target, "conv4", seed, steps=3) for seed in (1, 1, 2)
    )
    assert torch.equal(first, again) and not torch.equal(first, other)
    assert torch.equal(before, torch.get_rng_state())


def test_the_search_may_start_from_a_photograph_and_leaves_it_alone(tiny_model):
    start = torch.rand(2, 3, 32, 32, generator=torch.Generator().manual_seed(0)) * 2 - 1
    kept, target = start.clone(), tiny_model.features(start.flip(3))["fc8"]
    assert torch.equal(inversion.invert(tiny_model.classifier, target, "fc8", steps=0, start=start), start)
    once = inversion.invert(tiny_model.classifier, target, "fc8", steps=1, start=start)
    assert (once - start).abs().max().item() == pytest.approx(inversion.LAST_RATE, rel=1e-3)  # Adam's first step
    assert torch.equal(start, kept)


def test_an_unknown_level_is_refused(tiny_model):
    with pytest.raises(InputError, match="conv9"):
        inversion.invert(tiny_model.classifier, torch.zeros(1, 4), "conv9")
