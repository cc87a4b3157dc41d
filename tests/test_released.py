"""What lies in data/models and notebooks is whole, small enough, and what it says it is."""

import json
from pathlib import Path

import pytest
import torch

import pyramid
from pyramid import checkpoints, masks
from pyramid.levels import LEVELS

ROOT = Path(__file__).resolve().parent.parent
NOTEBOOKS = sorted((ROOT / "notebooks").glob("*.ipynb"))
MEGABYTE = 10**6


@pytest.fixture(scope="module", params=checkpoints.released())
def model(request):
    return pyramid.load(request.param, device="cpu")


def test_releases_keep_their_size_limits():
    assert checkpoints.released()
    for name in checkpoints.released():
        files = list(checkpoints.find_model(name).iterdir())
        assert {f"{part}.safetensors" for part in checkpoints.PARTS} <= {file.name for file in files}
        assert max(file.stat().st_size for file in files) <= 15 * MEGABYTE
        assert sum(file.stat().st_size for file in files) <= 25 * MEGABYTE
    assert sum(file.stat().st_size for file in checkpoints.MODELS.rglob("*") if file.is_file()) <= 50 * MEGABYTE


def test_same_seed_same_pixels_and_samples_differ(model):
    photo = pyramid.open_image(pyramid.sample_photographs()[0], model.image_size)
    features = model.features(photo)
    first, again = (model.generate(features, masks.level("fc8"), samples=2, seed=5) for _ in range(2))
    assert torch.equal(first, again) and not torch.equal(first[0], first[1])
    assert first.abs().max() <= 1 and first.isfinite().all()


def test_fine_levels_keep_more_of_the_photograph_than_deep_ones(model):
    """On photographs the model has never seen, from another source."""
    paths = pyramid.sample_photographs()[::10]
    photos = torch.cat([pyramid.open_image(path, model.image_size) for path in paths])
    features = model.features(photos)
    error = {
        name: float((model.generate(features, masks.level(name)) - photos).square().mean())
        for name in ("conv1", "conv3", "fc8")
    }
    assert error["conv1"] < error["conv3"] < error["fc8"]


def test_no_slider_collapses(model):
    photo = pyramid.open_image(pyramid.sample_photographs()[13], model.image_size)
    features = model.features(photo)
    for name in LEVELS:
        for step in range(9):
            image = model.generate(features, masks.soft(**{name: step / 8}))
            assert image.std() > 0.1, f"{name} at {step / 8}"


def test_wrong_size_is_refused(model):
    with pytest.raises(pyramid.InputError, match="open_image"):
        model.features(torch.zeros(1, 3, 50, 50))


def test_figures_of_the_card_stand_in_the_readme(model):
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    for line in model.card["tables"]["levels"]["markdown"].splitlines():
        assert line in readme


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda p: p.name)
def test_notebooks_render_and_start_alike(path):
    notebook = json.loads(path.read_text(encoding="utf-8"))
    widgets = notebook["metadata"].get("widgets", {})
    assert all("state" in value for value in widgets.values())  # else the notebook site refuses to render it
    code = ["".join(cell["source"]) for cell in notebook["cells"] if cell["cell_type"] == "code"]
    first = json.loads(NOTEBOOKS[0].read_text(encoding="utf-8"))
    setup = next("".join(cell["source"]) for cell in first["cells"] if cell["cell_type"] == "code")
    assert code[0] == setup and "google.colab" in setup
    assert all("pip install" not in cell for cell in code[1:])
