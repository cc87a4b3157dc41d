"""The procedural world: repeatable, the same at every size, and its label, map and picture agree."""

import hashlib
import subprocess
import sys

import numpy as np
import pytest

from pyramid import scenes
from pyramid.errors import InputError
from pyramid.scenes import MATERIALS

NUMBERS = range(120)


@pytest.fixture(scope="module")
def drawn():
    return [scenes.render(n, 64) for n in NUMBERS]


def share(scene, *names):
    return np.isin(scene.materials, [MATERIALS.index(name) for name in names]).mean()


def test_the_same_number_gives_the_same_pixels_in_another_process(drawn):
    code = (
        "import hashlib; from pyramid import scenes; "
        "print(hashlib.sha256(b''.join(scenes.render(n, 64).image.tobytes() for n in range(12))).hexdigest())"
    )
    other = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.strip()
    assert other == hashlib.sha256(b"".join(s.image.tobytes() for s in drawn[:12])).hexdigest()


def test_numbers_and_seeds_give_different_scenes(drawn):
    assert len({s.image.tobytes() for s in drawn}) == len(drawn)
    assert scenes.render(0, 64, seed=1).image.tobytes() != drawn[0].image.tobytes()


@pytest.mark.parametrize("size", [32, 128])
def test_a_scene_is_the_same_scene_at_another_size(drawn, size):
    """Averaged down to 32 px, both sizes show the same picture and the same things in the same places."""

    def small(image):
        side = image.shape[0]
        return image.reshape(32, side // 32, 32, side // 32, 3).astype(float).mean((1, 3))

    for n in range(0, 120, 5):
        other = scenes.render(n, size)
        difference = np.abs(small(other.image) - small(drawn[n].image))
        apart = np.abs(small(other.image) - small(drawn[(n + 1) % 120].image))
        assert difference.mean() < 5 < apart.mean()  # grey levels of 255
        step = max(size, 64) // min(size, 64)
        fine, coarse = (other.materials, drawn[n].materials) if size > 64 else (drawn[n].materials, other.materials)
        assert (fine[::step, ::step] == coarse).mean() > 0.85


def test_every_label_and_every_hour_occurs(drawn):
    plans = [scenes.plan(n) for n in range(400)]
    assert {p.label for p in plans} == set(scenes.LABELS) and len(scenes.LABELS) == 8
    assert {p.time for p in plans} == {"day", "sunset", "night"}
    counts = np.bincount([scenes.LABELS.index(p.label) for p in plans])
    assert counts.min() > 25  # 50 expected; 25 lies more than three standard deviations below


SEEN = {
    "beach": (("sand", 0.08), ("water", 0.05)),
    "city": (("built", 0.12),),
    "desert": (("sand", 0.2),),
    "field": (("crop", 0.2),),
    "forest": (("vegetation", 0.35),),
    "mountain": (("rock", 0.05), ("vegetation", 0.02)),
    "sea": (("water", 0.25),),
    "snowy mountain": (("snow", 0.08),),
}


def test_label_and_map_agree(drawn):
    for scene in drawn:
        assert share(scene, "sky") > 0.05
        for material, least in SEEN[scene.label]:
            assert share(scene, material) > least, (scene.label, material)
    for label, absent in (("sea", "sand"), ("desert", "water"), ("forest", "built"), ("mountain", "crop")):
        assert all(share(s, absent) == 0 for s in drawn if s.label == label)


def test_map_and_picture_agree(drawn):
    """By day, what the map calls vegetation is greener than what it calls water; snow is brighter than rock."""
    by_day = [s for s in drawn if s.time == "day"]

    def mean(material):
        chosen = [s.image[s.materials == MATERIALS.index(material)] for s in by_day]
        return np.concatenate(chosen).astype(float).mean(0)

    green, water, snow, rock = map(mean, ("vegetation", "water", "snow", "rock"))
    assert green[1] - green[2] > 20 and water[2] - water[0] > 20
    assert snow.mean() > rock.mean() + 40


def test_night_is_darker_than_day(drawn):
    light = {time: np.mean([s.image.mean() for s in drawn if s.time == time]) for time in ("day", "sunset", "night")}
    assert light["night"] < 0.5 * light["sunset"] < light["day"]


def test_drawings_keep_the_map(drawn):
    for n in range(8):
        lines, poster = (scenes.render(n, 64, style=style) for style in ("lines", "poster"))
        assert (lines.materials == drawn[n].materials).all() and (poster.materials == drawn[n].materials).all()
        assert (lines.image[..., 0] == lines.image[..., 1]).all() and lines.image.mean() > 100
        colours = np.unique(poster.image[::4, ::4].reshape(-1, 3), axis=0)
        assert len(colours) < len(np.unique(drawn[n].image[::4, ::4].reshape(-1, 3), axis=0))


def test_bad_size_and_style_are_named():
    with pytest.raises(InputError, match="not 16"):
        scenes.render(0, 16)
    with pytest.raises(InputError, match="no style 'oil'"):
        scenes.render(0, 64, style="oil")


def test_the_dataset_is_cached_and_its_parts_are_fixed(tmp_path, monkeypatch):
    monkeypatch.setattr("pyramid.data.CACHE", tmp_path)
    monkeypatch.setitem(scenes.RANGES, "scenes", range(30))
    first = scenes.load_photos("scenes", 32, progress=False)
    assert first.images.shape == (30, 3, 32, 32) and first.classes == scenes.LABELS
    assert first.held_out.nonzero().flatten().tolist() == [0, 10, 20]
    monkeypatch.setattr("pyramid.scenes.datasets.render", None)  # the second time nothing is drawn
    again = scenes.load_photos("scenes", 32, progress=False)
    assert (again.images == first.images).all() and (again.labels == first.labels).all()
