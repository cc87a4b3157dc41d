"""What a classifier learns beside the label."""

from dataclasses import replace

import pytest
import torch

from pyramid.checkpoints import load_state, save_state
from pyramid.classifier import Classifier
from pyramid.data import Photos, from_bytes
from pyramid.device import seeded
from pyramid.judge import Judge
from pyramid.presets import PRESETS
from pyramid.training import classifiers
from pyramid.training.classifiers import train_supervised


def photos(count: int = 320) -> Photos:
    """Red or blue by label; light or dark at random, which is the attribute."""
    rng = torch.Generator().manual_seed(0)
    images = torch.randint(0, 60, (count, 3, 32, 32), generator=rng)
    labels, light = torch.arange(count) % 2, torch.rand(count, generator=rng)
    images[torch.arange(count), 2 * labels] += 60
    images += (light * 130).long()[:, None, None, None]
    held_out = torch.arange(count) % 10 == 0
    return Photos(images.clamp(0, 255).to(torch.uint8), labels, held_out, ("red", "blue"), light[:, None])


def told_by_fc7(model: Classifier, data: Photos) -> float:
    """Share of the attribute's variance that a ridge regression on fc7 explains, on the second half."""
    with torch.no_grad():
        x = model.eval().pyramid(from_bytes(data.images))["fc7"].double()
    x, y = torch.cat([x, torch.ones(len(x), 1)], 1), data.attributes.double()
    half = len(x) // 2
    a, b = x[:half], y[:half]
    w = torch.linalg.solve(a.T @ a + 1e-2 * torch.eye(x.shape[1]), a.T @ b)
    rest = y[half:]
    return 1 - float((rest - x[half:] @ w).square().sum() / (rest - rest.mean()).square().sum())


def test_fc7_can_tell_the_attributes_it_was_trained_with(tmp_path):
    data = photos()
    with seeded(0):
        model = Classifier(2, **PRESETS["tiny32"].classifier)
    accuracy = train_supervised(model, data, tmp_path / "c.pt", epochs=12, progress=False)
    assert accuracy > 0.9 and told_by_fc7(model, data) > 0.5
    names = {name for name, _ in model.named_parameters()}
    assert not any("tell" in name for name in names)  # the layer that tells is no part of the classifier


@pytest.mark.parametrize("judge", [True, False])
def test_a_run_that_was_cut_ends_bit_for_bit_as_one_that_was_not(judge, tmp_path, monkeypatch):
    """Cut after its second epoch of three: order, augmentation and dropout of the third are those of an uncut run."""
    data, ends = replace(photos(160), attributes=None if judge else photos(160).attributes), []
    for cut in (False, True):
        with seeded(0):
            model = Judge(2, 8) if judge else Classifier(2, **PRESETS["tiny32"].classifier)
        path = tmp_path / f"{cut}.pt"
        if cut:

            def stop(where, state):
                save_state(where, state)
                if state["epoch"] == 2:
                    raise KeyboardInterrupt

            with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
                patch.setattr(classifiers, "save_state", stop)
                train_supervised(model, data, path, 3, progress=False)
            torch.rand(7)  # whatever else has drawn from the global generator meanwhile
        train_supervised(model, data, path, 3, progress=False)
        ends.append(load_state(path)["networks"])
    assert all(torch.equal(ends[0][name], ends[1][name]) for name in ends[0])


def test_a_run_with_attributes_resumes(tmp_path, monkeypatch):
    """Cut after its first epoch of two, it goes on with the second, and with the layer that tells."""
    data, path = photos(160), tmp_path / "c.pt"
    with seeded(0):
        model = Classifier(2, **PRESETS["tiny32"].classifier)

    def stop(where, state):
        save_state(where, state)
        raise KeyboardInterrupt

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(classifiers, "save_state", stop)
        train_supervised(model, data, path, 2, progress=False)
    first = load_state(path)
    assert first["epoch"] == 1
    train_supervised(model, data, path, 2, progress=False)
    second = load_state(path)
    assert second["epoch"] == 2
    change = second["networks"]["tell.weight"] - first["networks"]["tell.weight"]
    assert 0 < change.abs().max() < first["networks"]["tell.weight"].abs().max()  # moved on, not begun anew
