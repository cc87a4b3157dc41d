"""Shared fixtures: a tiny untrained model, and a run over random images."""

import hashlib
import os

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


def pytest_configure():
    """With `pytest -n`, each process computes on its share of the cores, and so does what it starts."""
    if count := os.environ.get("PYTEST_XDIST_WORKER_COUNT"):
        threads = max(1, os.cpu_count() // int(count))
        os.environ["OMP_NUM_THREADS"] = str(threads)
        torch.set_num_threads(threads)


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


class Pixels:
    """Twelve means of the image as features."""

    name, features, resize = "pixels", 12, "none"

    def __init__(self, *_):
        self.calls = 0

    def __call__(self, images):
        self.calls += 1
        return torch.nn.functional.adaptive_avg_pool2d(images, 2).flatten(1)


@pytest.fixture(scope="session")
def stand_in(tmp_path_factory):
    """A file of the shape of pytorch-fid's Inception with random weights; its name ends on its hash, as theirs does."""
    from pytorch_fid import inception as fid
    from torchvision.models import inception_v3

    with seeded(0):
        network = inception_v3(num_classes=1008, aux_logits=False, weights=None, init_weights=False)
        network.Mixed_5b, network.Mixed_5c, network.Mixed_5d = (
            fid.FIDInceptionA(channels, pool_features=pool) for channels, pool in ((192, 32), (256, 64), (288, 64))
        )
        for name, width in (("6b", 128), ("6c", 160), ("6d", 160), ("6e", 192)):
            setattr(network, f"Mixed_{name}", fid.FIDInceptionC(768, channels_7x7=width))
        network.Mixed_7b, network.Mixed_7c = fid.FIDInceptionE_1(1280), fid.FIDInceptionE_2(2048)
    path = tmp_path_factory.mktemp("inception") / "file.pth"
    torch.save(network.state_dict(), path)
    return path.rename(path.with_name(f"stand-in-{hashlib.sha256(path.read_bytes()).hexdigest()[:8]}.pth"))
