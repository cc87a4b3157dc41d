import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch

from conftest import CLASSES, tiny_run
from pyramid import masks
from pyramid.checkpoints import load_state
from pyramid.errors import InputError
from pyramid.levels import LEVELS
from pyramid.masks import DRAW_NAMES
from pyramid.presets import WITHOUT, without
from pyramid.training import Run, train

WORKER = """
import sys, torch
from pathlib import Path
torch.set_num_threads(1)
sys.path.insert(0, "tests")
from conftest import tiny_run
from pyramid import training
training._save_samples = lambda *_: None
training.train(tiny_run(), Path(sys.argv[1]), steps=int(sys.argv[2]), progress=False, save_minutes=0.001)
"""
ROOT = Path(__file__).resolve().parent.parent


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
    run = tiny_run()
    decay = 0.5 ** (run.preset.batch / run.preset.ema_half_life)
    run.step()
    first = run.generator.to_rgb.bias.detach().clone()  # the first update copies
    assert torch.equal(run.ema.module.to_rgb.bias, first)
    run.step()
    second = run.generator.to_rgb.bias.detach()
    torch.testing.assert_close(run.ema.module.to_rgb.bias.detach(), decay * first + (1 - decay) * second)


def test_singular_values_of_the_average_stay_near_one(trained):
    run, _ = trained
    generator = run.ema.module.eval()
    checked = 0
    with torch.no_grad():
        for module in generator.modules():
            if hasattr(module, "parametrizations"):
                largest = torch.linalg.svdvals(module.weight.flatten(1))[0]
                assert 0.8 <= largest <= 1.2
                checked += 1
    assert checked > 20


def test_metrics_have_scores_of_every_level(trained):
    _, folder = trained
    lines = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
    assert len(lines) == 1 and lines[0]["step"] == 50 and lines[0]["images"] == 400
    assert set(LEVELS) <= set(lines[0]["scores"]) <= set(DRAW_NAMES)
    assert all({"real", "fake"} == set(pair) for pair in lines[0]["scores"].values())
    assert list(folder.glob("samples-*.png"))


def test_only_the_generator_step_moves_the_generator(trained):
    run, _ = trained
    frozen = [p for p in run.classifier.parameters()] + [p for p in run.frozen.parameters()]
    assert frozen and not any(p.requires_grad for p in frozen)
    assert all(p.requires_grad for p in run.discriminator.parameters())


def test_pairs_are_of_one_class_and_share_references():
    run = tiny_run()
    batch = run.draw(torch.Generator().manual_seed(0))
    half = run.preset.batch // 2
    assert torch.equal(batch["real_labels"][0::2], batch["real_labels"][1::2])
    assert torch.equal(batch["labels"][:half], batch["labels"][half:])
    assert not torch.equal(batch["z"][:half], batch["z"][half:])
    for m in batch["masks"].values():
        assert torch.equal(m[:half], m[half:])


def test_averaged_generator_measures_statistics_anew(trained):
    run, _ = trained
    fresh = run.averaged_generator(batches=8)
    copied = dict(run.ema.module.named_buffers())
    changed = [not torch.equal(b, copied[n]) for n, b in fresh.named_buffers() if n.endswith("running_mean")]
    assert changed and all(changed)
    for (_, p), (_, q) in zip(fresh.named_parameters(), run.ema.module.named_parameters(), strict=True):
        assert torch.equal(p, q)
    assert all(torch.equal(b, copied[n]) for n, b in fresh.named_buffers() if n.endswith(("_u", "_v")))


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
    with pytest.raises(InputError, match="another --out"):
        tiny_run(seed=1).resume(run.state())
    (tmp_path / "checkpoint.pt").write_text("not a checkpoint")
    with pytest.raises(InputError, match="not a checkpoint"):
        train(tiny_run(), tmp_path, steps=1, progress=False)


def test_rate_falls_by_a_cosine_of_images():
    run = tiny_run()
    assert run.rate_share() == 1
    run.step_count = run.preset.images // run.preset.batch // 2
    assert run.rate_share() == pytest.approx((1 + run.preset.final_share) / 2)
    run.step_count = 10**6
    assert run.rate_share() == run.preset.final_share


def test_classes_must_fit_the_classifier():
    run = tiny_run()
    run.photos.classes = CLASSES[:2]
    with pytest.raises(InputError, match="train-classifier"):
        type(run)(run.preset, run.photos, run.classifier, run.frozen, 0)


def test_composed_references_take_cells_of_another_class():
    run = tiny_run()
    half = run.preset.batch // 2
    batch = run.draw(torch.Generator().manual_seed(0))
    batch["composed"], batch["level"] = torch.zeros(half, 1, 32, 32), torch.full((half,), LEVELS.index("conv3"))
    plain = run.features(batch)
    batch["composed"][:, :, :8, :8] = 1  # conv3 has 4x4 cells of 8 pixels: the first one
    mixed = run.features(batch)
    assert all(torch.equal(plain[name], mixed[name]) for name in LEVELS if name != "conv3")
    assert torch.equal(mixed["conv3"][:half, :, 0, 0], plain["conv3"][:half, :, 0, 0].roll(2, 0))
    assert torch.equal(mixed["conv3"][..., 1:], plain["conv3"][..., 1:])


def test_a_part_is_compared_in_its_own_window():
    """Right where the window shows the other reference, whatever is around; the tiny preset has rows of all levels."""
    run = tiny_run()
    half = run.preset.batch // 2
    batch = run.draw(torch.Generator().manual_seed(0))
    composed = torch.zeros(half, 1, 32, 32)
    assert run._part(batch["references"].repeat(2, 1, 1, 1), batch | {"parts": torch.arange(0)}) == 0
    composed[:2, :, 8:24, 4:20] = 1
    batch |= {"composed": composed, "parts": torch.arange(2), "windows": masks.windows(composed)}
    batch["level"] = torch.full((half,), LEVELS.index("conv4"))
    others = batch["references"].roll(2, 0)
    right = torch.where(composed > 0, others, batch["references"])
    right[..., 3:25, 3:21] = others[..., 3:25, 3:21]  # a pixel more all round, for the interpolation
    wrong = run._part(batch["references"].repeat(2, 1, 1, 1), batch).item()
    assert wrong > 0 and run._part(right.repeat(2, 1, 1, 1), batch).item() < 1e-3 * wrong


def test_another_label_costs_only_where_it_was_drawn():
    """The cross-entropy of the classifier's own logits and the edges' distance, on relabelled rows alone."""
    run = tiny_run()
    batch = run.draw(torch.Generator().manual_seed(0))
    batch["relabel"] = torch.zeros(run.preset.batch, dtype=torch.bool)
    fake = batch["references"].repeat(2, 1, 1, 1)
    assert run._other_label(fake, run.classifier.pyramid(fake), batch) == 0
    batch["relabel"][0] = True
    loss = run._other_label(fake, run.classifier.pyramid(fake), batch)
    probability = run.classifier(fake[:1]).softmax(1)[0, batch["labels"][0]]  # the edges are the reference's own
    assert loss.item() == pytest.approx(-run.preset.other_label * float(probability.log()) / run.preset.batch, rel=1e-3)


@pytest.mark.parametrize("part", WITHOUT)
def test_a_loss_left_out_moves_nothing(part):
    """The generator's gradient without one part is that of the other parts."""
    whole, less = tiny_run(), tiny_run()
    preset = without(less.preset, part)
    less = Run(preset, less.photos, less.classifier, less.frozen, 0)
    for run in (whole, less):
        run.step(), run.step()
    same = [torch.equal(a, b) for a, b in zip(whole.generator.parameters(), less.generator.parameters(), strict=True)]
    assert not all(same)
    if part == "adversarial":
        start = Run(preset, less.photos, less.classifier, less.frozen, 0).discriminator
        for a, b in zip(less.discriminator.parameters(), start.parameters(), strict=True):
            assert torch.equal(a, b)


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
