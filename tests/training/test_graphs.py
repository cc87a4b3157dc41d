"""What is recorded has to be what a step does: its draw, its weights, and, where there is a card, its result."""

from dataclasses import fields, replace

import pytest
import torch
from torch import Tensor

from pyramid.classifier import Classifier
from pyramid.data import Photos
from pyramid.presets import PRESETS, TERMS
from pyramid.training import Run, graphs, objective
from pyramid.training.record import Metrics


def run_of(device: str, **change) -> Run:
    preset = replace(PRESETS["tiny32"], late=(0.2, 0.6), images=1000, **change)
    random = torch.Generator().manual_seed(0)
    images = torch.randint(0, 256, (24, 3, 32, 32), dtype=torch.uint8, generator=random)
    photos = Photos(images, torch.arange(24) % 3, torch.zeros(24, dtype=torch.bool), ("a", "b", "c"))
    with torch.random.fork_rng():
        torch.manual_seed(0)
        classifier = Classifier(3, **preset.classifier)
    return Run(preset, photos.to(torch.device(device)), classifier, 0)


def test_every_tensor_of_a_draw_has_its_place():
    """One that was forgotten would keep the values of the step that was recorded."""
    batch = run_of("cpu").sampler.draw(0)
    found = [*graphs._tensors(batch)]
    for f in fields(batch):
        value = getattr(batch, f.name)
        inside = [*value.values()] if isinstance(value, dict) else [*value] if isinstance(value, tuple) else [value]
        assert inside and all(isinstance(t, Tensor) and any(t is other for other in found) for t in inside), f.name
    copy = graphs._copy(batch)
    for original, copied in zip(found, graphs._tensors(copy), strict=True):
        assert torch.equal(original, copied) and original.data_ptr() != copied.data_ptr()


@pytest.mark.parametrize("images", [0, 200, 300, 480, 600, 5000])
def test_the_weights_on_the_device_are_those_of_the_moment(images):
    preset = run_of("cpu").preset
    late = torch.tensor(objective.ramp(preset, images))
    table, expected = graphs.weights_on(torch.device("cpu"), preset, late), objective.weights(preset, images)
    assert {*table} == {*expected} == {*TERMS}
    for name, value in expected.items():
        torch.testing.assert_close(table[name], torch.as_tensor(value, dtype=torch.float32))


@pytest.mark.skipif(not torch.cuda.is_available(), reason="graphs are recorded on a CUDA device alone")
def test_a_recorded_step_is_the_step():
    """From the same weights and the same draws: what was measured over fifty steps, with R1 and without, agrees."""
    lines = []
    for recorded in (True, False):
        run, metrics = run_of("cuda", r1_every=4), Metrics()
        run.recorder = run.recorder if recorded else None
        for _ in range(50):
            run.step(metrics)
        assert not recorded or len(run.recorder.recordings) >= 2
        lines.append(metrics.line())
    for term in ("adversarial", "heads", "fixed_pattern"):
        assert lines[0]["generator"][term] == pytest.approx(lines[1]["generator"][term], abs=0.1)
