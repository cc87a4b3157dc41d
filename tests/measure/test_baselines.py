"""Baselines on pictures for which the answer is known."""

import pytest
import torch

from pyramid.data import Photos
from pyramid.measure import baselines


def box() -> torch.Tensor:
    region = torch.zeros(1, 1, 32, 32)
    region[..., 10:22, 10:22] = 1
    return region


def test_copy_and_paste_is_exact():
    back, front = torch.full((1, 3, 32, 32), -0.5), torch.full((1, 3, 32, 32), 0.5)
    assert torch.equal(baselines.copy_paste(back, front, box()), torch.where(box() > 0, front, back))


def test_inpainting_fills_a_flat_wall_and_leaves_the_rest():
    photo = torch.full((1, 3, 32, 32), 0.2)
    damaged = torch.where(box() > 0, torch.tensor(-1.0), photo)
    assert (baselines.inpaint(damaged, box()) - photo).abs().max() < 0.03


def test_poisson_takes_the_backgrounds_colours_and_the_foregrounds_detail():
    """A flat foreground has no gradients: nothing of its colour comes through. A spot in it does."""
    back, front = torch.full((1, 3, 32, 32), -0.5), torch.full((1, 3, 32, 32), 0.5)
    assert (baselines.poisson(back, front, box()) - back).abs().max() < 0.05
    front[..., 15:17, 15:17] = 0.9
    blended = baselines.poisson(back, front, box())
    assert (blended - back)[..., 15:17, 15:17].min() > 0.2
    assert (blended - back)[..., :8, :].abs().max() < 0.05


def test_colour_transfer_gives_the_others_statistics_and_keeps_the_layout():
    random = torch.Generator().manual_seed(0)
    photo, other = (0.2 * torch.randn(1, 3, 32, 32, generator=random).clamp(-2, 2) + shift for shift in (-0.2, 0.1))
    torch.testing.assert_close(baselines.colour_transfer(photo, photo), photo, atol=6e-3, rtol=0)
    moved = baselines.colour_transfer(photo, other)
    for statistic in (torch.mean, torch.std):  # of RGB only about those of Lab, hence the tolerance
        torch.testing.assert_close(statistic(moved, (2, 3)), statistic(other, (2, 3)), atol=0.03, rtol=0)
    grey, flat = torch.zeros(1, 3, 32, 32), torch.full((1, 3, 32, 32), 0.4)
    torch.testing.assert_close(baselines.colour_transfer(grey, flat), flat, atol=6e-3, rtol=0)


def test_every_method_is_measured(tiny_model, monkeypatch):
    class Pixels:
        def __init__(self, *_):
            pass

        def __call__(self, images):
            return images[..., ::16, ::16].flatten(1)

    monkeypatch.setattr(baselines, "Extractor", Pixels)
    monkeypatch.setattr(baselines, "_inverted", lambda model, photo, level, seed: photo.flip(3))
    searches = []

    def search(classifier, target, level, start):
        searches.append((target, level, start))
        return start

    monkeypatch.setattr(baselines, "invert", search)
    images = torch.randint(0, 256, (16, 3, 32, 32), generator=torch.Generator().manual_seed(0), dtype=torch.uint8)
    photos = Photos(images, torch.arange(16) % 3, torch.zeros(16, dtype=torch.bool), tiny_model.classes)
    result = baselines.measure(tiny_model, photos, count=8, side=32, progress=False)
    paste = result["rows"]["compose"]["copy and paste"]
    assert paste["outside"] == 0 and result["rows"]["repaint"]["inpainting (Telea)"]["outside"] == pytest.approx(
        0, abs=0.01
    )
    assert paste["part"] == 1  # what was pasted is the foreground itself
    relabel = result["rows"]["relabel"]
    assert relabel["the photograph itself"] == relabel["inversion"] and relabel["inversion"]["layout"] > 0.5
    shown = result["pictures"]["relabel"]
    ((target, level, start),) = searches
    assert level == "fc8" and torch.equal(start[: baselines.SHOWN], shown["photograph"])
    torch.testing.assert_close(target[: baselines.SHOWN], tiny_model.features(shown["new class"])["fc8"])
    assert not torch.equal(shown["new class"], shown["photograph"])
    counts = {use: len(rows) for use, rows in result["rows"].items()}
    assert counts == {"repaint": 4, "compose": 4, "relabel": 4, "reimagine": 3}
    assert baselines.markdown_table(result).count("\n| ") == 15
