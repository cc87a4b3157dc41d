"""The curve of a run: which snapshot is which, two extractors, and how far they agree."""

import numpy as np
import pytest
import torch
from scipy import stats

from conftest import tiny_photos
from pyramid.checkpoints import save_weights
from pyramid.device import seeded
from pyramid.errors import InputError
from pyramid.generator import Generator
from pyramid.judge import Judge
from pyramid.measure import curve, levels, metrics


class Pixels:
    name, features, resize = "pixels", 12, "none"

    def __init__(self, *_):
        pass

    def __call__(self, images):
        return torch.nn.functional.adaptive_avg_pool2d(images, 2).flatten(1)


@pytest.fixture
def run(tmp_path, tiny_model):
    for seen in (64, 1024, 512):
        with seeded(seen):
            generator = Generator(tiny_model.preset, len(tiny_model.classes))
        save_weights(tmp_path / "snapshots" / f"{seen:07d}.safetensors", generator)
    return tmp_path


def test_snapshots_come_in_the_order_of_images(run, tmp_path):
    assert list(curve.snapshots(run)) == [64, 512, 1024]
    (run / "snapshots" / "10000128.safetensors").touch()  # of eight digits, "1" before "9"
    (run / "snapshots" / "9999872.safetensors").touch()
    assert list(curve.snapshots(run)) == [64, 512, 1024, 9_999_872, 10_000_128]
    with pytest.raises(InputError, match="keeps no snapshots"):
        curve.snapshots(tmp_path / "elsewhere")


def test_a_distance_is_that_of_the_snapshot_s_own_images(run, tiny_model, monkeypatch):
    """Of `closed`, by hand: the images made anew, their judge's features before the last layer, a Fréchet distance."""
    monkeypatch.setattr(curve, "Extractor", Pixels)
    monkeypatch.setattr("pyramid.data.CACHE", run / "cache")
    photos = tiny_photos(90)
    result = curve.measure(tiny_model, curve.snapshots(run), photos, 90, side=32, progress=False)
    assert list(result["rows"]) == ["64", "512", "1024"] and set(result["agreement"]) == set(levels.ROWS)
    with seeded(512):
        generator = Generator(tiny_model.preset, len(tiny_model.classes)).half().float().eval()
    order = torch.randperm(90, generator=torch.Generator().manual_seed(0))
    real, labels = photos.images[order].float() / 127.5 - 1, photos.labels[order]
    made = []
    for i in range(0, 90, levels.BATCH):
        part, y = real[i : i + levels.BATCH], labels[i : i + levels.BATCH]
        shapes = {name: (len(part), 1, *f.shape[2:]) for name, f in tiny_model.features(part).items()}
        z = torch.randn(len(part), generator.z_size, generator=torch.Generator().manual_seed(2 * i))
        with torch.no_grad():
            made.append(generator(tiny_model.features(part), {n: torch.zeros(s) for n, s in shapes.items()}, z, y))
    pixels = ((torch.cat(made) + 1) * 127.5).round().clamp(0, 255) / 127.5 - 1
    before = []
    hook = tiny_model.judge.head.register_forward_pre_hook(lambda _, given: before.append(given[0]))
    with torch.no_grad():
        tiny_model.judge(real), tiny_model.judge(pixels)
    hook.remove()
    expected = metrics.frechet_distance(*(metrics.fit_gaussian(f) for f in before))
    assert result["rows"]["512"]["judge"]["closed"] == pytest.approx(expected, rel=0.02)
    table = curve.markdown_table(result)
    assert table.count("| pixels |") == 3 and "rank correlation" in table


def test_the_cache_of_one_judge_is_not_read_for_another(run, tiny_model, monkeypatch):
    """Two runs over the same photographs, each with a judge of its own: what is cached for one changes nothing."""
    monkeypatch.setattr(curve, "Extractor", Pixels)
    kept, distances = dict([next(iter(curve.snapshots(run).items()))]), []
    for seeds, cache in (((2,), "alone"), ((1, 2), "shared")):
        monkeypatch.setattr("pyramid.data.CACHE", run / cache)
        for seed in seeds:
            with seeded(seed):
                judge = Judge(len(tiny_model.classes), tiny_model.preset.judge_base).eval()
            monkeypatch.setattr(tiny_model, "judge", judge)
            rows = curve.measure(tiny_model, kept, tiny_photos(90), 90, side=32, progress=False)["rows"]
        distances.append(rows["64"]["judge"]["closed"])
    assert distances[0] == pytest.approx(distances[1], rel=1e-6)


def test_agreement_is_spearmans():
    values = {"lite0": [9.0, 7.0, 5.0, 6.0], "judge": [90.0, 60.0, 70.0, 50.0]}
    rows = {str(i): {key: dict.fromkeys(levels.ROWS, v[i]) for key, v in values.items()} for i in range(4)}
    ranks = [stats.rankdata(v) for v in values.values()]
    assert curve.agreement(rows)["conv3"] == pytest.approx(np.corrcoef(*ranks)[0, 1])
    assert curve.agreement(dict(list(rows.items())[:2])) == {}
