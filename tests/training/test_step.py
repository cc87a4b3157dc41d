"""A step with less memory: inner maps computed anew, the batch in parts, and networks that torch.compile has fused."""

from copy import deepcopy
from dataclasses import fields, replace

import pytest
import torch
from torchvision.models import vgg16

from conftest import CLASSES, tiny_photos, tiny_run
from pyramid.classifier import Classifier
from pyramid.cli import main
from pyramid.data import Photos
from pyramid.device import in_precision, seeded
from pyramid.errors import InputError
from pyramid.presets import PRESETS, MaskShares
from pyramid.training import Run, averaging, objective
from pyramid.training.record import Metrics
from pyramid.training.sampling import DRAW_NAMES, OF_BOTH_Z, Batch
from pyramid.training.step import economise

# no part of another reference, whose choice goes by the batch; no term that is divided by a mean over the batch
ROWS_APART = replace(PRESETS["tiny32"], batch=16, fixed_pattern=0.0, shares=MaskShares(compose=0.0), r1_every=1)


def run_of(preset=ROWS_APART) -> Run:
    with seeded(7):
        classifier = Classifier(len(CLASSES), **preset.classifier)
    return Run(preset, tiny_photos(), classifier, 0)


def gradients(run: Run) -> dict[str, torch.Tensor]:
    """Of both networks at the first draw, neither of which moves."""
    for optimiser in run.optimisers.values():
        optimiser.step = lambda *_, **__: None
    run.learn(run.sampler.draw(0), objective.weights(run.preset, 0))
    networks = {"generator": run.generator, "discriminator": run.discriminator}
    found = {f"{n}.{name}": p.grad for n, network in networks.items() for name, p in network.named_parameters()}
    return {name: gradient.clone() for name, gradient in found.items() if gradient is not None}


def state(run: Run) -> dict[str, torch.Tensor]:
    return run.generator.state_dict() | {f"d.{k}": v for k, v in run.discriminator.state_dict().items()}


def test_recomputed_maps_give_the_same_step_to_the_bit():
    """Three steps, statistics of the batch norms included: they are not updated a second time."""
    plain, thrifty = tiny_run(), tiny_run()
    economise(thrifty, recompute=True)
    for run in (plain, thrifty):
        for _ in range(3):
            run.step(Metrics())
    for name, value in state(plain).items():
        assert torch.equal(value, state(thrifty)[name]), name


def test_recomputing_keeps_less_for_the_way_back():
    """Numbers that autograd saves of a generator's and a classifier's pass: a third at the very most."""
    kept = {}
    for recompute in (False, True):
        run = run_of()
        economise(run, recompute=recompute)
        saved: list[int] = []
        with torch.autograd.graph.saved_tensors_hooks(lambda t, saved=saved: saved.append(t.numel()) or t, lambda t: t):
            batch = run.sampler.draw(0)
            fake = run.generator(run.encode(batch), batch.masks, batch.z, batch.labels)
            objective.look(batch, fake, run.classifier)
        kept[recompute] = sum(saved)
    assert kept[True] < kept[False] / 3


@pytest.mark.parametrize("parts", [2, 4])
def test_gradients_of_the_parts_are_those_of_the_whole(parts, monkeypatch):
    """Where nothing is taken over the rows of a batch: batch norms by their statistics, spectral norm as it stands."""
    monkeypatch.setattr("pyramid.device.autocast_dtype", lambda device: None)  # in float32, wherever this runs
    whole, cut = run_of(), run_of()
    economise(cut, parts=parts)
    for run in (whole, cut):
        run.generator.eval()
        run.discriminator.eval()
    one, other = gradients(whole), gradients(cut)
    assert one.keys() == other.keys() and len(one) > 100
    for name, gradient in one.items():
        torch.testing.assert_close(other[name], gradient, rtol=1e-3, atol=1e-4 * float(gradient.abs().max() + 1e-3))


def test_with_its_batch_norms_at_work_a_part_has_its_own_mean():
    """What the docstring says differs, differs; the statistics are updated once a part."""
    whole, cut = run_of(), run_of()
    economise(cut, parts=2)
    one, other = gradients(whole), gradients(cut)
    assert any((one[name] - other[name]).abs().max() > 1e-3 * one[name].abs().max() for name in one)
    counts = {run.generator.norm.norm.num_batches_tracked.item() for run in (cut,)}
    assert counts == {2} and whole.generator.norm.norm.num_batches_tracked == 1


def test_a_part_is_a_batch():
    """Whole pairs, both z of each reference, the label of a composed part from a pair of the same part."""
    run = run_of(replace(ROWS_APART, shares=MaskShares(region=1.0, several=0, closed=0, relabel=0, compose=1.0)))
    economise(run, parts=2)
    batch = run.sampler.draw(0)
    parts, quarter = batch.split(2), run.preset.batch // 4
    for f in fields(Batch):
        if f.name == "masks":
            pairs = [(batch.masks[n], [part.masks[n] for part in parts]) for n in batch.masks]
        elif f.name == "shift":
            pairs = [(batch.shift[i], [part.shift[i] for part in parts]) for i in range(2)]
        else:
            pairs = [(getattr(batch, f.name), [getattr(part, f.name) for part in parts])]
        for value, cut in pairs:
            rows = range(len(value)) if f.name != "others" else None
            for i, part in enumerate(cut):
                mine = [r for r in rows or [] if r % (2 * quarter) // quarter == i] if f.name in OF_BOTH_Z else (
                    [r for r in rows or [] if r // quarter == i]
                )  # fmt: skip
                assert torch.equal(part, value if rows is None else value[mine]), f.name
    composed = 0
    for part in parts:
        rows = part.composed.flatten(1).any(1).nonzero().flatten().tolist()
        composed += len(rows)
        assert all(part.labels[r] == part.real_labels[(r - 2) % quarter] for r in rows)
    assert composed >= 2


def test_a_run_in_parts_goes_its_way():
    """A few steps: every row is counted in the metrics, the average's statistics are measured part by part."""
    run = run_of(replace(PRESETS["tiny32"], batch=16))
    economise(run, parts=2, recompute=True)
    metrics, before = Metrics(), deepcopy(state(run))
    for _ in range(2):
        run.step(metrics)
    line = metrics.line()
    assert sum(metrics.sums[("scores",)][0]) == 2 * 8 and set(line["scores"]) <= set(DRAW_NAMES)
    assert any(not torch.equal(before[name], value) for name, value in state(run).items())
    assert torch.isfinite(averaging.averaged_generator(run, batches=2).norm.norm.running_mean).all()


def test_a_step_of_photos128_from_random_weights():
    """Both networks move, and what they make is as large as it should be. (Of paper256: docs/scale.md.)"""
    preset = replace(PRESETS["photos128"], batch=4)
    images = torch.randint(0, 256, (4, 3, 128, 128), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    photos = Photos(images, torch.arange(4) % 2, torch.zeros(4, dtype=torch.bool), ("a", "b"))
    with seeded(0):
        run = Run(preset, photos, Classifier(2, **preset.classifier), 0)
    before, metrics = deepcopy(state(run)), Metrics()
    run.step(metrics)
    after = state(run)
    assert torch.isfinite(torch.cat([v.flatten().float() for v in after.values()])).all()
    assert all(not torch.equal(after[name], before[name]) for name in ("to_rgb.weight", "d.pixels.entry.bias"))
    assert run.ema.module.to_rgb.weight.shape == (3, preset.generator_channels[-1], 3, 3)
    batch = run.sampler.draw(1)
    assert run.generator(run.encode(batch), batch.masks, batch.z, batch.labels).shape == (4, 3, 128, 128)


def test_paper256_reads_a_map_of_7_as_torchvision_does():
    """fc6 of 512 x 7 x 7 numbers, out of conv5's 8 x 8; every shape on the way, without content."""
    preset = PRESETS["paper256"]
    with torch.device("meta"):
        classifier, theirs = Classifier(365, **preset.classifier), vgg16(num_classes=365)
        assert {k: v.shape for k, v in classifier.named_parameters()} == {
            k: v.shape for k, v in theirs.named_parameters()
        }
        features = classifier.pyramid(torch.zeros(2, 3, 256, 256))
    assert {name: tuple(f.shape[1:]) for name, f in features.items()} == preset.shapes(365)
    assert preset.shapes(365)["conv5"] == (512, 8, 8)


def test_a_batch_that_cannot_be_cut_is_refused():
    with pytest.raises(InputError, match="batch of 8 cannot be cut into 3 parts.*divisor of 2"):
        economise(tiny_run(), parts=3)


def test_the_command_says_so_before_it_reads_a_photograph(capsys):
    assert main(["train", "photos64", "--data", "nowhere", "--parts", "3"]) == 2
    assert "cannot be cut into 3 parts" in capsys.readouterr().err


def test_recomputing_and_compiling_exclude_each_other():
    with pytest.raises(InputError, match="--recompute and --compile do not go together"):
        economise(tiny_run(), recompute=True, compiled=True)


def test_compiled_networks_compute_the_same(monkeypatch):
    """Traced and taken apart as for a compiler, run as they are: a compiler of one's own takes minutes."""
    plain, fused = run_of(), run_of()
    compiled = torch.compile
    monkeypatch.setattr(torch, "compile", lambda work, **options: compiled(work, **options | {"backend": "aot_eager"}))
    economise(fused, compiled=True)
    with in_precision(None):  # in half precision a compiler rounds elsewhere
        one, other = gradients(plain), gradients(fused)
    assert one.keys() == other.keys()
    for name, gradient in one.items():
        floor = 1e-6  # below it a gradient of single precision is rounding
        torch.testing.assert_close(other[name], gradient, rtol=1e-3, atol=1e-4 * float(gradient.abs().max()) + floor)
