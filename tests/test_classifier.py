import pytest
import torch
import torchvision
from torchvision.transforms.functional import normalize

from pyramid.classifier import Classifier
from pyramid.device import seeded
from pyramid.levels import LEVELS

SLIM = (4, 8, 16, 32, 32)


@pytest.fixture(scope="module")
def full_width():
    with seeded(0):
        theirs = torchvision.models.vgg16(weights=None).eval()
    ours = Classifier(1000).eval()
    missing, unexpected = ours.load_state_dict(theirs.state_dict(), strict=False)
    assert missing == ["level_std"] and unexpected == []  # torchvision's names, layer for layer
    return ours, theirs


def test_fc8_is_torchvisions_logits_bit_for_bit(full_width):
    ours, theirs = full_width
    x = torch.randn(1, 3, 224, 224, generator=torch.Generator().manual_seed(1))
    with torch.no_grad():
        assert torch.equal(ours.pyramid_of_normalised(x)["fc8"], theirs(x))


def test_fc8_through_our_normalisation(full_width):
    ours, theirs = full_width
    unit = torch.rand(1, 3, 224, 224, generator=torch.Generator().manual_seed(2))
    normalised = normalize(unit, (0.485, 0.456, 0.406), (0.229, 0.224, 0.225))
    with torch.no_grad():
        assert (ours(unit * 2 - 1) - theirs(normalised)).abs().max() < 1e-5


def test_captured_maps_do_not_change_when_later_stages_run():
    with seeded(0):
        classifier = Classifier(4, 32, SLIM, 64, batch_norm=True).eval()
    x = torch.randn(2, 3, 32, 32, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        early = classifier.pyramid(x, deepest="conv4")
        whole = classifier.pyramid(x)
    for name, feature in early.items():
        assert torch.equal(feature, whole[name])


def test_a_pyramid_down_to_a_level_is_the_beginning_of_the_whole(full_width):
    ours, _ = full_width
    images = torch.rand(1, 3, 224, 224, generator=torch.Generator().manual_seed(4)) * 2 - 1
    with torch.no_grad():
        whole, part = ours.pyramid(images), ours.pyramid(images, "conv2")
    assert list(part) == ["conv1", "conv2"] and all(torch.equal(part[name], whole[name]) for name in part)
    with torch.no_grad():
        assert list(ours.pyramid(images, "fc7")) == list(whole)  # fc levels cost next to nothing


def test_pool5_is_applied_once():
    """Public reproductions pooled twice before fc6: the pyramid's fc8 must be the classifier's own logits."""
    with seeded(0):
        classifier = Classifier(4, 64, SLIM, 64, batch_norm=True).eval()
    x = torch.randn(2, 3, 64, 64, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        conv5 = classifier.pyramid(x)["conv5"]
        assert torch.equal(classifier.classifier(conv5.flatten(1)), classifier(x))


def test_level_std_is_the_standard_deviation_over_images():
    with seeded(0):
        classifier = Classifier(4, 32, SLIM, 64, batch_norm=True).eval()
    images = torch.rand(12, 3, 32, 32, generator=torch.Generator().manual_seed(0)) * 2 - 1
    with torch.no_grad():
        expected = [classifier.pyramid(images)[name].double().std(correction=0) for name in LEVELS]
    classifier.measure_level_std([images[:5], images[5:]])
    torch.testing.assert_close(classifier.level_std.double(), torch.stack(expected), rtol=1e-4, atol=1e-6)
    with torch.no_grad():
        assert abs(float(classifier.pyramid(images)["conv3"].std(correction=0)) - 1) < 1e-3


def test_fc7_is_what_the_second_relu_lets_through():
    """From conv5, by the weights of the two linear layers alone; dropout is the identity here."""
    with seeded(0):
        classifier = Classifier(4, 64, SLIM, 64, batch_norm=True).eval()
    fc6, _, _, linear, *_ = classifier.classifier
    x = torch.randn(2, 3, 64, 64, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        features = classifier.pyramid(x)
        hidden = (features["conv5"].flatten(1) @ fc6.weight.T + fc6.bias).clamp(min=0)
        before = hidden @ linear.weight.T + linear.bias
    assert (before < 0).any()
    torch.testing.assert_close(features["fc7"], before.clamp(min=0))
