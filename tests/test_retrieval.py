"""Finding the reference among other photographs: which samples count, and what fc8 is compared by."""

import math

import pytest
import torch

from pyramid import retrieval
from pyramid.data import Photos
from pyramid.levels import LEVELS

WEIGHTS = (0.0, 0.0, 0.0, 0.0, 2.0, 0.0, 8.0)  # of conv5 and fc8
FC8 = torch.tensor([[10.0, 1.0], [10.0, -1.0], [1.0, 10.0], [-1.0, 10.0]])  # class means (10, 0) and (0, 10)


class Lookup:
    """Knows each photograph by its brightness; at every level its features are a row of FC8."""

    def pyramid(self, images):
        rows = ((images[:, 0, 0, 0] + 1) * 127.5).round().long()
        return dict.fromkeys(LEVELS, FC8[rows])


@pytest.fixture
def gallery():
    pixels = torch.arange(4, dtype=torch.uint8).view(4, 1, 1, 1).expand(4, 3, 32, 32)
    return retrieval.Gallery(
        Lookup(), Photos(pixels, torch.tensor([0, 0, 1, 1]), torch.zeros(4, dtype=torch.bool), ("a", "b")), WEIGHTS
    )


def batch(name, conv1=0.0):
    """One reference, photograph 0, two z, among photographs 1 and 2."""
    return {
        "level": torch.tensor([LEVELS.index(name)]),
        "masks": {"conv1": torch.full((2, 1, 4, 4), conv1)},
        "real_labels": torch.tensor([0]),
        "gallery": torch.tensor([1, 2]),
        "scale": torch.ones(2),
    }


def test_fc8_is_compared_by_what_sets_it_apart_from_its_class(gallery):
    """Less the class means: own (0, 1), others (0, -1) and (1, 0); cosines 1, -1 and 0, temperature 0.1."""
    features = dict.fromkeys(LEVELS, FC8[[0, 0]])
    expected = 8.0 * math.log(1 + math.exp(-20) + math.exp(-10))
    assert gallery.loss(features, features, batch("fc8")).item() == pytest.approx(expected, abs=1e-5)
    mistaken = dict.fromkeys(LEVELS, FC8[[1, 1]])
    expected = 8.0 * (20 + math.log(1 + math.exp(-20) + math.exp(-10)))
    assert gallery.loss(mistaken, features, batch("fc8")).item() == pytest.approx(expected, rel=1e-5)


def test_other_levels_are_compared_as_they_are(gallery):
    """Cosines of photograph 1 to photographs 0, 1 and 2 over 0.02."""
    features, mistaken = dict.fromkeys(LEVELS, FC8[[0, 0]]), dict.fromkeys(LEVELS, FC8[[1, 1]])
    scores = torch.tensor([99 / 101, 1.0, 0.0]) / 0.02
    expected = 2.0 * float(scores.logsumexp(0) - scores[0])
    assert gallery.loss(mistaken, features, batch("conv5")).item() == pytest.approx(expected, rel=1e-3)


def test_samples_with_finer_levels_open_do_not_count(gallery):
    features, mistaken = dict.fromkeys(LEVELS, FC8[[0, 0]]), dict.fromkeys(LEVELS, FC8[[1, 1]])
    assert gallery.loss(mistaken, features, batch("conv5", conv1=1.0)).item() == 0
    assert gallery.loss(mistaken, features, batch("conv2")).item() == 0
