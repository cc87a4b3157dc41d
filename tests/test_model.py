"""`generate`, `guess` and `surest` on an untrained tiny model."""

from copy import deepcopy
from dataclasses import replace

import pytest
import torch

from pyramid.errors import InputError
from pyramid.masks import Masks


def references(model, count):
    images = torch.rand(count, 3, 32, 32, generator=torch.Generator().manual_seed(0)) * 2 - 1
    return images, model.features(images)


def test_every_sample_has_its_own_references_features_mask_and_label(tiny_model):
    """Row 2 i + j is what the network makes of reference i and of noise vector 2 i + j."""
    _, features = references(tiny_model, 3)
    region = torch.zeros(3, 1, 32, 32)
    for i in range(3):
        region[i, :, : 8 * (i + 1)] = 1
    masks, labels = Masks({"conv2": region, "fc7": 1.0}), torch.tensor([2, 0, 1])
    images, z = tiny_model.generate(features, masks, labels, samples=2, seed=3), tiny_model.noise(6, 3)
    at = masks.at(32, 3)

    def alone(row, label):
        i = row // 2
        own = [{name: value[[i]] for name, value in part.items()} for part in (features, at)]
        with torch.no_grad():
            return tiny_model.generator(*own, z[[row]], label[[i]])

    for row in range(6):
        torch.testing.assert_close(images[[row]], alone(row, labels), rtol=0, atol=1e-5)
        assert (images[[row]] - alone(row, labels.roll(1))).abs().max() > 1e-3  # it would show


def test_the_surest_image_has_the_largest_share_of_the_label(tiny_model):
    """More images than one pass takes, so that the parts are put together in order."""
    images = torch.rand(120, 3, 32, 32, generator=torch.Generator().manual_seed(3)) * 2 - 1
    shares = torch.cat([tiny_model.classifier(part) for part in images.split(40)]).softmax(1)
    for k, label in enumerate(tiny_model.classes):
        assert tiny_model.surest(images, label) == int(shares[:, k].argmax())
    with pytest.raises(InputError, match="no label"):
        tiny_model.surest(images, "moon")


def test_a_guess_is_the_softmax_of_the_classifiers_logits(tiny_model):
    """The features are divided by each level's deviation; the probabilities are those of the plain logits."""
    model = replace(tiny_model, classifier=deepcopy(tiny_model.classifier))
    model.classifier.level_std[-1] = 0.02
    images, features = references(model, 2)
    with torch.no_grad():
        logits = model.classifier(images)
    expected = logits.exp() / logits.exp().sum(1, keepdim=True)
    for row, guesses in zip(expected, model.guess(features), strict=True):
        found = torch.tensor([dict(guesses)[name] for name in model.classes])
        torch.testing.assert_close(found, row, rtol=1e-4, atol=1e-5)
