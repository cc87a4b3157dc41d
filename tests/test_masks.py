import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from pyramid import masks
from pyramid.classifier import Classifier
from pyramid.device import seeded
from pyramid.errors import InputError
from pyramid.levels import LEVELS

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
        classifier = Classifier(3, size, (4, 8, 16, 32, 32), 64, batch_norm=True).eval()
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


def test_boxes_and_the_boxes_around_them():
    regions = masks.box(torch.tensor([[0.25, 0.125, 0.75, 0.375], [0.0, 0.0, 1.0, 1.0]]), 64)
    assert regions.shape == (2, 1, 64, 64) and regions[0, :, 8:24, 16:48].min() == 1
    assert regions[0].sum() == 16 * 32 and regions[1].min() == 1
    assert masks.bounding_boxes(regions).tolist() == [[0.25, 0.125, 0.75, 0.375], [0, 0, 1, 1]]
    assert masks.bounding_boxes(torch.zeros(1, 1, 8, 8)).tolist() == [[0, 0, 1, 1]]  # nothing: the whole square
    assert torch.equal(masks.box((0.25, 0.125, 0.75, 0.375), 64), regions[:1])
