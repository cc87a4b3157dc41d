"""At which level people are lost: cells on maps by hand, and stand-ins for reader and model that lose what is known."""

import numpy as np
import pytest
import torch

from pyramid.errors import InputError
from pyramid.measure import people
from pyramid.measure.materials import material_shares, pictures
from pyramid.model import load
from pyramid.scenes import MATERIALS, Scene, paint, plan, without_figures

SAND, BUILT, CROP, PERSON = (MATERIALS.index(name) for name in ("sand", "built", "crop", "person"))
NUMBERS = range(1_000_000, 1_000_050)


def scene(things: np.ndarray, kinds: tuple[str, ...], materials: np.ndarray) -> Scene:
    return Scene(np.zeros((*things.shape, 3), np.uint8), materials, "beach", "day", things, kinds)


@pytest.fixture
def by_hand():
    """16 x 16 pixels, 4 x 4 cells: a person of 30 pixels, an umbrella of 16, a bale on its own crop."""
    things, ground = np.zeros((16, 16), np.int16), np.full((16, 16), SAND, np.uint8)
    ground[8:] = CROP
    things[0:8, 0:3], things[0:3, 4:6] = 1, 1  # cells (0, 0), (1, 0): 12 of 16 pixels each; (0, 1): 6, too few
    things[0:4, 12:16] = 2  # cell (0, 3), whole
    things[12:16, 0:4] = 3
    materials = np.choose(things, (ground, PERSON, BUILT, CROP)).astype(np.uint8)
    empty = scene(np.zeros_like(things), ("",), ground)
    return people.cells_of([scene(things, ("", "person", "umbrella", "bale"), materials)], [empty], side=4)


def test_cells_belong_to_what_fills_half_of_them(by_hand):
    group = torch.full((1, 4, 4), -1)
    group[0, :2, 0], group[0, 0, 3] = people.GROUPS.index("people"), people.GROUPS.index("others")
    assert torch.equal(by_hand.group, group)  # and neither the bale nor the 6 pixels
    assert set(by_hand.material[group == 0].tolist()) == {PERSON} and by_hand.material[0, 0, 3] == BUILT


def test_strata_are_steps_of_two_in_area_and_the_share_of_the_cell(by_hand):
    """30 of 256 pixels lie between 1/16 and 1/8, 16 are 1/16 itself: the same step, three below the last."""
    assert by_hand.stratum[0, 0, 0] == by_hand.stratum[0, 1, 0] == by_hand.stratum[0, 0, 3]
    assert by_hand.stratum[0, 0, 0] == 2 * (people.STEPS - 4) + 1
    counts = people.count_cells(by_hand.group == 0, by_hand.stratum)
    assert counts.shape == (1, people.STRATA) and counts.sum() == 2


def test_sizes_are_weighted_as_people_have_them(monkeypatch):
    monkeypatch.setattr(people, "LEAST_CELLS", 5)
    ours, others = torch.tensor([30.0, 10.0, 100.0, 4.0]), torch.tensor([5.0, 50.0, 4.0, 60.0])
    assert people.size_weights(ours, others).tolist() == [0.75, 0.25, 0, 0]
    with pytest.raises(InputError, match="measure more scenes"):
        people.size_weights(ours[2:], others[2:])


@pytest.fixture(scope="module")
def world():
    """Images of 50 scenes -> the maps they come with: as they are, without figures, and without people alone."""
    plans = [plan(number, people=True) for number in NUMBERS]
    whole, bare = [paint(p, 64) for p in plans], [paint(without_figures(p), 64) for p in plans]
    alone = [paint(plan(number), 64) for number in NUMBERS]
    maps = {}
    for kind in (whole, bare, alone):
        for image, cells in zip(pictures(kind), material_shares(kind, 16).argmax(1), strict=True):
            maps[image.numpy().tobytes()] = cells
    gone = {a.numpy().tobytes(): b for a, b in zip(pictures(whole), pictures(alone), strict=True)}
    empty = {a.numpy().tobytes(): b for a, b in zip(pictures(whole), pictures(bare), strict=True)}
    return maps, gone, empty


def test_what_a_level_loses_is_seen(world, monkeypatch):
    """conv1 keeps everything, conv2 people alone are lost, at fc8 whatever stands there."""
    maps, gone, empty = world
    monkeypatch.setattr(people, "LEAST_CELLS", 3)

    def read(images):
        return torch.stack([maps[image.numpy().tobytes()] for image in images])

    def sample(name, images, labels, first):
        lost = {"conv1": {}, "conv2": gone, "fc8": empty}[name]
        return torch.stack([lost.get(image.numpy().tobytes(), image) for image in images])

    result = people.survival(read, sample, NUMBERS, 64, ("conv1", "conv2", "fc8"), progress=False)
    kept = {name: [row[group]["kept"][0] for group in people.GROUPS] for name, row in result["rows"].items()}
    assert kept[people.ORIGINAL] == pytest.approx([1, 1]) and kept["conv1"] == pytest.approx([1, 1])
    assert kept["conv2"][0] == pytest.approx(0) and kept["conv2"][1] > 0.8  # cells that somebody stands before
    assert kept["fc8"] == pytest.approx([0, 0])
    chances = [row[group]["chance"] for row in result["rows"].values() for group in people.GROUPS]
    assert chances == pytest.approx([0] * 8)  # of cells whose ground is another, none is read by chance
    for row in result["rows"].values():
        for value, low, high in (row[group]["kept"] for group in people.GROUPS):
            assert low - 1e-9 <= value <= high + 1e-9
    result["settings"] |= {"seed": 0, "fitted": 2000}
    table = people.markdown_table(result)
    assert "| `conv1` | " in table and "100% (100% to 100%)" in table and "50 scenes at 64 px" in table


def test_the_picture_has_the_scenes_with_most_people_first(monkeypatch):
    monkeypatch.setattr(people, "EXAMPLES", 3)
    rows = people.examples(load("scenes64", "cpu"), NUMBERS)
    scenes = [paint(plan(number, people=True), 64) for number in NUMBERS]
    shares = [(scene.materials == PERSON).mean() * (scene.time != "night") for scene in scenes]
    most = [scenes[i] for i in np.argsort(shares)[::-1][:3]]
    assert rows.shape == (3, 8, 3, 64, 64) and torch.equal(rows[:, 0], pictures(most))
    off = (rows - rows[:, :1]).abs().mean((0, 2, 3, 4))
    assert 0 < off[1] < off[4] < off[7]  # conv1, conv4, fc8


def test_a_model_of_other_labels_is_refused(tiny_model):
    with pytest.raises(InputError, match="beach, city"):
        people.measure(tiny_model, NUMBERS)
