"""Generator against inversion: the same measures on the same photographs."""

from functools import partial

import pytest
import torch

from conftest import tiny_photos
from pyramid import comparison, inversion, masks, metrics


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
            assert set(comparison.COLUMNS) <= set(row) and row["seconds"] > 0 and 0 <= row["judge"] <= 1
    assert set(result["pictures"]) == {f"{level} {m}" for level in ("conv2", "fc7") for m in comparison.METHODS}
    table = comparison.markdown_table(result)
    assert table.count("\n| `") == 4 and "Times faster" in table


def test_the_generators_row_is_what_it_gives_outside(result, tiny_model):
    photos = tiny_photos(20)
    order = torch.randperm(20, generator=torch.Generator().manual_seed(0))[: comparison.BATCH]
    x = photos.images[order].float() / 127.5 - 1
    made = tiny_model.generate(tiny_model.features(x), masks.level("conv2"), photos.labels[order], seed=0)
    row = result["rows"]["conv2"]["generator"]
    assert row["psnr"] == pytest.approx(float(metrics.psnr(made, x).mean()), abs=1e-3)
    again, given = (tiny_model.features(i)["conv2"].flatten(1) for i in (made, x))
    assert row["cosine"] == pytest.approx(float(torch.cosine_similarity(again, given).mean()), abs=1e-4)
