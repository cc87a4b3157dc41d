"""A classifier where there is none: from ImageNet's convolutions, from a release, or found."""

from dataclasses import replace

import pytest
import torch
from safetensors.torch import save_file

from pyramid.classifier import Classifier
from pyramid.data import Photos
from pyramid.device import seeded
from pyramid.model import open_release
from pyramid.presets import PRESETS
from pyramid.training import provide
from pyramid.training.provide import Plan, find_classifier, make_classifiers

PRESET = replace(PRESETS["tiny32"], classifier_batch_norm=False)


def photos(classes: tuple[str, ...] = ("red", "blue"), count: int = 240) -> Photos:
    """Pictures whose label is their colour; a held-out part of all labels."""
    images = torch.randint(0, 100, (count, 3, 32, 32), generator=torch.Generator().manual_seed(0))
    labels = torch.arange(count) % len(classes)
    images[torch.arange(count), labels % 3] += 140
    return Photos(images.to(torch.uint8), labels, torch.arange(count) >= 0.9 * count, classes)


def begun() -> torch.nn.Module:
    """Random convolutions that let the signal through (He et al. 2015), as trained ones do."""
    with seeded(5):
        features = Classifier(2, **PRESET.classifier).features
        for parameter in features.parameters():
            torch.nn.init.kaiming_normal_(parameter) if parameter.dim() > 1 else torch.nn.init.zeros_(parameter)
    return features


@pytest.fixture
def vgg(tmp_path):
    features = begun()
    save_file({f"features.{k}": v for k, v in features.state_dict().items()}, tmp_path / "vgg.safetensors")
    return tmp_path / "vgg.safetensors"


def convolutions(release) -> torch.Tensor:
    return torch.cat([p.flatten() for p in release.network("classifier").features.parameters()])


def test_from_imagenet_everything_is_fine_tuned_behind_the_head(tmp_path, vgg):
    scores = make_classifiers(PRESET, photos(), Plan(vgg=vgg, epochs=8), tmp_path / "c")
    release = open_release(tmp_path / "c")
    moved = (convolutions(release) - torch.cat([p.flatten() for p in begun().parameters()])).abs().max()
    assert 1e-4 < moved < 0.05 and set(scores) == {"classifier", "judge"}
    assert release.card["held_out_accuracy"] == scores and scores["judge"] > 0.9
    assert (release.network("classifier").level_std != 1).all()


def test_from_a_release_the_convolutions_stay_and_other_classes_are_learnt(tmp_path, vgg):
    make_classifiers(PRESET, photos(), Plan(vgg=vgg, epochs=6), tmp_path / "first")
    first = open_release(tmp_path / "first")
    three = photos(("red", "green", "blue"))
    scores = make_classifiers(PRESET, three, Plan(source=first, epochs=6), tmp_path / "second")
    second = open_release(tmp_path / "second")
    torch.testing.assert_close(convolutions(second), convolutions(first), rtol=1e-3, atol=1e-5)  # in half precision
    assert second.classes == three.classes and scores["classifier"] > 0.9


def test_a_classifier_is_made_once_and_found_again(tmp_path, vgg, monkeypatch):
    made, plan = [], Plan(vgg=vgg, epochs=1)

    def counted(*args):
        made.append(args)
        return make_classifiers(*args)

    monkeypatch.setattr(provide, "make_classifiers", counted)
    first = find_classifier(PRESET, photos(), tmp_path / "run", plan)
    again = find_classifier(PRESET, photos(), tmp_path / "run", plan)
    assert len(made) == 1 and first.card == again.card


def test_a_released_classifier_of_the_same_classes_is_taken(tmp_path, monkeypatch):
    monkeypatch.setattr(provide, "make_classifiers", lambda *_: pytest.fail("there is one"))
    release = open_release("scenes32")
    data = photos(release.classes)
    assert find_classifier(PRESETS["scenes32"], data, tmp_path, Plan()).folder == release.folder


def test_kept_stages_are_those_of_photos64_and_the_others_are_trained(tmp_path):
    """Two stages of 64 and 128 channels, as VGG-16 begins; behind them a slim classifier with batch norm."""
    channels = (64, 128, 16, 16, 16)
    preset = replace(PRESETS["tiny32"], classifier_channels=channels, classifier_batch_norm=True, classifier_kept=2)
    with seeded(0):
        begun = Classifier(2, **preset.classifier).features
    make_classifiers(preset, photos(), Plan(epochs=1), tmp_path)
    made, photos64 = (open_release(m).network("classifier").features for m in (tmp_path, "photos64"))
    convolutions, theirs = ([m for m in f if isinstance(m, torch.nn.Conv2d)] for f in (made, photos64))
    for ours, kept in zip(convolutions[:4], theirs[:4], strict=True):  # 2 and 2 of 13 convolutions
        assert torch.equal(ours.weight, kept.weight) and torch.equal(ours.bias, kept.bias)
    normalised = [isinstance(m, torch.nn.BatchNorm2d) for m in made]
    assert sum(normalised[:10]) == 0 and sum(normalised[10:]) == 9
    moved = convolutions[4].weight - next(m for m in begun[10:] if isinstance(m, torch.nn.Conv2d)).weight  # of conv3
    assert moved.abs().max() > 1e-3
