"""Our own terms: each by hand, and which samples count."""

import math
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from scipy import ndimage

from conftest import tiny_run
from pyramid.levels import LEVELS
from pyramid.presets import PRESETS
from pyramid.training import extras
from pyramid.training.extras import Made
from pyramid.training.sampling import Batch

FC8 = torch.tensor([[10.0, 1.0], [10.0, -1.0], [1.0, 10.0], [-1.0, 10.0]])  # class means (10, 0) and (0, 10)


PRESET = replace(PRESETS["tiny32"], retrieval=(0.0, 0.0, 0.0, 0.0, 2.0, 0.0, 8.0))


def retrieved(reencoded, name, alone=True):
    """The term of one reference, photograph 0, among photographs 1 and 2; classes 0, 0, 1, 1."""
    batch = SimpleNamespace(
        level=torch.tensor([LEVELS.index(name)]),
        alone=torch.tensor([alone]),
        real_labels=torch.tensor([0]),
        others=torch.tensor([1, 2]),
        relabelled=torch.zeros(1, dtype=torch.bool),
        both_z=Batch.both_z,
    )
    made = Made(
        PRESET, batch, torch.zeros(2, 3, 32, 32), dict.fromkeys(LEVELS, FC8[[0]]), dict.fromkeys(LEVELS, reencoded),
        classifier=None, generator=SimpleNamespace(class_mean=torch.tensor([[10.0, 0.0], [0.0, 10.0]])),
        gallery=dict.fromkeys(LEVELS, FC8), gallery_labels=torch.tensor([0, 0, 1, 1]),
    )  # fmt: skip
    return dict(zip(LEVELS, extras.retrieval(made).tolist(), strict=True))


def test_fc8_is_compared_by_what_sets_it_apart_from_its_class():
    """Less the class means: own (0, 1), others (0, -1) and (1, 0); cosines 1, -1 and 0, temperature 0.1."""
    expected = math.log(1 + math.exp(-20) + math.exp(-10))
    assert retrieved(FC8[[0]], "fc8")["fc8"] == pytest.approx(expected, abs=1e-5)
    assert retrieved(FC8[[1]], "fc8")["fc8"] == pytest.approx(20 + expected, rel=1e-5)


def test_other_levels_are_compared_as_they_are():
    """Cosines of photograph 1 to photographs 0, 1 and 2 over 0.02."""
    scores = torch.tensor([99 / 101, 1.0, 0.0]) / 0.02
    expected = float(scores.logsumexp(0) - scores[0])
    assert retrieved(FC8[[1]], "conv5")["conv5"] == pytest.approx(expected, rel=1e-3)


def test_samples_with_finer_levels_open_or_without_a_weight_do_not_count():
    assert set(retrieved(FC8[[1]], "conv5", alone=False).values()) == {0.0}
    assert set(retrieved(FC8[[1]], "conv2").values()) == {0.0}


def test_fixed_pattern_is_the_share_of_fine_detail_in_common():
    """Of images s p + noise (energies 1) it is s^2 / (1 + s^2); half of that where half of the pairs count."""
    g = torch.Generator().manual_seed(0)
    noise = torch.randn(2, 120, 3, 32, 32, generator=g)
    pattern = torch.randn(3, 32, 32, generator=g)
    every, half = torch.ones(60, dtype=torch.bool), torch.arange(60) < 30
    for s in (0.0, 0.4, 1.0):
        images = noise + s * pattern
        assert extras.common_detail(*images, every).item() == pytest.approx(s**2 / (1 + s**2), abs=0.02), s
        assert extras.common_detail(*images, half).item() == pytest.approx(s**2 / (1 + s**2) / 2, abs=0.02), s
    assert extras.common_detail(*noise, every & False) == 0


def test_fixed_pattern_pulls_the_images_of_a_pair_apart():
    """Its gradient at one image lies along the other's detail: a step against it lowers what they share."""
    g = torch.Generator().manual_seed(1)
    images = torch.randn(2, 2, 3, 16, 16, generator=g).requires_grad_()
    alike = torch.ones(1, dtype=torch.bool)
    (gradient,) = torch.autograd.grad(extras.common_detail(*images, alike), images)
    moved = (images - 0.1 * gradient / gradient.norm() * images.norm()).detach()
    assert extras.common_detail(*moved, alike) < extras.common_detail(*images, alike) - 0.01


def test_infonce_by_hand():
    reference, gallery = torch.tensor([[3.0, 0.0]]), torch.tensor([[0.0, 2.0], [5.0, 0.0]])
    # cosines: own 1; gallery 0 and 1; so the loss is ln(e¹ + e⁰ + e¹) - 1 at temperature 1
    loss = extras.find(torch.tensor([[1.0, 0.0]]), reference, gallery, temperature=1.0)
    assert loss.item() == pytest.approx(torch.tensor([1.0, 0.0, 1.0]).logsumexp(0).item() - 1)
    far = extras.find(torch.tensor([[0.0, 1.0]]), reference, gallery, temperature=1.0)
    assert far.item() == pytest.approx(torch.tensor([0.0, 1.0, 0.0]).logsumexp(0).item())


def test_edges_are_scipys_sobel_strengths_at_a_quarter_of_the_size():
    images = torch.rand(2, 3, 32, 32, generator=torch.Generator().manual_seed(0)) * 2 - 1
    got = extras.edge_strength(images).numpy()
    for image, row in zip(images.numpy(), got, strict=True):
        luminance = 0.299 * image[0] + 0.587 * image[1] + 0.114 * image[2]
        small = luminance.reshape(8, 4, 8, 4).mean((1, 3))
        slopes = [ndimage.sobel(small, axis, mode="nearest") for axis in (0, 1)]
        strength = np.sqrt(slopes[0] ** 2 + slopes[1] ** 2 + 1e-4).ravel()
        expected = strength - strength.mean()
        np.testing.assert_allclose(row, expected / np.linalg.norm(expected), atol=1e-4)


def test_other_layout_forgives_light_and_colour_but_no_move():
    image = torch.rand(1, 3, 32, 32, generator=torch.Generator().manual_seed(1)) * 2 - 1

    def moved(generated):
        """The term, of one relabelled reference whose two images are alike."""
        batch = SimpleNamespace(references=image, relabelled=torch.ones(1), both_z=Batch.both_z)
        return extras.other_layout(SimpleNamespace(batch=batch, fake=torch.cat([generated, generated]))).item()

    assert moved(image) == pytest.approx(0, abs=1e-5)
    assert moved(0.5 - 0.3 * image) < 0.05  # darker where it was brighter
    assert moved(image.roll((8, 12), (2, 3))) > 0.5


def test_another_label_is_asked_for_by_its_own_name():
    """Logits 2 and 0, features halved by a deviation of 2; one of two references under the other label, 1."""
    batch = SimpleNamespace(
        labels=torch.tensor([1, 0, 1, 0]), real_labels=torch.tensor([0, 0]), relabelled=torch.tensor([True, False]),
        split_z=Batch.split_z,
    )  # fmt: skip
    made = SimpleNamespace(
        batch=batch,
        reencoded={"fc8": torch.tensor([[1.0, 0.0], [1.0, 0.0]])},
        classifier=SimpleNamespace(level_std=torch.tensor([1.0] * 6 + [2.0])),
    )
    assert extras.other_label(made).item() == pytest.approx((math.log(1 + math.exp(-2)) + 2) / 2)


def made_of(run, batch, fake) -> Made:
    """What the terms look at, had a step made these images."""
    half = len(fake) // 2
    features = {name: f[:half] for name, f in run.encode(batch).items()}
    return Made(
        run.preset, batch, fake, features, run.classifier.pyramid(fake[:half]), run.classifier, run.generator,
        run.gallery, run.photos.labels,
    )  # fmt: skip


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
