import json
import os
import signal
import subprocess
import sys
import time
from copy import deepcopy
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from conftest import CLASSES, tiny_run
from pyramid.checkpoints import load_state, load_weights
from pyramid.errors import InputError
from pyramid.generator import Generator
from pyramid.levels import LEVELS
from pyramid.presets import TERMS
from pyramid.training import train
from pyramid.training.record import Metrics
from pyramid.training.sampling import DRAW_NAMES

WORKER = """
import sys, torch
from pathlib import Path
torch.set_num_threads(1)
sys.path.insert(0, "tests")
from conftest import tiny_run
from pyramid.training import loop
loop.save_samples = lambda *_: None
loop.train(tiny_run(), Path(sys.argv[1]), steps=int(sys.argv[2]), progress=False, save_minutes=0.001)
"""
ROOT = Path(__file__).resolve().parents[2]


def worker(folder: Path, steps: int) -> subprocess.Popen:
    return subprocess.Popen([sys.executable, "-c", WORKER, str(folder), str(steps)], cwd=ROOT)


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """Fifty steps of the tiny preset."""
    folder = tmp_path_factory.mktemp("run")
    return train(tiny_run(), folder, steps=50, progress=False), folder


def test_metrics_have_scores_of_every_level(trained):
    _, folder = trained
    lines = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
    assert len(lines) == 1 and lines[0]["step"] == 50 and lines[0]["images"] == 400
    assert set(LEVELS) <= set(lines[0]["scores"]) <= set(DRAW_NAMES)
    assert all({"real", "fake"} == set(pair) for pair in lines[0]["scores"].values())
    assert set(lines[0]["discriminator"]) | set(lines[0]["generator"]) == set(TERMS)
    assert list(lines[0]["generator"]["reconstruction"]) == list(LEVELS)
    assert list(lines[0]["generator"]["diversity"]) == list(DRAW_NAMES)
    assert list(folder.glob("samples-*.png"))


def test_only_the_generator_step_moves_the_generator(trained):
    run, _ = trained
    frozen = [p for p in run.classifier.parameters()]
    assert frozen and not any(p.requires_grad for p in frozen)
    assert all(p.requires_grad for p in run.discriminator.parameters())


def test_pairs_are_of_one_class_and_share_references():
    run = tiny_run()
    batch = run.sampler.draw(0)
    half = run.preset.batch // 2
    assert torch.equal(batch.real_labels[0::2], batch.real_labels[1::2])
    assert torch.equal(batch.labels[:half], batch.labels[half:])
    assert not torch.equal(batch.z[:half], batch.z[half:])
    for m in batch.masks.values():
        assert torch.equal(m[:half], m[half:])


def test_killed_and_resumed_ends_bit_for_bit_the_same(tmp_path):
    steps = 24
    assert worker(tmp_path / "whole", steps).wait() == 0
    killed = worker(tmp_path / "killed", steps)
    checkpoint = tmp_path / "killed" / "checkpoint.pt"
    deadline = time.monotonic() + 240
    while not checkpoint.exists() and time.monotonic() < deadline:
        time.sleep(0.02)
    killed.send_signal(signal.SIGKILL)
    killed.wait()
    reached = load_state(checkpoint)["step"]
    assert 0 < reached < steps, "killed before the first checkpoint or after the end"
    assert worker(tmp_path / "killed", steps).wait() == 0
    whole, resumed = (load_state(tmp_path / name / "checkpoint.pt") for name in ("whole", "killed"))
    assert resumed["step"] == whole["step"] == steps
    for part in ("generator", "discriminator", "ema"):
        for name, value in whole[part].items():
            assert torch.equal(value, resumed[part][name]), f"{part}.{name}"
    for ours, theirs in zip(whole["optimisers"], resumed["optimisers"], strict=True):
        for index, moments in ours["state"].items():
            assert all(torch.equal(v, theirs["state"][index][k]) for k, v in moments.items())


def test_sigterm_saves_and_exits_cleanly(tmp_path):
    process = worker(tmp_path, 100_000)
    deadline = time.monotonic() + 240
    while not (tmp_path / "checkpoint.pt").exists() and time.monotonic() < deadline:
        time.sleep(0.05)
    before = load_state(tmp_path / "checkpoint.pt")["step"]
    time.sleep(0.5)
    process.send_signal(signal.SIGTERM)
    assert process.wait(timeout=120) == 0
    assert load_state(tmp_path / "checkpoint.pt")["step"] > before
    assert not [p for p in os.listdir(tmp_path) if p.endswith(".tmp")]


def test_checkpoint_of_another_run_is_refused(trained, tmp_path):
    run, _ = trained
    with pytest.raises(InputError, match="another seed; give another folder"):
        tiny_run(seed=1).resume(run.state())
    (tmp_path / "checkpoint.pt").write_text("not a checkpoint")
    with pytest.raises(InputError, match="not a checkpoint"):
        train(tiny_run(), tmp_path, steps=1, progress=False)


def test_rate_falls_by_a_cosine_of_images():
    run = tiny_run()
    assert run.lr_factor() == 1
    run.step_count = run.preset.images // run.preset.batch // 2
    assert run.lr_factor() == pytest.approx((1 + run.preset.final_lr_factor) / 2)
    run.step_count = 10**6
    assert run.lr_factor() == run.preset.final_lr_factor


def test_classes_must_fit_the_classifier():
    run = tiny_run()
    run.photos.classes = CLASSES[:2]
    with pytest.raises(InputError, match="train-classifier"):
        type(run)(run.preset, run.photos, run.classifier, 0)


def test_composed_references_take_cells_of_another_class():
    run = tiny_run()
    half = run.preset.batch // 2
    batch = run.sampler.draw(0)
    batch.composed, batch.level = torch.zeros(half, 1, 32, 32), torch.full((half,), LEVELS.index("conv3"))
    plain = run.encode(batch)
    batch.composed[:, :, :8, :8] = 1  # conv3 has 4x4 cells of 8 pixels: the first one
    mixed = run.encode(batch)
    assert all(torch.equal(plain[name], mixed[name]) for name in LEVELS if name != "conv3")
    assert torch.equal(mixed["conv3"][:half, :, 0, 0], plain["conv3"][:half, :, 0, 0].roll(2, 0))
    assert torch.equal(mixed["conv3"][..., 1:], plain["conv3"][..., 1:])


def test_a_run_saved_on_a_card_goes_on_without_one():
    """Adam's `capturable` is of the device, and a checkpoint brings along that of the other."""
    run = tiny_run()
    run.step(Metrics())
    state = deepcopy(run.state())
    for optimiser in state["optimisers"]:
        optimiser["param_groups"][0]["capturable"] = True
    resumed = tiny_run()
    resumed.resume(state)
    assert [o.param_groups[0]["capturable"] for o in resumed.optimisers.values()] == [False, False]
    for one in (run, resumed):
        one.step(Metrics())
    for a, b in zip(run.generator.parameters(), resumed.generator.parameters(), strict=True):
        assert torch.equal(a, b)


def test_a_run_that_is_no_longer_finite_stops_and_spares_its_checkpoint(tmp_path):
    run = train(tiny_run(), tmp_path, steps=2, progress=False)
    before = (tmp_path / "checkpoint.pt").read_bytes()
    broken = tiny_run()
    step = broken.step

    def diverges(metrics):
        step(metrics)
        broken.generator.to_rgb.weight.data[0, 0] = float("nan")

    broken.step = diverges
    with pytest.raises(InputError, match="weights of the generator.*no longer finite.*checkpoint"):
        train(broken, tmp_path, steps=4, progress=False)
    assert (tmp_path / "checkpoint.pt").read_bytes() == before and run.step_count == 2


def test_snapshots_are_kept_over_the_run(tmp_path):
    run = tiny_run()
    run.preset = replace(run.preset, images=640)  # a 64th, a 32nd, a 16th, an 8th and two: 10, 20, 40, 80, 160
    train(run, tmp_path, steps=20, progress=False)  # of 8 images
    names = sorted(p.name for p in (tmp_path / "snapshots").iterdir())
    assert names == [f"{seen:07d}.safetensors" for seen in (16, 24, 40, 80, 160)]
    kept = Generator(run.preset, len(CLASSES))
    load_weights(tmp_path / "snapshots" / names[-1], kept)
    torch.testing.assert_close(kept.to_rgb.weight, run.ema.module.to_rgb.weight, rtol=1e-3, atol=1e-4)


def test_watch_sees_every_save(tmp_path):
    seen = []
    train(tiny_run(), tmp_path, steps=4, progress=False, save_minutes=0.0, watch=lambda folder: seen.append(folder))
    assert seen == [tmp_path] * 5  # after each step and at the end
    assert len(list(tmp_path.glob("samples-*.png"))) == 4


def test_the_generator_knows_the_mean_of_every_label():
    run = tiny_run()
    with torch.no_grad():
        fc8 = run.classifier.pyramid(run.photos.images.float() / 127.5 - 1)["fc8"]
    for c in range(len(CLASSES)):
        group = fc8[run.photos.labels == c]
        torch.testing.assert_close(run.generator.class_mean[c], group.mean(0), rtol=1e-2, atol=1e-3)
        torch.testing.assert_close(run.ema.module.class_std[c], group.std(0).clamp(min=1e-3), rtol=1e-2, atol=1e-3)
