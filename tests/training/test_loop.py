import json
import os
import signal
import subprocess
import sys
import time
from copy import deepcopy
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch

from conftest import CLASSES, tiny_run
from pyramid.checkpoints import load_state, load_weights
from pyramid.errors import InputError
from pyramid.generator import Generator
from pyramid.levels import LEVELS
from pyramid.presets import GOES_WITH, PRESETS, TERMS, MaskShares, without
from pyramid.training import Run, extras, objective, train
from pyramid.training.averaging import averaged_generator, update_average
from pyramid.training.extras import Made
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


def test_average_equals_the_raw_generator_at_step_0():
    run = tiny_run()
    for raw, averaged in zip(run.generator.state_dict().values(), run.ema.module.state_dict().values(), strict=True):
        assert torch.equal(raw, averaged)


def test_average_is_the_exponential_one():
    """With the preset's half-life, once twenty times as many images have been seen."""
    run = tiny_run()
    run.step(Metrics())
    first = run.generator.to_rgb.bias.detach().clone()  # the first update copies
    assert torch.equal(run.ema.module.to_rgb.bias, first)
    run.ema.n_averaged.fill_(10**6)
    decay = 0.5 ** (run.preset.batch / run.preset.ema_half_life)
    run.step(Metrics())
    second = run.generator.to_rgb.bias.detach()
    torch.testing.assert_close(run.ema.module.to_rgb.bias.detach(), decay * first + (1 - decay) * second)


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


def test_averaged_generator_measures_statistics_anew(trained):
    run, _ = trained
    fresh = averaged_generator(run, batches=8)
    copied = dict(run.ema.module.named_buffers())
    changed = [not torch.equal(b, copied[n]) for n, b in fresh.named_buffers() if n.endswith("running_mean")]
    assert changed and all(changed)
    for (_, p), (_, q) in zip(fresh.named_parameters(), run.ema.module.named_parameters(), strict=True):
        assert torch.equal(p, q)


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


def made_of(run, batch, fake) -> Made:
    """What the terms look at, had a step made these images."""
    half = len(fake) // 2
    features = {name: f[:half] for name, f in run.encode(batch).items()}
    return Made(
        run.preset, batch, fake, features, run.classifier.pyramid(fake[:half]), run.classifier, run.generator,
        run.gallery, run.photos.labels,
    )  # fmt: skip


def test_a_part_is_compared_in_its_own_window():
    """Right where the window shows the other reference, whatever is around; the tiny preset has rows of all levels."""
    run = tiny_run()
    half = run.preset.batch // 2
    batch = run.sampler.draw(0)
    batch.composed = torch.zeros(half, 1, 32, 32)
    same = batch.references.repeat(2, 1, 1, 1)
    assert extras.part(made_of(run, batch, same)).sum() == 0
    batch.composed[:2, :, 8:24, 4:20], batch.looked_at = 1, torch.tensor([0])
    batch.level = torch.full((half,), LEVELS.index("conv4"))
    others = batch.references.roll(2, 0)
    right = torch.where(batch.composed > 0, others, batch.references)
    right[..., 3:25, 3:21] = others[..., 3:25, 3:21]  # a pixel more all round, for the interpolation
    wrong = extras.part(made_of(run, batch, same)).sum().item()
    assert wrong > 0 and extras.part(made_of(run, batch, right.repeat(2, 1, 1, 1))).sum().item() < 1e-3 * wrong


def test_another_label_costs_only_where_it_was_drawn():
    """The cross-entropy of the classifier's own logits and the edges' distance, on relabelled rows alone."""
    run = tiny_run()
    batch = run.sampler.draw(0)
    half = run.preset.batch // 2
    batch.relabelled = torch.zeros(half, dtype=torch.bool)
    fake = batch.references.repeat(2, 1, 1, 1)
    made = made_of(run, batch, fake)
    assert extras.other_label(made) == 0 and extras.other_layout(made) == 0
    batch.relabelled[0] = True
    probability = run.classifier(fake[:1]).softmax(1)[0, batch.labels[0]]
    expected = -float(probability.log()) / half
    assert extras.other_label(made).item() == pytest.approx(expected, rel=1e-3)
    assert extras.other_layout(made).item() == pytest.approx(0, abs=1e-5)  # the edges are the reference's own


@pytest.mark.parametrize("term", TERMS)
def test_a_term_left_out_moves_nothing(term):
    """The gradients without one term are those of the other terms; what has no weight is not computed."""
    base = tiny_run()
    shares = MaskShares(region=0.5, closed=0.0, several=0.0, relabel=0.5, compose=1.0, levels=(0, 0, 1, 1, 1, 1, 1))
    often = replace(base.preset, shares=shares)  # every term within three steps
    preset = without(often, term)
    whole, less = (Run(p, base.photos, base.classifier, 0) for p in (often, preset))
    measured = Metrics()
    for _ in range(3):
        whole.step(Metrics()), less.step(measured)
    for network in ("generator", "discriminator"):
        if network == "discriminator" and term not in ("adversarial", "heads", "r1"):
            continue  # it learns from these alone, though its fakes differ from the next step on
        pairs = zip(getattr(whole, network).parameters(), getattr(less, network).parameters(), strict=True)
        assert not all(torch.equal(a, b) for a, b in pairs)
    line = measured.line()
    computed = set(line["discriminator"]) | set(line["generator"])
    assert computed == set(TERMS) - {term, *GOES_WITH.get(term, ())}
    if term == "adversarial":
        start = Run(preset, less.photos, less.classifier, 0).discriminator
        for a, b in zip(less.discriminator.parameters(), start.parameters(), strict=True):
            assert torch.equal(a, b)


def test_weights_come_in_once_in_the_sum():
    values = {"reconstruction": torch.tensor([1.0, 2.0, 0, 0, 0, 0, 4.0]), "heads": torch.tensor(3.0)}
    weight = {"reconstruction": (10.0, 1.0, 5.0, 5.0, 5.0, 5.0, 0.5), "heads": 2.0}
    assert objective.total(values, weight).item() == 10 + 2 + 2 + 6
    assert objective.weights(replace(tiny_run().preset, r1=0.2, r1_every=16), 0)["r1"] == pytest.approx(0.2 / 2 * 16)


def test_late_terms_come_in_linearly_over_their_share_of_the_images():
    preset = replace(PRESETS["photos64"], images=1000, late=(0.2, 0.6), other_layout=4.0, part=(0, 0, 2.0, 0, 0, 0, 0))
    at = {images: objective.weights(preset, images) for images in (0, 200, 300, 600, 5000)}
    assert [w["other_layout"] for w in at.values()] == pytest.approx([0, 0, 1, 4, 4])
    assert [w["part"][2] for w in at.values()] == pytest.approx([0, 0, 0.5, 2, 2])
    assert all(w["reconstruction"] == preset.reconstruction for w in at.values())
    assert objective.weights(replace(preset, late=(0.0, 0.0)), 0)["other_layout"] == 4


def test_reconstruction_compares_what_has_moved_alike():
    """Fakes that are the references give a loss of 0 under any shift; with a region they stay where they are."""
    run = tiny_run()
    batch = run.sampler.draw(0)
    half = run.preset.batch // 2
    assert all((amount[batch.region] == 0).all() for amount in batch.shift)
    fake = batch.references.repeat(2, 1, 1, 1)
    batch.shift = (torch.arange(half) - 1, torch.arange(half))
    batch.region = torch.zeros(half, dtype=torch.bool)
    features = run.encode(batch)
    seen = objective.look(batch, fake, run.classifier)
    for name, f in objective.wanted(batch, seen, features).items():
        torch.testing.assert_close(seen.fake_features[name].float(), f)
    batch.region[0] = True
    assert torch.equal(objective.wanted(batch, seen, features)["conv1"][0], features["conv1"][0])


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


def test_the_average_of_a_young_generator_is_a_short_one():
    """After step 4 of batch 8 its half-life is a twentieth of 32 images: a weight halves five times a step."""
    run = tiny_run()
    run.ema.n_averaged.fill_(4)
    run.ema.module.to_rgb.bias.data.fill_(1.0)
    run.generator.to_rgb.bias.data.fill_(0.0)
    update_average(run.ema, run.generator, run.preset)
    assert run.ema.n_averaged == 5
    torch.testing.assert_close(run.ema.module.to_rgb.bias.data, torch.full((3,), 0.5**5))


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


def test_diversity_by_drawn_level_sums_to_the_mean():
    """Pairs drawn at conv2, conv2 and fc8 with values 1, 2 and 6: their shares of the mean, 3."""
    batch = SimpleNamespace(level=torch.tensor([1, 1, 6]))
    by_level = objective.by_level(batch, torch.tensor([1.0, 2.0, 6.0])) / 3
    assert by_level.tolist() == [0, 1, 0, 0, 0, 0, 2, 0, 0]


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
