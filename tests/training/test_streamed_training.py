"""Training on photographs that lie on a disk: as in memory, to the bit, and the same batches after a restart."""

import os
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from PIL import Image

from conftest import CLASSES, tiny_photos
from pyramid import data
from pyramid.checkpoints import load_state
from pyramid.classifier import Classifier
from pyramid.data import Photos, from_bytes
from pyramid.device import seeded
from pyramid.judge import Judge
from pyramid.presets import PRESETS
from pyramid.scenes import load_folder, streaming
from pyramid.training import Run, classifiers, train
from pyramid.training.classifiers import train_head, train_supervised

COUNT = 90
PRESET = PRESETS["tiny32"]
ROOT = Path(__file__).resolve().parents[2]
WORKER = """
import sys
from pathlib import Path
sys.path[:0] = ["tests", "tests/training"]
from test_streamed_training import data, run_on, streamed, streaming, train
data.CACHE, streaming.IN_MEMORY = Path(sys.argv[2]) / "cache", 0
train(run_on(streamed(sys.argv[1], 2)), Path(sys.argv[2]) / "run", progress=False, save_minutes=0.001)
print("saved")
"""


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """`tiny_photos` as PNG, a folder a class."""
    place = tmp_path_factory.mktemp("disk")
    photos = tiny_photos(COUNT)
    for i, (pixels, label) in enumerate(zip(photos.images, photos.labels.tolist(), strict=True)):
        (place / CLASSES[label]).mkdir(exist_ok=True)
        Image.fromarray(pixels.permute(1, 2, 0).numpy()).save(place / CLASSES[label] / f"{i:03d}.png")
    return place


@pytest.fixture(autouse=True)
def little_memory(tmp_path, monkeypatch):
    monkeypatch.setattr(data, "CACHE", tmp_path / "cache")
    monkeypatch.setattr(streaming, "IN_MEMORY", 0)


def streamed(folder, workers: int = 0) -> streaming.Streamed:
    return replace(load_folder(folder, 32, progress=False, streamed=True), workers=workers)


def in_memory(photos: streaming.Streamed) -> Photos:
    """The same pictures in the same order, all in memory."""
    images = tiny_photos(COUNT).images
    order = torch.arange(COUNT).view(-1, len(CLASSES)).T.flatten()  # by class; tiny_photos takes the classes in turn
    return Photos(images[order], photos.labels, photos.held_out, CLASSES)


def run_on(photos) -> Run:
    with seeded(7):
        classifier = Classifier(len(CLASSES), **PRESET.classifier)
    return Run(PRESET, photos.part(held_out=False), classifier, seed=0)


def same(a: torch.nn.Module, b: torch.nn.Module) -> bool:
    pairs = zip(a.state_dict().values(), b.state_dict().values(), strict=True)
    return all(torch.equal(one, other) for one, other in pairs)


def test_a_run_on_a_disk_is_the_run_in_memory_and_goes_on_with_the_same_batches(folder, tmp_path, monkeypatch):
    """Once the run in memory keeps the features in the same order."""
    on_disk = streamed(folder, 2)
    for name, workers in (("apart", 2), ("here", 0)):
        train(run_on(streamed(folder, workers)), tmp_path / name, steps=2, progress=False)
    runs = [train(run_on(streamed(folder, 2)), tmp_path / name, steps=4, progress=False) for name in ("apart", "here")]
    known = on_disk.part(held_out=False).known
    monkeypatch.setattr(Photos, "known", known)
    whole = train(run_on(in_memory(on_disk)), tmp_path / "whole", steps=4, progress=False)
    for run in runs:
        assert run.step_count == 4 and same(run.ema, whole.ema)
        assert same(run.generator, whole.generator) and same(run.discriminator, whole.discriminator)


def test_a_step_gives_the_pictures_that_its_number_draws(folder):
    """By hand: the first of each pair is the first that the step's generator draws; steps asked for out of turn too."""
    photos = streamed(folder, 2).part(held_out=False)
    sampler = run_on(streamed(folder, 2)).sampler
    half = PRESET.batch // 2
    for step in (0, 1, 2, 7, 8, 3, -1, 4, 0):
        random = torch.Generator().manual_seed(step)
        first = torch.randint(len(photos), (half // 2,), generator=random)
        batch = sampler.draw(step)
        assert torch.equal(batch.real_labels[0::2], photos.labels[first])
        wanted, got = from_bytes(photos.pixels(first)), batch.references[0::2]
        turned = (got == wanted.flip(3)).flatten(1).all(1)
        assert ((got == wanted).flatten(1).all(1) | turned).all()


def test_a_run_keeps_the_features_of_a_sample_alone(folder, monkeypatch):
    monkeypatch.setattr(streaming, "KNOWN", 72)
    monkeypatch.setattr(streaming, "GALLERY", 64)
    photos = streamed(folder)
    run = run_on(photos)
    assert len(run.gallery["fc8"]) == len(run.gallery_labels) == 72
    others = torch.cat([run.sampler.draw(step).others for step in range(3)])
    assert others.max() == 63 and len(others.unique()) == 64
    pixels = run.photos.pixels(run.photos.known)
    fc8 = run.classifier.pyramid(from_bytes(pixels))["fc8"]
    for label in range(len(CLASSES)):
        mean = fc8[run.gallery_labels == label].mean(0)
        torch.testing.assert_close(run.generator.class_mean[label], mean, atol=5e-3, rtol=0)  # halves


def test_classifiers_are_trained_on_a_disk_as_in_memory(folder, tmp_path):
    photos, judges, scores = streamed(folder, 2), [], []
    for place, source in (("disk", photos), ("memory", in_memory(photos))):
        with seeded(3):
            judges.append(Judge(len(CLASSES), PRESET.judge_base))
        scores.append(train_supervised(judges[-1], source, tmp_path / f"{place}.pt", 2, progress=False))
    assert same(*judges) and scores[0] == scores[1]


def test_a_head_is_fitted_to_the_known_photographs(folder, monkeypatch):
    monkeypatch.setattr(streaming, "KNOWN", 12)
    looked_at = []
    read = streaming.Files.read
    monkeypatch.setattr(streaming.Files, "read", lambda self, rows: looked_at.append(rows) or read(self, rows))
    lengths, schedule = [], torch.optim.lr_scheduler.OneCycleLR
    monkeypatch.setattr(classifiers, "BATCH", 4)
    monkeypatch.setattr(
        torch.optim.lr_scheduler, "OneCycleLR", lambda *a, **k: lengths.append(k["total_steps"]) or schedule(*a, **k)
    )
    photos = streamed(folder)
    with seeded(3):
        classifier = Classifier(len(CLASSES), **PRESET.classifier)
    train_head(classifier, photos, progress=False)
    training = photos.part(held_out=False)
    known = training.rows[training.known].tolist()
    assert looked_at[:2] == [known, known]  # in both views
    assert lengths == [12 * 3]  # epochs of the twelve known ones, not of all 81


def test_ctrl_c_ends_a_run_and_whoever_reads_for_it(folder, tmp_path):
    """As a terminal sends it: to all of its processes at once."""
    command = [sys.executable, "-c", WORKER, str(folder), str(tmp_path)]
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    process = subprocess.Popen(command, cwd=ROOT, start_new_session=True, **pipes)
    checkpoint = tmp_path / "run" / "checkpoint.pt"
    deadline = time.monotonic() + 480
    while not checkpoint.is_file() and process.poll() is None and time.monotonic() < deadline:
        time.sleep(0.1)
    os.killpg(process.pid, signal.SIGINT)
    said, complained = process.communicate(timeout=240)  # until the last process that could write has ended
    assert process.returncode == 0 and said.endswith("saved\n") and "Traceback" not in complained
    assert load_state(checkpoint)["step"] > 0
