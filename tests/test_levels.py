import pytest
import torch
from torch import nn

from pyramid.classifier import Classifier
from pyramid.errors import InputError
from pyramid.levels import CONV_LEVELS, LEVELS, RECEPTIVE_FIELDS, check_level, shapes


@pytest.mark.parametrize("name", CONV_LEVELS)
def test_receptive_field_is_what_a_gradient_reaches(name):
    """A chain of positive kernels: the pixels with a gradient are the receptive field, counted not derived."""
    layers = []
    for level, count in zip(CONV_LEVELS, (2, 2, 3, 3, 3), strict=True):
        layers += [nn.Conv1d(1, 1, 3, padding=1, bias=False) for _ in range(count)] + [nn.AvgPool1d(2)]
        if level == name:
            break
    chain = nn.Sequential(*layers)
    for layer in chain:
        if isinstance(layer, nn.Conv1d):
            nn.init.constant_(layer.weight, 1 / 3)
    pixels = torch.zeros(1, 1, 640, dtype=torch.float64, requires_grad=True)
    cells = chain.double()(pixels)
    middle = cells.shape[-1] // 2
    cells[0, 0, middle].backward()
    reached = pixels.grad[0, 0].nonzero().flatten()
    field, stride = RECEPTIVE_FIELDS[name]
    assert len(reached) == field
    assert int(reached[0]) == middle * stride - (field - stride) // 2
    assert 640 // cells.shape[-1] == stride


@pytest.mark.parametrize("size", [32, 64, 128])
def test_shapes_are_those_of_the_classifier(size):
    channels = (4, 6, 8, 10, 12)
    classifier = Classifier(5, size, channels, units=20).eval()
    features = classifier.pyramid(torch.zeros(2, 3, size, size))
    assert list(features) == list(LEVELS)
    assert {name: tuple(f.shape[1:]) for name, f in features.items()} == shapes(size, channels, 20, 5)


def test_unknown_level_is_named_with_the_known_ones():
    with pytest.raises(InputError, match="conv9.*conv1, conv2"):
        check_level("conv9")
