"""Runs made to fail, and what is said of them."""

import json
from dataclasses import replace

import pytest
import torch

from conftest import CLASSES, tiny_run
from pyramid.errors import InputError
from pyramid.training import Run, health, train
from pyramid.training.health import PATIENCE, Watch, check_finite, complaints

WELL = {
    "discriminator": {"adversarial": 1.2},
    "generator": {"adversarial": 0.1},
    "pictures": {"spread": 0.5, "saturated": 0.02},
    "variety": 0.7,
}


def said(**changes) -> list[str]:
    return complaints([WELL | changes] * PATIENCE, "hinge")


def test_a_run_that_is_well_gets_no_complaint():
    assert said() == [] and complaints([], "hinge") == []
    assert complaints([{k: v for k, v in WELL.items() if k != "variety"}] * PATIENCE, "hinge") == []


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"discriminator": {"adversarial": 1.99}}, "at chance"),
        ({"discriminator": {"adversarial": 0.01}}, "far ahead"),
        ({"variety": 0.1}, "look alike"),
        ({"pictures": {"spread": 0.02, "saturated": 0.0}}, "nearly one tone"),
        ({"pictures": {"spread": 0.9, "saturated": 0.8}}, "black, white"),
    ],
)
def test_each_failure_has_its_sentence(changes, words):
    (sentence,) = said(**changes)
    assert words in sentence and sentence.endswith(".")
    lines = [WELL | changes] * (PATIENCE - 1)
    assert complaints(lines, "hinge") == [] and complaints([WELL, *lines], "hinge") == []  # not for long enough


def test_chance_is_the_game_s_own():
    """Least squares: half of 1/4 + 1/4 when every score is 1/2."""
    lines = [WELL | {"discriminator": {"adversarial": 0.25}}] * PATIENCE
    assert "at chance" in complaints(lines, "least_squares")[0]
    assert not any("at chance" in sentence for sentence in complaints(lines, "hinge"))


def test_a_complaint_is_handed_on_once_until_it_has_gone():
    watch, bad = Watch("hinge"), WELL | {"variety": 0.1}
    heard = [len(watch.look(line)) for line in [bad] * (PATIENCE + 5) + [WELL] + [bad] * PATIENCE]
    assert heard == [0] * (PATIENCE - 1) + [1] + [0] * 5 + [0] + [0] * (PATIENCE - 1) + [1]


def lines_of(run: Run, folder, steps: int, change=None) -> list[dict]:
    """Metrics of a run, a line a step, its generator changed before each."""
    step = run.step

    def changed(metrics):
        if change:
            change(run.generator)
        step(metrics)

    run.step = changed
    train(run, folder, steps=steps, progress=False)
    return [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]


def black(generator) -> None:
    generator.to_rgb.weight.data.zero_()
    generator.to_rgb.bias.data.fill_(-9.0)


def one_picture(generator) -> None:
    """Whatever comes in, the last convolution sees one fixed map."""
    fixed = torch.randn(1, 8, 32, 32, generator=torch.Generator().manual_seed(0))
    generator.norm.forward = lambda x, c: fixed.expand_as(x)


@pytest.mark.parametrize(("change", "words"), [(black, "nearly one tone"), (one_picture, "look alike")])
def test_a_run_made_to_fail_is_told_so(change, words, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr("pyramid.training.loop.REPORT_EVERY", 1)
    monkeypatch.setattr(health, "PATIENCE", 3)
    lines_of(tiny_run(), tmp_path, 4, change)
    assert words in capsys.readouterr().out


def test_a_discriminator_that_cannot_learn_is_at_chance(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr("pyramid.training.loop.REPORT_EVERY", 1)
    monkeypatch.setattr(health, "PATIENCE", 3)
    base = tiny_run()
    run = Run(replace(base.preset, discriminator_rate=1e-12), base.photos, base.classifier, 0)
    for parameter in run.discriminator.parameters():
        parameter.data.mul_(0 if parameter.dim() == 1 else 1)
    for projection in (run.discriminator.pixels.whole, run.discriminator.pixels.patch):
        projection.embedding.weight.data.zero_()
    run.discriminator.pixels.entry.register_forward_hook(lambda _, __, out: out * 1e-3)
    lines_of(run, tmp_path, 4)
    assert "at chance" in capsys.readouterr().out


def test_values_that_are_not_finite_are_named():
    network = torch.nn.Linear(2, 2)
    check_finite({"generator": network}, WELL, "")
    with pytest.raises(InputError, match="generator adversarial no longer finite. Kept."):
        check_finite({}, WELL | {"generator": {"adversarial": float("nan")}}, "Kept.")
    network.weight.data[0, 0] = float("inf")
    with pytest.raises(InputError, match="weights of the generator"):
        check_finite({"generator": network}, WELL, "")


@pytest.mark.parametrize(
    ("levels", "variety"), [((6, 6), 1), ((4, 5), 1), ((7, 7), None), ((6, 8), None), ((5, 0), None)]
)
def test_variety_is_measured_against_the_references(levels, variety, monkeypatch):
    """A generator that gives its references back has the variety of its references, 1, over pairs at deep levels."""
    monkeypatch.setattr("pyramid.training.loop.REPORT_EVERY", 1)
    run = tiny_run()
    draw = run.sampler.draw

    def deep(step):
        batch = draw(step)
        for half, level in zip(batch.of_one_class(torch.arange(len(batch.level))), levels, strict=True):
            batch.level[half] = level
        run.generator.forward = lambda *_: batch.references.repeat(2, 1, 1, 1) + 0 * run.generator.to_rgb.bias.sum()
        return batch

    run.sampler.draw = deep
    assert len(CLASSES) > 1
    from pyramid.training.record import Metrics

    metrics = Metrics()
    run.step(metrics)
    assert metrics.line().get("variety") == variety
