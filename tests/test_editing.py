"""The four uses, on an untrained tiny model: what must hold whatever the weights are."""

from dataclasses import replace
from types import SimpleNamespace

import pytest
import torch

from pyramid import editing, masks
from pyramid.errors import InputError
from pyramid.levels import LEVELS


@pytest.fixture(scope="module")
def model(tiny_model):
    return tiny_model


def picture(height, width, seed=0):
    return torch.rand(1, 3, height, width, generator=torch.Generator().manual_seed(seed)) * 2 - 1


def box(size, low, high):
    region = torch.zeros(size, size)
    region[low:high, low:high] = 1
    return region


def test_fit_takes_the_centre_and_leaves_a_fitting_picture_alone():
    wide = torch.zeros(1, 3, 40, 100)
    wide[..., 30:70] = 1.0
    assert torch.equal(editing.fit(wide, 20), torch.ones(1, 3, 20, 20))
    same = picture(32, 32)
    assert editing.fit(same, 32) is same


def test_every_use_returns_an_image_a_seed(model):
    photo, region = picture(48, 80), torch.zeros(48, 80)
    region[10:40, 30:50] = 1
    for images in (
        editing.repaint(model, photo, {"conv4": region}, seeds=(1, 2, 3)),
        editing.compose(model, photo, picture(64, 64, 1), box(64, 20, 50), (0.2, 0.2, 0.6, 0.6), seeds=(1, 2, 3)),
        editing.relabel(model, photo, model.classes[1], seeds=(1, 2, 3)),
        editing.reimagine(model, photo, seeds=(1, 2, 3)),
    ):
        assert images.shape == (3, 3, 32, 32)
        assert not torch.equal(images[0], images[1])
    again = editing.repaint(model, photo, {"conv4": region}, seeds=(2,))
    assert torch.allclose(again, editing.repaint(model, photo, {"conv4": region}, seeds=(1, 2))[1:], atol=1e-5)


def test_every_picture_of_a_batch_is_treated_by_itself(model):
    """Its own region, placement and label: the first row of a batch is what the use gives for that picture alone."""
    a, b = picture(48, 48), picture(48, 48, 1)
    regions = torch.stack([box(48, 5, 20), box(48, 25, 45)])[:, None]
    places = torch.tensor([[0.1, 0.1, 0.5, 0.5], [0.4, 0.3, 0.9, 0.8]])
    labels = torch.tensor([2, 0])
    uses = (
        lambda x, i: editing.repaint(model, x, {"conv3": regions[i]}, (4, 5), labels[i], paste=True),
        lambda x, i: editing.compose(model, x, x.flip(3), regions[i], places[i], "conv2", (4, 5), labels[i]),
        lambda x, i: editing.relabel(model, x, labels[i], seeds=(4, 5)),
        lambda x, i: editing.reimagine(model, x, seeds=(4, 5), label=labels[i]),
    )
    for use in uses:
        for rows in ([0, 1], [1, 0]):
            both = use(torch.cat([a, b])[rows], rows)  # picture 1 with two seeds, picture 2 with two seeds
            alone = use((a, b)[rows[0]], rows[:1])
            assert both.shape == (4, 3, 32, 32)
            torch.testing.assert_close(both[:2], alone, rtol=0, atol=1e-4)
            assert not torch.allclose(both[:2], both[2:], atol=1e-2)


def test_one_region_gives_the_masks_of_type_2():
    region = box(32, 12, 20)
    ours = editing.repaint_masks({"conv3": region.reshape(1, 1, 32, 32)}).at(32)
    papers = masks.region(region, "conv3").at(32)
    for name in LEVELS:
        assert torch.equal(ours[name], papers[name]), name


def test_two_regions_close_each_what_is_finer_than_its_level():
    left, right = torch.zeros(1, 1, 64, 64), torch.zeros(1, 1, 64, 64)
    left[..., :32], right[..., 32:] = 1, 1
    at = editing.repaint_masks({"conv4": left, "conv2": right}).at(64)
    assert at["conv5"].max() == 0 and at["conv4"].min() == 1
    assert at["conv1"].max() == 0  # closed in both
    assert at["conv2"][..., :8].max() == 0 and at["conv2"][..., 12:].min() == 1
    # one column of conv3's eight has a receptive field of 44 pixels clear of the left half; closed on one side,
    # the border on the other, it passes two thirds
    assert at["conv3"][..., :7].max() == 0
    torch.testing.assert_close(at["conv3"][..., 7:], torch.full((1, 1, 8, 1), 2 / 3))


def test_paste_keeps_the_photograph_outside_and_the_image_inside():
    photo, images, region = torch.zeros(1, 3, 64, 64), torch.ones(2, 3, 64, 64), box(64, 24, 40).reshape(1, 1, 64, 64)
    pasted = editing.feather(photo, images, region)
    assert pasted[..., 28:36, 28:36].min() == pytest.approx(1)  # 64 / 16 = 4 pixels to either side of the edge
    assert pasted[..., :20, :].max() == 0 and pasted[..., 44:, :].max() == 0
    row = pasted[0, 0, 32, 32:]
    # the mean of a step over nine pixels: ninths, falling by one a pixel across the edge between 39 and 40
    torch.testing.assert_close(row[3:13] * 9, torch.tensor([9.0, 8, 7, 6, 5, 4, 3, 2, 1, 0]))


def test_place_fills_the_box_with_the_region():
    foreground = torch.full((1, 3, 64, 64), -1.0)
    foreground[..., 8:24, 16:48] = 1.0  # a bright bar, marked as the region
    region = (foreground[:, :1] > 0).float()
    moved, inside = editing.place(foreground, region, (0.5, 0.25, 1.0, 0.75))
    assert inside[0, 0, 20:44, 36:60].min() > 0.99 and inside[0, 0, :12].max() < 0.01 and inside[..., :28].max() < 0.01
    assert moved[0, :, 20:44, 36:60].min() > 0.99
    assert inside.sum().item() == pytest.approx(32 * 32, rel=0.02)


@pytest.mark.parametrize("size, level", [(32, "conv3"), (64, "conv3"), (128, "conv4"), (256, "conv5")])
def test_a_part_is_composed_where_a_map_has_eight_cells_a_side(size, level):
    """conv3 halves a picture three times, conv5 five times: 64 / 8, 128 / 16 and 256 / 32 are 8."""
    assert editing.compose_level(SimpleNamespace(image_size=size)) == level


def test_compose_replaces_features_inside_only(model, monkeypatch):
    seen = {}

    def caught(features, masks, label, samples=1, seed=0):
        seen.update(features=features, masks=masks)
        return torch.zeros(1, 3, 32, 32)

    monkeypatch.setattr(type(model), "generate", lambda self, *args, **kwargs: caught(*args, **kwargs))
    background, foreground = picture(32, 32, 1), picture(32, 32, 2)
    editing.compose(model, background, foreground, torch.ones(32, 32), (0.0, 0.0, 0.5, 1.0), level="conv2")
    ours, theirs = model.features(background), seen["features"]
    assert torch.equal(theirs["conv2"][..., 4:], ours["conv2"][..., 4:])
    moved, _ = editing.place(foreground, torch.ones(1, 1, 32, 32), (0.0, 0.0, 0.5, 1.0))
    assert torch.equal(theirs["conv2"][..., :4], model.features(moved)["conv2"][..., :4])
    assert not torch.equal(theirs["conv2"][..., :4], ours["conv2"][..., :4])
    at = seen["masks"].at(32)
    assert at["conv1"][..., :8].max() == 0 and at["conv1"][..., 12:].min() == 1
    assert at["conv2"].min() == 1 and at["conv3"].max() == 0


def test_relabel_turns_the_amounts_down(model, monkeypatch):
    seen = []
    monkeypatch.setattr(
        type(model), "generate", lambda self, f, m, label, samples=1, seed=0: seen.append((m, label)) or f["conv1"]
    )
    editing.relabel(model, picture(32, 32), model.classes[0], levels=("conv3", "conv4"), strength=0.25)
    mask, label = seen[0]
    assert dict(mask.amounts) == {"conv3": 0.75, "conv4": 0.75} and label == model.classes[0]
    stubborn = replace(model, preset=replace(model.preset, relabel_strength=0.25))
    editing.relabel(stubborn, picture(32, 32), model.classes[0])
    assert dict(seen[1][0].amounts) == {"conv2": 0.75, "conv3": 0.75}  # the model's own strength


@pytest.mark.parametrize(
    "call, words",
    [
        (lambda m: editing.repaint(m, picture(32, 32), {}), "no region"),
        (lambda m: editing.repaint(m, picture(32, 32), {"conv9": torch.ones(32, 32)}), "conv9"),
        (lambda m: editing.repaint(m, picture(32, 32), {"conv4": torch.ones(16, 32)}), "size of the picture"),
        (lambda m: editing.repaint(m, picture(32, 32), {"conv4": torch.ones(32, 32)}, seeds=()), "no seeds"),
        (lambda m: editing.repaint(m, picture(32, 32), {"conv4": torch.ones(2, 1, 32, 32)}), "2 regions for 1"),
        (lambda m: editing.relabel(m, picture(32, 32), "moon"), "no label 'moon'"),
        (lambda m: editing.relabel(m, picture(32, 32), m.classes[0], strength=2), "strength"),
        (
            lambda m: editing.compose(m, picture(32, 32), picture(32, 32), torch.zeros(32, 32), (0, 0, 1, 1)),
            "region of the foreground is empty",
        ),
        (
            lambda m: editing.compose(m, picture(32, 32), picture(32, 32), torch.ones(32, 32), (0.5, 0, 0.5, 1)),
            "placement",
        ),
        (
            lambda m: editing.compose(m, picture(32, 32), picture(32, 32), torch.ones(32, 32), (0, 0, 1, 1), "fc7"),
            "fc7 has no places",
        ),
    ],
)
def test_bad_input_is_one_sentence(model, call, words):
    with pytest.raises(InputError, match=words):
        call(model)
