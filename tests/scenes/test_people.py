"""People in the built-in world: the landscape is the same without them, and they stand where people can stand."""

import numpy as np
import pytest

from pyramid import scenes
from pyramid.scenes import MATERIALS
from pyramid.scenes.people import HAIR, SKIN, skin_colour

PERSON = MATERIALS.index("person")
NUMBERS = range(60)


@pytest.fixture(scope="module")
def plans():
    return [scenes.plan(n, people=True) for n in NUMBERS]


@pytest.fixture(scope="module")
def peopled(plans):
    """Numbers of the first scenes with people."""
    return [n for n, planned in zip(NUMBERS, plans, strict=True) if planned.people][:16]


@pytest.fixture(scope="module")
def drawn(peopled):
    return {n: scenes.render(n, 64, people=True) for n in peopled}


def reach(planned, size):
    """Pixels that people, benches and shadows may change, by their boxes: (size, size)."""
    near = np.zeros((size, size), bool)
    for thing in planned.layers:
        if hasattr(thing, "limbs"):
            limbs, h = thing.limbs, thing.height
            aside = max(np.abs(limbs[:, [0, 2]]).max() + limbs[:, 4:].max(), thing.shadow[0] + 0.2) * h
            top = (limbs[:, [1, 3]].max() + limbs[:, 4:].max()) * h
            box = np.array([thing.foot - top, thing.foot + 0.1 * h, thing.u - aside, thing.u + aside]) * size
            up, down, left, right = np.clip(box + (-2, 2, -2, 2), 0, size).astype(int)
            near[up:down, left:right] = True
    return near


def test_a_landscape_without_people_has_none_and_is_planned_as_before(plans):
    """What is drawn for people comes last: label, hour and every parameter of the landscape stay."""
    for n in (0, 1, 2, 3):
        plain = scenes.plan(n)
        assert not plain.people and (plain.label, plain.time) == (plans[n].label, plans[n].time)
        assert not (scenes.render(n, 32).materials == PERSON).any()
        ground = [layer for layer in plans[n].layers if not hasattr(layer, "limbs")]
        for kind in {type(layer).__name__ for layer in plain.layers}:
            ours, theirs = (
                [layer for layer in layers if type(layer).__name__ == kind] for layers in (ground, plain.layers)
            )
            if kind == "Figures":  # people stand among them: each has become a layer of its own
                assert np.array_equal(*(np.concatenate([x.places for x in layers]) for layers in (ours, theirs)))
            else:
                assert len(ours) == len(theirs) and repr(ours) == repr(theirs)


def test_twins_differ_only_where_people_are(plans, peopled, drawn):
    for n in peopled:
        twin, scene = scenes.render(n, 64), drawn[n]
        changed = (twin.image != scene.image).any(2) | (twin.materials != scene.materials)
        assert (scene.materials == PERSON).any() and changed[scene.materials == PERSON].mean() > 0.9
        assert not changed[~reach(plans[n], 64)].any(), n
        new = scene.materials != twin.materials
        bodies = new & np.isin(scene.materials, (PERSON, MATERIALS.index("built")))  # with the benches
        assert (new & ~bodies).sum() < 0.02 * bodies.sum()  # shadows leave the map alone; a vote of 2 x 2 may turn


def test_six_scenes_of_ten_have_one_to_twelve_people(plans):
    counts = np.array([len(planned.people) for planned in plans])
    assert 0.4 < (counts > 0).mean() < 0.8  # three standard deviations of 60 draws of 0.6
    assert counts.max() <= 12 and (counts == 1).any() and (counts >= 6).any()
    assert {person.pose for planned in plans for person in planned.people} >= {"walking", "standing", "on the ground"}


def test_feet_are_on_land_and_lower_feet_are_those_of_larger_people(plans, peopled):
    """In the twin, the ground under the feet is no water and no sky; by perspective, height grows with the foot's v."""
    land = [MATERIALS.index(name) for name in ("sand", "road", "crop", "vegetation", "snow", "rock")]
    for n in peopled:
        below, people = scenes.render(n, 64).materials, plans[n].people
        assert all(np.isin(below[int(p.foot * 64), int(np.clip(p.u * 64, 0, 63))], land) for p in people), n
        for far, near in zip(people, people[1:], strict=False):  # the farthest first
            assert far.foot <= near.foot
            if near.foot > far.foot + 0.15:
                assert near.height > 0.62 / 1.05 * far.height  # a child of the least size beside a tall grown-up
    feet, heights = np.array([(p.foot, p.height) for planned in plans for p in planned.people]).T
    assert np.corrcoef(feet, heights)[0, 1] > 0.5
    assert heights.min() > 3.5 / 64 and np.ptp(heights) > 24 / 64
    assert heights.max() < (0.985 - 0.38) * 1.08 * 1.05  # from the lowest feet to the highest horizon, and a tall one


def test_skin_is_drawn_evenly_from_very_light_to_very_dark():
    tones = np.array([p.skin for n in range(1000, 1120) for p in scenes.plan(n, people=True).people])
    shares = np.histogram(tones, 4, (0, 1))[0] / len(tones)
    assert len(tones) > 150 and np.abs(shares - 0.25).max() < 3.5 * np.sqrt(0.25 * 0.75 / len(tones))
    light = np.array([np.mean(skin_colour(tone)) for tone in np.linspace(0, 1, 11)])
    assert (np.diff(light) < 0).all() and light[0] > 0.8 and light[-1] < 0.2
    assert skin_colour(0.2) == pytest.approx(SKIN[1]) and len(HAIR) >= 5


@pytest.mark.parametrize("size", [32, 128])
def test_the_same_people_at_another_size(peopled, drawn, size):
    """What is whole a person's at the finer size is one at the coarser, and what is none is none."""
    shares, found = [], []
    for n in peopled[:6]:
        other = scenes.render(n, size, people=True)
        fine, coarse = (other, drawn[n]) if size > 64 else (drawn[n], other)
        side = len(coarse.materials)
        shares.append((fine.materials == PERSON).reshape(side, 2, side, 2).mean((1, 3)))
        found.append(coarse.materials == PERSON)
    shares, found = np.stack(shares), np.stack(found)
    assert (shares == 1).sum() > 50 and found[shares == 1].mean() > 0.9 and found[shares == 0].mean() < 0.01


def test_the_same_number_gives_the_same_people(peopled, drawn):
    for n in peopled[:3]:
        again = scenes.render(n, 64, people=True)
        assert (again.image == drawn[n].image).all() and (again.materials == drawn[n].materials).all()
    assert len({scene.image.tobytes() for scene in drawn.values()}) == len(drawn)


def test_things_are_named_and_agree_with_the_map(plans, drawn):
    for n, scene in drawn.items():
        names = np.array(scene.kinds)[scene.things]
        assert ((names == "person") == (scene.materials == PERSON)).mean() > 0.995
        assert (np.array(scene.kinds) == "person").sum() == len(plans[n].people)


def test_drawings_have_the_same_people(peopled, drawn):
    for n in peopled[:4]:
        lines, poster = (scenes.render(n, 64, style=style, people=True) for style in ("lines", "poster"))
        assert (lines.materials == drawn[n].materials).all() and (poster.materials == drawn[n].materials).all()
        twin = scenes.render(n, 64, style="lines")
        where = drawn[n].materials == PERSON
        assert lines.image[where].mean() < twin.image[where].mean()  # their outlines are drawn


def test_an_emptied_landscape_has_nothing_standing_in_it(plans, peopled):
    for n in peopled[:4]:
        bare = scenes.paint(scenes.without_figures(plans[n]), 64)
        assert set(np.array(bare.kinds)[np.unique(bare.things)]) == {""} and bare.label == plans[n].label


def test_datasets_with_people_tell_of_them(tmp_path, monkeypatch):
    """The same landscapes, with two more attributes: the share that is people, and whether there are any."""
    monkeypatch.setattr("pyramid.data.CACHE", tmp_path)
    names = ("scenes", "people", "people-untold")
    for name in names:
        monkeypatch.setitem(scenes.RANGES, name, range(20))
    plain, told, untold = (scenes.load_photos(name, 32, progress=False) for name in names)
    assert plain.attributes.shape == (20, 12) and told.attributes.shape == (20, 14)
    assert (plain.labels == told.labels).all() and (plain.attributes[:, :3] == told.attributes[:, :3]).all()
    shares = [(scenes.render(n, 32, people=True).materials == PERSON).mean() for n in range(20)]
    assert told.attributes[:, 12].tolist() == pytest.approx(shares)
    assert told.attributes[:, 13].tolist() == [float(share > 0) for share in shares]
    assert told.attributes[:, 3:13].sum(1).numpy() == pytest.approx(np.ones(20), abs=1e-5)
    assert 0 < told.attributes[:, 13].mean() < 1
    assert (untold.images == told.images).all() and (untold.attributes == told.attributes[:, :12]).all()
    assert len({plain.fingerprint, told.fingerprint, untold.fingerprint}) == 3  # each has a classifier of its own
