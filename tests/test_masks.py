import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from pyramid import masks
from pyramid.classifier import Classifier
from pyramid.device import seeded
from pyramid.errors import InputError
from pyramid.levels import CONV_LEVELS, LEVELS, depth
from pyramid.presets import PRESETS

boxes = st.tuples(*[st.integers(0, 63)] * 4)


def box_region(box, size=64):
    top, bottom = sorted(box[:2])
    left, right = sorted(box[2:])
    region = torch.zeros(size, size)
    region[top : bottom + 1, left : right + 1] = 1
    return region


@given(boxes)
@settings(max_examples=25, deadline=None)
def test_to_level_is_the_minimum_over_the_receptive_field_and_fades(box):
    """Checked cell by cell against windows written out in numpy, from the fields 6, 16 and 44 of VGG-16.

    A cell passes that minimum, or the mean of it over the 3x3 around the cell where that is less.
    """
    outside = (1 - box_region(box)).numpy()
    for name, field, stride in (("conv1", 6, 2), ("conv2", 16, 4), ("conv3", 44, 8)):
        got = masks.to_level(torch.from_numpy(outside)[None, None], name)[0, 0].numpy()
        margin = (field - stride) // 2
        expected = np.ones_like(got)
        for r in range(got.shape[0]):
            for c in range(got.shape[1]):
                top, left = r * stride - margin, c * stride - margin
                window = outside[max(top, 0) : top + field, max(left, 0) : left + field]
                expected[r, c] = window.min()
        around = np.pad(expected, 1, mode="edge")
        mean = np.stack([around[i : i + len(got), j : j + len(got)] for i in range(3) for j in range(3)]).mean(0)
        np.testing.assert_allclose(got, np.minimum(expected, mean), atol=1e-6)
        assert not got[expected == 0].any()  # what was closed stays closed


@pytest.mark.parametrize("size", [64, 128])
def test_closed_pixels_do_not_leak(size):
    """Noise in the closed part changes no masked feature, yet conv1 and conv2 still pass somewhere."""
    with seeded(0):
        classifier = Classifier(3, size, 0.0625).eval()
    inside = torch.zeros(size, size)
    inside[size // 4 : size // 2, size // 4 : size // 2] = 1
    generator = torch.Generator().manual_seed(0)
    photo = torch.rand(1, 3, size, size, generator=generator) * 2 - 1
    noise = torch.rand(1, 3, size, size, generator=generator) * 2 - 1
    changed = torch.where(inside.bool(), noise, photo)
    at = masks.region(inside, "conv4").at(size)
    with torch.no_grad():
        before, after = classifier.pyramid(photo), classifier.pyramid(changed)
    for name in ("conv1", "conv2", "conv3"):
        assert ((before[name] - after[name]) * at[name]).abs().max() < 1e-5
        moved = (before[name] - after[name]).abs().amax(1, keepdim=True) > 1e-5
        closed = (at[name] == 0).float()
        grown = -torch.nn.functional.max_pool2d(-closed, 3, 1, 1)  # closed part, one cell smaller
        assert (moved & (grown == 0)).any()  # so with a margin one cell smaller it would leak
    assert at["conv1"].any() and at["conv2"].any()


@given(st.dictionaries(st.sampled_from(LEVELS), st.floats(0, 1)), st.sampled_from([32, 64, 128]))
@settings(max_examples=30, deadline=None)
def test_soft_amounts_arrive_where_they_were_set(amounts, size):
    at = masks.soft(**amounts).at(size, batch=2)
    for name in LEVELS:
        assert torch.all(at[name] == torch.tensor(amounts.get(name, 0.0), dtype=torch.float32))
        assert at[name].shape[0] == 2


def test_region_opens_fine_levels_outside_only():
    inside = box_region((20, 40, 20, 40))
    at = masks.region(inside, "conv5").at(64)
    assert at["conv5"].min() == 1 and at["fc7"].max() == 0 and at["fc8"].max() == 0
    assert at["conv1"][0, 0, 15, 15] == 0 and at["conv1"][0, 0, 0, 0] == 1


@pytest.mark.parametrize("bad", [1.5, -0.1, float("nan")])
def test_amount_out_of_range_is_refused(bad):
    with pytest.raises(InputError, match="conv2"):
        masks.soft(conv2=bad)


def test_touched_counts_every_cell_with_a_pixel_of_the_region():
    region = torch.zeros(1, 1, 64, 64)
    region[..., 15:33, 20] = 1  # rows 15 to 32: cells 0, 1 and 2 of 16 pixels; column 20: cell 1
    cells = masks.touched(region, 4)[0, 0]
    assert cells.nonzero().tolist() == [[0, 1], [1, 1], [2, 1]]


def test_windows_enlarge_the_box_around_a_region():
    region = torch.zeros(2, 1, 64, 64)
    region[0, :, 8:24, 16:48] = 1  # an ellipse would have the same box
    grid = torch.nn.functional.affine_grid(masks.windows(region), (2, 1, 64, 64), align_corners=False)
    image = torch.rand(2, 1, 64, 64, generator=torch.Generator().manual_seed(0))
    seen = torch.nn.functional.grid_sample(image, grid, align_corners=False)
    cut = torch.nn.functional.interpolate(image[:1, :, 8:24, 16:48], (64, 64), mode="bilinear")
    torch.testing.assert_close(seen[:1, :, 4:-4, 2:-2], cut[..., 4:-4, 2:-2], atol=1e-4, rtol=1e-4)
    torch.testing.assert_close(seen[1:], image[1:], atol=1e-4, rtol=1e-4)  # an empty region: all of it


def test_composed_samples_are_of_type_2_and_closed_where_the_other_comes_in():
    drawn = masks.draw(3000, 64, PRESETS["photos64"].shares, torch.Generator().manual_seed(1))
    composed = drawn.composed.flatten(1).amax(1) > 0
    assert 0.03 < composed.float().mean() < 0.15
    assert drawn.level[composed].unique().tolist() == [depth("conv3"), depth("conv4"), depth("conv5")]
    assert not (composed & drawn.relabel).any()
    for name in ("conv1", "conv2"):
        side = drawn.masks[name].shape[-1]
        inside = masks.touched(drawn.composed, side)
        assert drawn.masks[name][inside & composed.view(-1, 1, 1, 1)].max() == 0
    some = drawn.masks["conv1"][composed]
    assert some.amax((1, 2, 3)).mean() > 0.5  # and mostly open somewhere outside


def test_training_draws_keep_their_shares():
    shares = PRESETS["photos64"].shares
    drawn = masks.draw(6000, 64, shares, torch.Generator().manual_seed(0))
    tolerance = 0.02  # three standard deviations of a share of 6,000
    assert abs((drawn.level == masks.CLOSED).float().mean() - shares.closed) < tolerance
    assert abs((drawn.level == masks.SEVERAL).float().mean() - shares.several) < tolerance
    whole = torch.stack([drawn.masks[n].flatten(1).amin(1) for n in LEVELS], 1)
    some = torch.stack([drawn.masks[n].flatten(1).amax(1) for n in LEVELS], 1)
    closed = drawn.level == masks.CLOSED
    assert some[closed].max() == 0
    single = drawn.level < len(LEVELS)
    for i, name in enumerate(LEVELS):
        of_level = (drawn.level == i) & ~drawn.relabel
        assert whole[of_level, i].min() == 1, name  # open everywhere
        assert some[of_level, i + 1 :].numel() == 0 or some[of_level, i + 1 :].max() == 0  # deeper ones closed
    finest = (some > 0).float().argmax(1)
    eligible = ~closed & (finest >= depth("conv3"))
    share = drawn.relabel.sum() / (eligible | drawn.relabel).sum()
    assert 0.10 <= share <= 0.15
    assert some[drawn.relabel][:, depth("fc7") :].max() == 0  # fc levels closed under another label
    assert torch.equal(whole[drawn.relabel & single], some[drawn.relabel & single])  # one amount everywhere
    amount = some[drawn.relabel & single].amax(1)
    assert abs(amount.mean() - 0.5) < 0.05  # strengths from U(0, 1): three standard deviations of 300 draws
    typed2 = single & ((some > 0).sum(1) > 1)
    assert 0.1 < typed2.float().mean() < shares.region + tolerance  # type 2 shows wherever finer levels exist


def test_draws_come_from_the_generator_alone():
    shares = PRESETS["tiny32"].shares
    first, second = (masks.draw(16, 32, shares, torch.Generator().manual_seed(3)) for _ in range(2))
    assert all(torch.equal(first.masks[name], second.masks[name]) for name in CONV_LEVELS)
