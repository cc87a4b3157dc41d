"""Generator against inversion: the same measures on the same photographs."""

from functools import partial

import pytest
import torch

from conftest import tiny_photos
from pyramid import masks
from pyramid.measure import comparison, inversion, metrics


class Pixels:
    """Twelve means of the image as features."""

    def __init__(self, *_):
        pass

    def __call__(self, images):
        return torch.nn.functional.adaptive_avg_pool2d(images, 2).flatten(1)


@pytest.fixture
def result(tiny_model, monkeypatch):
    monkeypatch.setattr(comparison, "Extractor", Pixels)
    monkeypatch.setattr(comparison, "invert", partial(inversion.invert, steps=12))
    return comparison.compare(
        tiny_model, tiny_photos(20), ["conv2", "fc7"], count=comparison.BATCH, side=32, progress=False
    )


def test_every_level_has_both_methods_and_all_columns(result):
    assert {level: tuple(rows) for level, rows in result["rows"].items()} == dict.fromkeys(
        ("conv2", "fc7"), comparison.METHODS
    )
    for rows in result["rows"].values():
        for row in rows.values():
            assert set(comparison.COLUMNS) - {"frechet"} <= set(row) and row["seconds"] > 0 and 0 <= row["judge"] <= 1
    assert set(result["pictures"]) == {f"{level} {m}" for level in ("conv2", "fc7") for m in comparison.METHODS}
    table = comparison.markdown_table(result)
    assert table.count("\n| `") == 4 and "Times faster" in table


def test_a_frechet_distance_comes_with_enough_photographs(tiny_model, monkeypatch):
    """Twelve features: ten photographs do not make one, twenty do, and it is that to the features of twenty others."""
    monkeypatch.setattr(comparison, "Extractor", Pixels)
    monkeypatch.setattr(comparison, "invert", partial(inversion.invert, steps=2))
    compared = partial(comparison.compare, tiny_model, tiny_photos(40), ["fc8"], side=32, progress=False)
    few, many = (compared(count=count)["rows"]["fc8"] for count in (10, 20))
    assert not any("frechet" in row for row in few.values())
    order = torch.randperm(40, generator=torch.Generator().manual_seed(0))
    images, y = tiny_photos(40).images[order].float() / 127.5 - 1, tiny_photos(40).labels[order[:20]]
    x, others = images[:20], images[20:]
    made = [
        tiny_model.generate(tiny_model.features(x[i : i + 10]), masks.level("fc8"), y[i : i + 10], seed=2 * i)
        for i in (0, 10)
    ]
    a, b = (Pixels()(images).double() for images in (others, torch.cat(made)))
    gap = (a.mean(0) - b.mean(0)).square().sum() + torch.cov(a.T).trace() + torch.cov(b.T).trace()
    roots = torch.linalg.eigvals(torch.cov(a.T) @ torch.cov(b.T)).real.clamp(min=0).sqrt().sum()
    assert many["generator"]["frechet"] == pytest.approx(float(gap - 2 * roots), rel=1e-3)
    assert "Fréchet" in comparison.markdown_table(
        {"settings": {"images": 20, "seed": 0, "device": "cpu", "batch": 10, "side": 32}, "rows": {"fc8": many}}
    )


def test_the_generators_row_is_what_it_gives_outside(result, tiny_model):
    photos = tiny_photos(20)
    order = torch.randperm(20, generator=torch.Generator().manual_seed(0))[: comparison.BATCH]
    x = photos.images[order].float() / 127.5 - 1
    made = tiny_model.generate(tiny_model.features(x), masks.level("conv2"), photos.labels[order], seed=0)
    row = result["rows"]["conv2"]["generator"]
    assert row["psnr"] == pytest.approx(float(metrics.psnr(made, x).mean()), abs=1e-3)
    again, given = (tiny_model.features(i)["conv2"].flatten(1) for i in (made, x))
    assert row["cosine"] == pytest.approx(float(torch.cosine_similarity(again, given).mean()), abs=1e-4)
