"""Shared fixtures: a tiny untrained model, and a run over random images."""

import pytest
import torch

from pyramid.classifier import Classifier
from pyramid.data import Photos
from pyramid.device import seeded
from pyramid.generator import Generator
from pyramid.judge import Judge
from pyramid.model import SemanticPyramid
from pyramid.presets import PRESETS
from pyramid.training import Run

CLASSES = ("forest", "sea", "street")


def tiny_photos(count: int = 48) -> Photos:
    generator = torch.Generator().manual_seed(0)
    images = torch.randint(0, 256, (count, 3, 32, 32), generator=generator, dtype=torch.uint8)
    return Photos(images, torch.arange(count) % len(CLASSES), torch.zeros(count, dtype=torch.bool), CLASSES)


def tiny_run(seed: int = 0) -> Run:
    preset = PRESETS["tiny32"]
    with seeded(7):
        classifier = Classifier(len(CLASSES), **preset.classifier)
    return Run(preset, tiny_photos(), classifier, seed)


@pytest.fixture(scope="session")
def tiny_model() -> SemanticPyramid:
    preset = PRESETS["tiny32"]
    with seeded(1):
        classifier = Classifier(len(CLASSES), **preset.classifier).eval()
        judge = Judge(len(CLASSES), preset.judge_base).eval()
        generator = Generator(preset, len(CLASSES)).eval()
    return SemanticPyramid(preset, CLASSES, classifier, judge, generator, {"familiar_above": 0.5})
