"""What is drawn for a step."""

import torch

from pyramid import masks
from pyramid.levels import CONV_LEVELS, LEVELS, depth
from pyramid.presets import PRESETS
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
