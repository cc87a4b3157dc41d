"""What lies in data/models and notebooks is whole, small enough, and what it says it is."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch

import pyramid
from pyramid import checkpoints, masks
from pyramid.generator import Generator
from pyramid.levels import LEVELS, depth
from pyramid.measure import baselines, comparison, people, uses
from pyramid.model import open_release
from pyramid.scenes import PEOPLED, render

ROOT = Path(__file__).resolve().parent.parent
MEGABYTE = 10**6


def cards() -> dict[str, dict]:
    return {name: checkpoints.read_card(checkpoints.find_model(name)) for name in checkpoints.released()}


COMPLETE = [name for name, card in cards().items() if "generator" in card["sha256"]]


@pytest.fixture(scope="module", params=COMPLETE)
def model(request):
    return pyramid.load(request.param, device="cpu")


def references(model, count: int = 10) -> torch.Tensor:
    """Pictures of the model's world that it has never seen."""
    if model.preset.data:
        peopled = model.preset.data in PEOPLED
        pixels = [render(1_000_000 + i, model.image_size, people=peopled).image for i in range(count)]
        return pyramid.data.from_bytes(torch.from_numpy(np.stack(pixels)).permute(0, 3, 1, 2))
    paths = pyramid.sample_photographs()[:: 100 // count]
    return torch.cat([pyramid.open_image(path, model.image_size) for path in paths])


def test_releases_keep_their_size_limits():
    assert COMPLETE
    for name, card in cards().items():
        files = list(checkpoints.find_model(name).iterdir())
        assert {file.name for file in files} == {"card.json", *(f"{part}.safetensors" for part in card["sha256"])}
        assert {"classifier", "judge"} <= set(card["sha256"])
        assert max(file.stat().st_size for file in files) <= 40 * MEGABYTE
        assert sum(file.stat().st_size for file in files) <= 80 * MEGABYTE
    assert sum(file.stat().st_size for file in checkpoints.MODELS.rglob("*") if file.is_file()) <= 110 * MEGABYTE


def test_same_seed_same_pixels_and_samples_differ(model):
    features = model.features(references(model)[:1])
    first, again = (model.generate(features, masks.level("fc8"), samples=2, seed=5) for _ in range(2))
    assert torch.equal(first, again) and not torch.equal(first[0], first[1])
    assert first.abs().max() <= 1 and first.isfinite().all()


def test_the_model_makes_the_images_of_the_network_in_its_file(model):
    trained = Generator(model.preset, len(model.classes))
    checkpoints.load_weights(checkpoints.find_model(model.preset.name) / "generator.safetensors", trained)
    features, at = model.features(references(model)[:2]), masks.level("conv3").at(model.image_size, 2)
    labels = features["fc8"].argmax(1)
    with torch.no_grad():
        expected = trained.eval()(features, at, model.noise(2, 3), labels)
    made = model.generate(features, masks.level("conv3"), labels, seed=3)
    torch.testing.assert_close(made, expected, rtol=0, atol=1e-3)


def test_fine_levels_keep_more_of_the_photograph_than_deep_ones(model):
    """On pictures the model has never seen; photographs from another source."""
    photos = references(model)
    features = model.features(photos)
    error = {
        name: float((model.generate(features, masks.level(name)) - photos).square().mean())
        for name in ("conv1", "conv3", "fc8")
    }
    assert error["conv1"] < error["conv3"] < error["fc8"]


def test_no_slider_collapses(model):
    features = model.features(references(model)[1:2])
    for name in LEVELS:
        for step in range(9):
            image = model.generate(features, masks.soft(**{name: step / 8}))
            assert image.std() > 0.1, f"{name} at {step / 8}"


def test_a_classifier_alone_is_refused_as_a_model():
    for name in set(checkpoints.released()) - set(COMPLETE):
        with pytest.raises(pyramid.InputError, match="train a generator"):
            pyramid.load(name)


def test_discriminator_prefers_the_true_label(model):
    """Projection: over pictures of the model's world, the label given by the classifier beats the mean of others."""
    photos = references(model)
    labels = model.classifier(photos).argmax(1)
    if "discriminator" not in model.card["sha256"]:
        pytest.skip("released without")
    discriminator = open_release(model.preset.name).network("discriminator").pixels
    told = bool(model.preset.told_level) * len(model.classes) * depth("conv3")  # where others were asked for, too
    with torch.no_grad():
        every = [discriminator(photos, torch.full_like(labels, told + y))[0] for y in range(len(model.classes))]
    scores = torch.cat(every, 1)  # (B, classes)
    own = scores.gather(1, labels[:, None])[:, 0]
    assert own.mean() > scores.mean() + 0.1


def test_wrong_size_is_refused(model):
    with pytest.raises(pyramid.InputError, match="open_image"):
        model.features(torch.zeros(1, 3, 50, 50))


def test_metrics_of_the_card_stand_in_the_docs(model):
    results = (ROOT / "docs" / "results.md").read_text(encoding="utf-8")
    for line in model.card["tables"]["levels"]["markdown"].splitlines():
        assert line in results


@pytest.mark.parametrize(
    ("name", "measured"),
    [
        ("photos64-compare", comparison),
        ("photos64-baselines", baselines),
        ("photos64-applications", uses),
        ("scenes64-applications", uses),
        ("people64-people", people),
        ("people64-untold-people", people),
    ],
)
def test_saved_measurements_stand_in_the_docs(name, measured):
    saved = json.loads((ROOT / "data" / "runs" / f"{name}.json").read_text(encoding="utf-8"))
    results = (ROOT / "docs" / "results.md").read_text(encoding="utf-8")
    assert all(line in results for line in measured.markdown_table(saved).splitlines())


@pytest.mark.parametrize("name", ["scenes64", "people64"])
def test_a_classifier_has_the_first_three_stages_of_photos64(name):
    ours, theirs = (open_release(name).network("classifier") for name in (name, "photos64"))
    x = torch.rand(2, 3, 64, 64, generator=torch.Generator().manual_seed(0)) * 2 - 1
    (a, b), std = (c.pyramid(x, "conv3") for c in (ours, theirs)), ours.level_std / theirs.level_std
    for i, name in enumerate(("conv1", "conv2", "conv3")):
        torch.testing.assert_close(a[name] * std[i], b[name])


def test_people_are_lost_after_conv3_unless_the_classifier_was_told_of_them():
    """What notebook 15 says of the saved measurements, to the ends of their 95 % intervals."""
    files = ("people64-people", "people64-untold-people")
    told, untold = (json.loads((ROOT / "data" / "runs" / f"{name}.json").read_text())["rows"] for name in files)
    for level in ("conv1", "conv2", "conv3"):
        assert min(rows[level]["people"]["kept"][1] for rows in (told, untold)) > 0.85, level
    for level, least in (("conv4", 0.65), ("conv5", 0.4), ("fc7", 0.35)):
        assert told[level]["people"]["kept"][1] > least and untold[level]["people"]["kept"][2] < 0.12, level
    for level in ("conv5", "fc7"):  # the others gain by it too
        assert told[level]["others"]["kept"][1] > untold[level]["others"]["kept"][2], level
    for level in ("conv2", "conv3", "conv4", "fc7"):  # beside other things of their size
        assert told[level]["people"]["kept"][1] > told[level]["others"]["kept"][2], level
    assert max(told[level]["others"]["kept"][2] for level in ("conv4", "fc7")) < 0.4
    for level in ("conv4", "conv5"):
        (_, low, high), (_, least, most) = (untold[level][group]["kept"] for group in people.GROUPS)
        assert low < most and least < high, level  # untold they go as the others do
