"""The terms on a step's tensors: who is scored against whom, under which labels, and what learns from it how fast."""

from dataclasses import replace
from types import SimpleNamespace

import pytest
import torch

from conftest import tiny_run
from pyramid.levels import LEVELS
from pyramid.presets import GOES_WITH, PRESETS, TERMS, MaskShares, without
from pyramid.training import Run, objective
from pyramid.training.objective import Scores, Seen
from pyramid.training.record import Metrics
from pyramid.training.sampling import Batch

PRESET = PRESETS["tiny32"]


def test_references_are_real_and_generated_images_are_not():
    """Hinge of whole scores 2 | -2 and patches 0.5 | 0.25, of heads -1 | 3: (0 + (0.5 + 1.25)) / 2, and 2 + 4."""
    scores = Scores(
        real=[torch.tensor([[2.0]]), torch.tensor([[0.5]])], fake=[torch.tensor([[-2.0]]), torch.tensor([[0.25]])],
        real_heads=[torch.tensor([[-1.0]])], fake_heads=[torch.tensor([[3.0]])],
    )  # fmt: skip
    terms = objective.discriminator_terms(PRESET, None, None, None, scores)
    assert terms["adversarial"]().item() == pytest.approx(0.875) and terms["heads"]().item() == pytest.approx(6)
    generators = objective.paper_terms(SimpleNamespace(preset=PRESET, batch=None), scores)
    assert generators["adversarial"]().item() == pytest.approx((2 - 0.25) / 2)
    assert generators["heads"]().item() == pytest.approx(-3)


def test_references_are_scored_under_their_labels_and_images_under_those_they_are_judged_by():
    """A discriminator whose score is the image's value plus ten times its label."""

    def pixels(images, labels):
        return (images.mean((1, 2, 3)) + 10 * labels)[:, None], (images.mean((1, 2, 3)) + 10 * labels)[:, None]

    def forward_heads(features, labels):
        return [features["conv2"] + 10 * labels[:, None]]

    discriminator = SimpleNamespace(pixels=pixels, forward_heads=forward_heads)
    batch = SimpleNamespace(real_judged=torch.tensor([1, 2]), judged=torch.tensor([3, 4, 3, 4]))
    real = torch.tensor([0.1, 0.2]).view(2, 1, 1, 1).expand(2, 3, 4, 4)
    fake = torch.tensor([0.3, 0.4, 0.5, 0.6]).view(4, 1, 1, 1).expand(4, 3, 4, 4)
    seen = Seen(real, fake, {"conv2": torch.tensor([[0.1], [0.2]])}, {"conv2": torch.tensor([[0.3], [0.4]])})
    weight = {"adversarial": 1.0, "heads": 1.0}
    scores = objective.score(discriminator, batch, seen, weight)
    of_fakes = objective.score_fakes(discriminator, batch, seen, weight)
    references, images = [10.1, 20.2], [30.3, 40.4, 30.5, 40.6]
    for found, expected in ((scores.real, references), (scores.fake, images), (of_fakes.fake, images)):
        whole, patches = found
        assert whole[:, 0].tolist() == pytest.approx(expected) and torch.equal(whole, patches)
    heads = ((scores.real_heads, references), (scores.fake_heads, images[:2]), (of_fakes.fake_heads, images[:2]))
    for (found,), expected in heads:
        assert found[:, 0].tolist() == pytest.approx(expected)


def test_the_discriminator_sends_nothing_back_to_the_generator():
    """What a step gives each network to learn from, and whether its gradient reaches the generator's weights."""
    run, given = tiny_run(), {}
    run.update = lambda network, values, weight: given.update({network: values[0]})
    run.step(SimpleNamespace(add=lambda *_: None))
    for network, reaches in ((run.discriminator, False), (run.generator, True)):
        for name in ("adversarial", "heads"):
            loss, weights = given[network][name], [*run.generator.parameters()]
            gradients = torch.autograd.grad(loss, weights, retain_graph=True, allow_unused=True)
            assert any(g is not None and g.abs().max() > 0 for g in gradients) == reaches, name


def test_each_network_learns_at_its_own_rate():
    """Adam's first step moves a weight by its rate, whatever the gradient: beta1 is 0, and g / sqrt(g^2) is 1."""
    base = tiny_run()
    run = Run(replace(base.preset, learning_rate=5e-3, discriminator_rate=2e-3), base.photos, base.classifier, 0)
    weights = {run.generator.to_rgb.bias: 5e-3, run.discriminator.pixels.entry.bias: 2e-3}
    before = [weight.detach().clone() for weight in weights]
    run.step(Metrics())
    for weight, old, rate in zip(weights, before, weights.values(), strict=True):
        assert (weight.detach() - old).abs().max().item() == pytest.approx(rate, rel=1e-3)


def test_under_another_label_the_reconstruction_counts_by_its_scale():
    """Every entry is wrong by 1 of the first reference, relabelled, and by 3 of the second: (0.5 + 3) / 2 a level."""
    sides = {"conv1": 16, "conv2": 8, "conv3": 4, "conv4": 2, "conv5": 1}
    zeros = {name: torch.zeros(2, 3, side, side) for name, side in sides.items()}
    zeros |= {name: torch.zeros(2, 5) for name in ("fc7", "fc8")}
    masks = {name: torch.ones(4, 1, *f.shape[2:]) for name, f in zeros.items()}
    batch = SimpleNamespace(relabelled=torch.tensor([True, False]), masks=masks, split_z=Batch.split_z)
    wrong = {name: f + torch.tensor([1.0, 3.0]).view(2, *[1] * (f.dim() - 1)) for name, f in zeros.items()}
    made = SimpleNamespace(preset=PRESET, batch=batch, features=zeros, reencoded=wrong)
    assert PRESET.relabelled_scale == 0.5
    values = objective.paper_terms(made, Scores([], [], [], []))["reconstruction"]()
    assert values.tolist() == pytest.approx([1.75] * len(LEVELS))


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
    weighed = {"other_layout": 4.0, "retrieval": (0, 0, 2.0, 0, 0, 0, 0)}
    preset = replace(PRESETS["photos64"], images=1000, late=(0.2, 0.6), **weighed)
    at = {images: objective.weights(preset, images) for images in (0, 200, 300, 600, 5000)}
    assert [w["other_layout"] for w in at.values()] == pytest.approx([0, 0, 1, 4, 4])
    assert [w["retrieval"][2] for w in at.values()] == pytest.approx([0, 0, 0.5, 2, 2])
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


def test_diversity_by_drawn_level_sums_to_the_mean():
    """Pairs drawn at conv2, conv2 and fc8 with values 1, 2 and 6: their shares of the mean, 3."""
    batch = SimpleNamespace(level=torch.tensor([1, 1, 6]))
    by_level = objective.by_level(batch, torch.tensor([1.0, 2.0, 6.0])) / 3
    assert by_level.tolist() == [0, 1, 0, 0, 0, 0, 2, 0, 0]
