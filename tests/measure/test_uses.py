"""The measures of the four uses, on pictures for which the answer is known."""

import pytest
import torch

from pyramid import masks
from pyramid.data import Photos
from pyramid.errors import InputError
from pyramid.measure import uses


def test_boxes_have_the_promised_sides_and_border():
    boxes = uses.random_boxes(200, 64, torch.Generator().manual_seed(0))
    rows, columns = boxes.amax(3)[:, 0], boxes.amax(2)[:, 0]
    for extent in (rows, columns):
        assert extent[:, :8].max() == 0 and extent[:, 56:].max() == 0
        assert extent.sum(1).min() >= 22 and extent.sum(1).max() <= 35
    assert torch.equal(boxes.sum((1, 2, 3)), rows.sum(1) * columns.sum(1))
    assert len(torch.unique(boxes.flatten(1), dim=0)) > 190


def test_masked_mean_sees_the_region_only():
    values, region = torch.zeros(2, 3, 8, 8), torch.zeros(2, 1, 8, 8)
    values[0, :, :4], values[1] = 5.0, 2.0
    region[:, :, :2] = 1
    assert uses.masked_mean(values, region).tolist() == [5.0, 2.0]


def test_across_the_edge_by_hand():
    region = torch.zeros(1, 1, 8, 8)
    region[..., 2:6, 2:6] = 1
    flat, step = torch.full((1, 3, 8, 8), 0.3), torch.where(region.bool(), 0.5, -0.25).expand(1, 3, 8, 8)
    assert uses.across_the_edge(flat, region).item() == 0
    assert uses.across_the_edge(step, region).item() == pytest.approx(0.75)
    inner = torch.zeros(1, 3, 8, 8)
    inner[..., 3:5, 3:5] = 1.0  # a step that lies wholly inside
    assert uses.across_the_edge(inner, region).item() == 0


def test_edges_keep_the_layout_and_ignore_the_palette():
    images = torch.full((2, 3, 64, 64), -0.5)
    images[0, :, :32], images[1, :, :, 40:] = 0.5, 0.5  # bright above; bright at the right
    e, inverted = uses.drawn_edges(images), uses.drawn_edges(-0.4 * images)
    assert e.square().sum(1).tolist() == pytest.approx([1, 1], abs=1e-5)
    assert (e * inverted).sum(1).min() > 0.9 > 0.3 > (e[0] @ e[1]).item()


def test_a_photograph_of_the_wanted_class_is_found_or_asked_for():
    images, labels = torch.arange(5.0).view(5, 1, 1, 1), torch.tensor([0, 1, 0, 2, 1])
    found = uses.photographs_of(images, labels, torch.tensor([2, 0, 0, 1]), seed=0).flatten()
    assert labels[found.long()].tolist() == [2, 0, 0, 1]
    with pytest.raises(InputError, match="label number 3"):
        uses.photographs_of(images, labels, torch.tensor([3]), seed=0)


def test_layout_is_kept_by_what_has_the_same_edges():
    above, right = torch.full((1, 3, 64, 64), -0.5), torch.full((1, 3, 64, 64), -0.5)
    above[:, :, :32], right[..., 40:] = 0.5, 0.5
    assert uses.layout_kept(-0.4 * above, above, right).item()
    assert not uses.layout_kept(right, above, right).item()


def test_a_part_is_seen_where_it_is(tiny_model):
    region = torch.zeros(32, 32)
    region[8:20, 5:30] = 1
    assert (32 * masks.bounding_boxes(region[None, None])).tolist() == [[5, 8, 30, 20]]
    back, fore = (torch.rand(1, 3, 32, 32, generator=torch.Generator().manual_seed(k)) * 2 - 1 for k in (0, 1))
    pasted = torch.where(region > 0, fore, back)
    assert uses.part_seen(tiny_model, pasted, fore, back, region[None, None])
    assert not uses.part_seen(tiny_model, back, fore, back, region[None, None])
    beside = torch.where(region > 0, back, fore)  # the foreground everywhere but in the region
    assert not uses.part_seen(tiny_model, beside, fore, back, region[None, None])


def test_every_use_is_measured(tiny_model, monkeypatch):
    """The whole measurement runs, and shares lie in their intervals; the extractor is replaced by plain pixels."""

    class Pixels:
        features = 12

        def __init__(self, *_):
            pass

        def __call__(self, images):
            return images[..., ::16, ::16].flatten(1).double()

    monkeypatch.setattr(uses, "Extractor", Pixels)
    images = torch.randint(0, 256, (40, 3, 32, 32), generator=torch.Generator().manual_seed(0), dtype=torch.uint8)
    photos = Photos(images, torch.arange(40) % 3, torch.zeros(40, dtype=torch.bool), tiny_model.classes)
    result = uses.measure(tiny_model, photos, count=6, progress=False)
    assert list(result["rows"]) == ["repaint", "compose", "relabel", "reimagine"]
    for found in result["rows"].values():
        for value, low, high, _ in found.values():
            assert low is None or low <= value <= high
    table = uses.markdown_table(result)
    assert table.count("\n| ") == 11 and "6 held-out photographs" in table
