"""No success is reported where the result is wrong; what cannot go on says so before anything is lost."""

import json
from dataclasses import replace

import pytest
import torch
from PIL import Image

import pyramid
from conftest import CLASSES, tiny_photos, tiny_run
from pyramid import data, model
from pyramid.checkpoints import load_state
from pyramid.classifier import Classifier
from pyramid.cli import main
from pyramid.device import seeded
from pyramid.errors import InputError
from pyramid.judge import Judge
from pyramid.measure import baselines, comparison, uses
from pyramid.model import open_release
from pyramid.presets import PRESETS
from pyramid.training import Run, start, train
from pyramid.training.classifiers import train_supervised
from pyramid.training.provide import Plan, find_classifier, make_classifiers

TINY = PRESETS["tiny32"]


@pytest.fixture
def here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(data, "CACHE", tmp_path / "cache")
    return tmp_path


def fill(folder, classes: str, count: int = 60, shade: int = 0):
    """A folder of class folders; every picture is another."""
    for k, name in enumerate(classes):
        (folder / name).mkdir(parents=True)
        for i in range(count):
            Image.new("RGB", (32, 32), (200 * (k % 2), i, shade)).save(folder / name / f"{i}.png")
    return folder


def split(photos: data.Photos, every: int = 10) -> data.Photos:
    """The same with every tenth held out."""
    return replace(photos, held_out=torch.arange(len(photos)) % every == 0)


def train_classifier(source: str, *more: str) -> int:
    return main(["train-classifier", "--preset", "tiny32", "--data", source, "--epochs", "1", *more])


def test_a_second_data_set_in_the_same_folder_is_refused(here, capsys):
    fill(here / "first", "ab")
    fill(here / "second", "cd", shade=9)
    fill(here / "third", "ab", shade=9)  # the same names, other pictures
    assert train_classifier("first") == 0
    folder = here / "runs" / "tiny32-classifier"
    before = {path.name: path.read_bytes() for path in folder.iterdir()}
    for other in ("second", "third"):
        assert train_classifier(other) == 2
        assert "has the classifier of other photographs" in capsys.readouterr().err
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == before
    (folder / "card.json").unlink()  # a run cut short before it had a card
    assert train_classifier("second") == 2 and "another data" in capsys.readouterr().err
    assert train_classifier("first") == 0


def test_a_generator_s_run_is_of_one_data_set_seed_and_preset(here):
    train(tiny_run(), here / "run", steps=1, progress=False)
    before = (here / "run" / "checkpoint.pt").read_bytes()
    base = tiny_run()
    other = replace(base.photos, images=base.photos.images.flip(3))
    with seeded(8):
        other_classifier = Classifier(len(CLASSES), **TINY.classifier)
    for run, words in (
        (Run(base.preset, other, base.classifier, 0), "another data"),
        (Run(base.preset, base.photos, base.classifier, 1), "another seed"),
        (Run(replace(base.preset, r1=0.5), base.photos, base.classifier, 0), "another preset"),
        (Run(base.preset, base.photos, other_classifier, 0), "another classifier"),
    ):
        with pytest.raises(InputError, match=f"{words}.*--out"):
            train(run, here / "run", steps=2, progress=False)
    assert (here / "run" / "checkpoint.pt").read_bytes() == before


def test_train_does_not_take_the_classifier_of_other_photographs(here):
    first, second = split(tiny_photos(60)), split(replace(tiny_photos(60), images=tiny_photos(60).images.flip(2)))
    make_classifiers(TINY, first, Plan(epochs=1), here / "run" / "classifier")
    with pytest.raises(InputError, match="other photographs"):
        find_classifier(TINY, second, here / "run" / "classifier", Plan(epochs=1))


@pytest.mark.parametrize("count", [1, 3])
@pytest.mark.parametrize("command", ["train-classifier", "train"])
def test_fewer_pictures_than_there_is_to_learn_from(count, command, here, capsys):
    fill(here / "few", "ab", count=count)
    arguments = [command, "--preset", "tiny32"] if command == "train-classifier" else [command, "tiny32"]
    assert main([*arguments, "--data", "few"]) == 2
    assert "Too few pictures to train on" in capsys.readouterr().err and not list(here.glob("runs/*/*.pt"))


def test_fewer_pictures_than_a_batch_are_all_seen(here):
    """40 training pictures, fewer than the 64 of a batch: steps are made, the network moves."""
    photos = split(tiny_photos(45))
    with seeded(0):
        judge = Judge(len(CLASSES), 8)
    before = [p.detach().clone() for p in judge.parameters()]
    train_supervised(judge, photos, here / "j.pt", 2, progress=False)
    assert any(not torch.equal(a, b) for a, b in zip(before, judge.parameters(), strict=True))


def test_a_classifier_that_diverges_keeps_its_last_good_checkpoint(here):
    photos, path = split(tiny_photos(60)), here / "c.pt"
    with seeded(0):
        classifier = Classifier(len(CLASSES), **TINY.classifier)
    with pytest.raises(InputError, match="weights of the classifier no longer finite.*as it was"):
        train_supervised(classifier, photos, path, 3, progress=False, peak_rate=1e25)
    assert not path.exists() or all(
        v.isfinite().all() for v in load_state(path)["networks"].values() if v.is_floating_point()
    )


def saved(tiny_model, folder, classes=CLASSES):
    card = {"preset": tiny_model.preset.asdict(), "classes": classes, "familiar_above": 0.5}
    parts = {"classifier": tiny_model.classifier, "judge": tiny_model.judge, "generator": tiny_model.generator}
    model.save(folder, card, **parts)


@pytest.mark.parametrize("command", ["compare", "baselines", "applications", "evaluate"])
@pytest.mark.parametrize("classes", [("sea", "street"), ("forest", "sea", "streets")])
def test_a_measurement_asks_for_the_model_s_own_classes(command, classes, here, tiny_model, capsys):
    saved(tiny_model, here / "m")
    fill(here / "photos", classes, count=4)
    more = ["--against", "photos"] if command == "evaluate" else []
    assert main([command, "m", "--data", "photos", *more]) == 2
    assert "m has forest, sea, street" in capsys.readouterr().err


def test_training_photographs_of_other_classes_are_refused_too(here, tiny_model, capsys):
    saved(tiny_model, here / "m")
    fill(here / "photos", CLASSES, count=4)
    fill(here / "others", ("forest", "sea"), count=4)
    assert main(["evaluate", "m", "--data", "photos", "--against", "others"]) == 2
    assert "m has forest, sea, street" in capsys.readouterr().err


def test_the_order_of_the_classes_counts(here, tiny_model, capsys):
    """Places365's list beside the folder puts street first: labels would be wrong, though the names are right."""
    saved(tiny_model, here / "m")
    fill(here / "photos", CLASSES, count=4)
    (here / "photos" / "categories_places365.txt").write_text("/s/street 0\n/s/sea 1\n/f/forest 2\n")
    assert main(["compare", "m", "--data", "photos"]) == 2 and "street, sea, forest" in capsys.readouterr().err


def test_more_images_than_there_are_is_refused_and_not_miscounted(tiny_model):
    with pytest.raises(InputError, match="There are 48 photographs, fewer than the 99 asked for"):
        uses.measure(tiny_model, tiny_photos(48), 99, 64, progress=False)
    for measure, arguments in ((comparison.compare, (["conv4"],)), (baselines.measure, ())):
        with pytest.raises(InputError, match="There are 48 photographs, fewer than twice 25"):
            measure(tiny_model, tiny_photos(48), *arguments, 25, 64, progress=False)


def test_applications_check_first_what_the_last_of_them_needs(tiny_model, monkeypatch):
    begun = []
    monkeypatch.setattr(uses, "measure_repaint", lambda *_: begun.append("repaint"))
    with pytest.raises(InputError, match="1280 features"):
        uses.measure(tiny_model, tiny_photos(48), 20, progress=False)
    monkeypatch.setattr(uses, "check_enough", lambda *_: None)
    only_sea = replace(tiny_photos(48), labels=torch.ones(48, dtype=torch.long))
    with pytest.raises(InputError, match="None of the 20 photographs has the label"):
        uses.measure(tiny_model, only_sea, 20, progress=False)
    assert not begun


def test_ctrl_c_keeps_the_uses_that_are_measured(tiny_model, monkeypatch, capsys):
    def stop(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr(uses, "check_enough", lambda *_: None)
    monkeypatch.setattr(uses, "measure_repaint", lambda *_: {"m": (1.0, None, None, "")})
    monkeypatch.setattr(uses, "measure_compose", stop)
    result = uses.measure(tiny_model, tiny_photos(48), 20, progress=False)
    assert list(result["rows"]) == ["repaint"] and "measured: repaint" in capsys.readouterr().out
    assert "| repaint |" in uses.markdown_table(result)


def test_a_run_ends_with_its_preset_s_images(here):
    base = tiny_run()
    run = Run(replace(base.preset, images=20), base.photos, base.classifier, 0)
    assert train(run, here, progress=False).images_seen == 24  # three steps of 8


def test_more_epochs_on_resume_are_a_sentence(here):
    photos = split(tiny_photos(60))
    with seeded(0):
        judge = Judge(len(CLASSES), 8)
    train_supervised(judge, photos, here / "j.pt", 1, progress=False)
    with pytest.raises(InputError, match="another epochs; go on as it was begun"):
        train_supervised(judge, photos, here / "j.pt", 2, progress=False)
    with seeded(0):
        wider = Judge(len(CLASSES), 16)
    with pytest.raises(InputError, match="another network"):
        train_supervised(wider, photos, here / "j.pt", 1, progress=False)


def test_a_generator_cannot_begin_with_classifiers_alone(here, capsys):
    fill(here / "photos", "ab")
    assert train_classifier("photos") == 0
    assert main(["train", "tiny32", "--data", "photos", "--from", "runs/tiny32-classifier", "--steps", "1"]) == 2
    assert "holds no generator; train a generator" in capsys.readouterr().err


def test_a_classifier_cannot_begin_with_one_of_another_width(here, capsys):
    fill(here / "photos", "ab")
    assert train_classifier("photos", "--from", "scenes32") == 2
    assert "has other layers than this preset's" in capsys.readouterr().err


def test_a_judge_cannot_begin_with_one_of_another_width(here, capsys):
    fill(here / "photos", "ab")
    assert train_classifier("photos") == 0
    release = open_release("runs/tiny32-classifier")
    wide = Judge(len(release.classes), 2 * release.preset.judge_base)
    card = release.card | {"preset": release.card["preset"] | {"judge_base": 2 * release.preset.judge_base}}
    model.save(here / "wide", card, classifier=release.network("classifier"), judge=wide)
    assert train_classifier("photos", "--from", "wide", "--out", "narrow") == 2
    assert "The judge of wide has other layers than this preset's" in capsys.readouterr().err


def test_networks_of_another_preset_are_refused_before_they_are_used(here, capsys):
    release = open_release("scenes64")
    photos = split(replace(tiny_photos(96), classes=release.classes, labels=torch.arange(96) % 8))
    with pytest.raises(InputError, match="other layers than the preset photos64's"):
        start(PRESETS["photos64"], photos, release)
    run = start(PRESETS["scenes64"], replace(photos, images=photos.images.repeat(1, 1, 2, 2)), release)
    run.start_from(release)
    fc8 = run.gallery["fc8"].float()[run.gallery_labels == 3]  # of these photographs, not of the release's
    for network in (run.generator, run.ema.module):
        torch.testing.assert_close(network.class_mean[3], fc8.mean(0))
    run.preset = replace(run.preset, name="wider")
    run.generator = torch.nn.Linear(1, 1)
    with pytest.raises(InputError, match="are not those of the preset wider"):
        run.start_from(release)


def test_what_excludes_each_other_is_not_ignored(here, capsys):
    fill(here / "photos", "ab")
    for more in (["--from", "a", "--classifier", "b"], ["--vgg", "a", "--from", "b"]):
        with pytest.raises(SystemExit):
            main(["train", "tiny32", "--data", "photos", *more])
    assert main(["train", "tiny32", "--data", "photos", "--vgg", "x.safetensors"]) == 2
    assert "--vgg is for the photos presets" in capsys.readouterr().err


@pytest.mark.parametrize("seed", ["-1", str(2**31), str(2**70), "1e3", "nan"])
@pytest.mark.parametrize("command", ["demo", "train", "evaluate"])
def test_a_seed_outside_its_range_is_named(command, seed, capsys):
    arguments = [command, "tiny32"] if command == "train" else [command]
    with pytest.raises(SystemExit):
        main([*arguments, "--seed", seed])
    assert "--seed" in capsys.readouterr().err


@pytest.mark.parametrize("seed", [-1, 2**63, 2**70])
def test_a_seed_outside_its_range_is_refused_in_a_notebook(seed, tiny_model):
    with pytest.raises(pyramid.InputError, match="seed"):
        tiny_model.noise(1, seed)


def test_no_sample_and_a_million_samples_are_refused(tiny_model, capsys):
    features = tiny_model.features(torch.zeros(1, 3, 32, 32))
    for count in (0, -1):
        with pytest.raises(InputError, match="At least one sample"):
            tiny_model.generate(features, pyramid.masks.closed(), samples=count)
    for count in ("0", "1000000"):
        with pytest.raises(SystemExit):
            main(["generate", "x.png", "--samples", count])
    assert "from 1 to 64" in capsys.readouterr().err


@pytest.mark.parametrize("arguments", [["--side", "1"], ["--side", "100000"], ["--images", "0"], ["--images", "-3"]])
def test_sizes_outside_their_range_are_named(arguments, capsys):
    with pytest.raises(SystemExit):
        main(["evaluate", *arguments])
    assert arguments[0] in capsys.readouterr().err


def test_what_a_card_of_a_classifier_says_is_what_was_done(here):
    fill(here / "photos", "ab")
    assert train_classifier("photos") == 0
    card = json.loads((here / "runs/tiny32-classifier/card.json").read_text())
    photos = pyramid.scenes.load_photos("photos", 32, progress=False).part(held_out=True)
    network = open_release("runs/tiny32-classifier").network("classifier")
    with torch.no_grad():
        right = (network(data.from_bytes(photos.images)).argmax(1) == photos.labels).float().mean()
    assert card["held_out_accuracy"]["classifier"] == pytest.approx(float(right), abs=1.5 / len(photos))
