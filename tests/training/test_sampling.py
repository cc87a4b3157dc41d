"""What is drawn for a step."""

from dataclasses import replace

import pytest
import torch

from conftest import CLASSES, tiny_photos
from pyramid import masks
from pyramid.levels import CONV_LEVELS, LEVELS, depth
from pyramid.presets import PRESETS, MaskShares
from pyramid.training import sampling


def test_composed_samples_are_of_type_2_and_closed_where_the_other_comes_in():
    drawn = sampling.draw_masks(3000, 64, PRESETS["photos64"].shares, torch.Generator().manual_seed(1))
    composed = drawn.composed.flatten(1).amax(1) > 0
    assert 0.03 < composed.float().mean() < 0.15
    assert drawn.level[composed].unique().tolist() == [depth("conv3"), depth("conv4"), depth("conv5")]
    assert not (composed & drawn.relabelled).any()
    for name in ("conv1", "conv2"):
        side = drawn.masks[name].shape[-1]
        inside = masks.touched(drawn.composed, side)
        assert drawn.masks[name][inside & composed.view(-1, 1, 1, 1)].max() == 0
    some = drawn.masks["conv1"][composed]
    assert some.amax((1, 2, 3)).mean() > 0.5  # and mostly open somewhere outside


def test_training_draws_keep_their_shares():
    shares = PRESETS["photos64"].shares
    drawn = sampling.draw_masks(6000, 64, shares, torch.Generator().manual_seed(0))
    tolerance = 0.02  # three standard deviations of a share of 6,000
    assert abs((drawn.level == sampling.CLOSED).float().mean() - shares.closed) < tolerance
    assert abs((drawn.level == sampling.SEVERAL).float().mean() - shares.several) < tolerance
    whole = torch.stack([drawn.masks[n].flatten(1).amin(1) for n in LEVELS], 1)
    some = torch.stack([drawn.masks[n].flatten(1).amax(1) for n in LEVELS], 1)
    closed = drawn.level == sampling.CLOSED
    assert some[closed].max() == 0
    single = drawn.level < len(LEVELS)
    for i, name in enumerate(LEVELS):
        of_level = (drawn.level == i) & ~drawn.relabelled
        assert whole[of_level, i].min() == 1, name  # open everywhere
        assert some[of_level, i + 1 :].numel() == 0 or some[of_level, i + 1 :].max() == 0  # deeper ones closed
    finest = (some > 0).float().argmax(1)
    eligible = ~closed & (finest >= depth("conv3"))
    share = drawn.relabelled.sum() / (eligible | drawn.relabelled).sum()
    assert 0.10 <= share <= 0.15
    assert some[drawn.relabelled][:, depth("fc7") :].max() == 0  # fc levels closed under another label
    assert torch.equal(whole[drawn.relabelled & single], some[drawn.relabelled & single])  # one amount everywhere
    amount = some[drawn.relabelled & single].amax(1)
    assert abs(amount.mean() - 0.5) < 0.05  # strengths from U(0, 1): three standard deviations of 300 draws
    typed2 = single & ((some > 0).sum(1) > 1)
    assert 0.1 < typed2.float().mean() < shares.region + tolerance  # type 2 shows wherever finer levels exist


def test_draws_come_from_the_generator_alone():
    shares = PRESETS["tiny32"].shares
    first, second = (sampling.draw_masks(16, 32, shares, torch.Generator().manual_seed(3)) for _ in range(2))
    assert all(torch.equal(first.masks[name], second.masks[name]) for name in CONV_LEVELS)


def draws(seed: int = 0, count: int = 100, **shares) -> list[sampling.Batch]:
    """Steps' draws from the tiny photographs."""
    preset = replace(PRESETS["tiny32"], shares=MaskShares(**shares))
    sampler = sampling.Sampler(tiny_photos(), preset, z_size=4, seed=seed)
    return [sampler.draw(step) for step in range(count)]


def test_a_draw_comes_from_seed_and_step():
    for name in ("z", "references"):
        first, again, other = ([getattr(b, name).numpy().tobytes() for b in draws(seed, 3)] for seed in (0, 0, 1))
        assert first == again and len({*first, *other}) == 6


def test_another_label_is_any_label_but_the_references_own():
    """Under nothing but conv4, every reference is relabelled: the other two of three labels, half of the draws each."""
    batches = draws(region=0, closed=0, several=0, relabel=1.0, levels=(0, 0, 0, 1, 0, 0, 0))
    own = torch.cat([sampling.Batch.both_z(batch.real_labels) for batch in batches])  # (800,)
    told, judged = (torch.cat([getattr(batch, name) for batch in batches]) for name in ("labels", "judged"))
    assert torch.equal(told, judged)
    steps = ((told - own) % len(CLASSES)).bincount(minlength=len(CLASSES)) / len(own)
    assert steps[0] == 0 and abs(steps[1] - 0.5) < 0.1  # four standard deviations of 400 draws
    alone = draws(count=5, region=0, closed=0, several=0, relabel=0)
    assert all(torch.equal(sampling.Batch.both_z(batch.real_labels), batch.labels) for batch in alone)


def test_of_a_composition_the_generator_is_told_the_part_and_judged_by_the_background():
    for batch in draws(count=10, region=1.0, closed=0, several=0, relabel=0, compose=1.0, levels=(0, 0, 1, 0, 0, 0, 0)):
        assert batch.composed.flatten(1).any(1).all()
        a, b = batch.real_labels[0], batch.real_labels[2]  # of two pairs of references
        assert batch.judged.tolist() == [a, a, b, b] * 2 and batch.labels.tolist() == [b, b, a, a] * 2


@pytest.mark.parametrize("way", ["paired", "summed"])
def test_a_discriminator_may_be_told_the_drawn_level_beside_the_label(way):
    """Numbers of its own for each label and draw, the same for a reference and its images; the rest is as it was."""
    shares = MaskShares(region=0.3, closed=0.2, several=0.2, relabel=0, compose=0, levels=(1, 1, 1, 1, 1, 1, 1))
    told, plain = (
        sampling.Sampler(tiny_photos(), replace(PRESETS["tiny32"], shares=shares, told_level=on), 4, 0)
        for on in (way, "")
    )
    levels = set()
    for step in range(20):
        one, other = told.draw(step), plain.draw(step)
        assert torch.equal(one.references, other.references) and torch.equal(one.labels, other.labels)
        assert torch.equal(other.real_judged, other.real_labels) and torch.equal(other.judged, other.labels)
        assert torch.equal(one.real_judged % len(CLASSES), one.real_labels)
        assert torch.equal(one.real_judged // len(CLASSES), one.level)
        assert torch.equal(one.judged, sampling.Batch.both_z(one.real_judged))
        levels |= set(one.level.tolist())
    assert levels == set(range(9))  # seven levels, all closed, several


def test_levels_are_drawn_by_their_weights():
    """Weights 1 to 7 in 28; 3,000 pairs draw a level: four standard deviations are 0.032."""
    shares = MaskShares(region=0, closed=0, several=0, relabel=0, levels=(1, 2, 3, 4, 5, 6, 7))
    drawn = sampling.draw_masks(6000, 32, shares, torch.Generator().manual_seed(0))
    assert torch.equal(drawn.level[0::2], drawn.level[1::2])
    torch.testing.assert_close(drawn.level.bincount() / 6000, torch.arange(1, 8) / 28, atol=0.032, rtol=0)


def test_three_in_four_regions_are_closed_inside():
    """A corner lies in no box or ellipse: open in three of four. A box has 0.525^2 of the area on the
    mean, an ellipse pi / 4 of that.
    """
    regions = sampling.random_regions(1600, 64, torch.Generator().manual_seed(0))
    for corner in (regions[..., 0, 0], regions[..., 0, -1], regions[..., -1, 0], regions[..., -1, -1]):
        assert abs(corner.mean() - 0.75) < 0.045  # four standard deviations
    inside = torch.where(regions[..., :1, :1] == 1, 1 - regions, regions).mean()
    assert abs(inside - 0.525**2 * (1 + torch.pi / 4) / 2) < 0.02
