import json
import re
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from PIL import Image

from pyramid import checkpoints, data
from pyramid.classifier import Classifier
from pyramid.cli import main, parser
from pyramid.measure import baselines, levels
from test_data import bad_files

ROOT = Path(__file__).resolve().parents[2]


def command(*arguments: str) -> subprocess.CompletedProcess:
    return subprocess.run([sys.executable, "-m", "pyramid", *arguments], cwd=ROOT, capture_output=True, text=True)


@pytest.fixture
def picture(tmp_path):
    pixels = torch.randint(0, 256, (80, 90, 3), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    Image.fromarray(pixels.numpy()).save(tmp_path / "photo.png")
    return str(tmp_path / "photo.png")


def test_bad_pictures_end_with_one_sentence_and_code_2(tmp_path, capsys):
    for name in bad_files(tmp_path):
        assert main(["generate", str(tmp_path / name), "--model", "photos64"]) == 2
        printed = capsys.readouterr()
        assert name in printed.err and len(printed.err.strip().splitlines()) == 1


@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        (["--model", "photos99"], "photos64"),
        (["--levels", "conv1,conv6"], "conv6"),
        (["--label", "volcano"], "glacier"),
    ],
)
def test_unknown_names_are_answered_with_the_known(picture, capsys, arguments, named):
    assert main(["generate", picture, *arguments]) == 2
    assert named in capsys.readouterr().err


def test_no_traceback_from_the_shell(tmp_path):
    result = command("generate", str(tmp_path / "absent.jpg"))
    assert result.returncode == 2 and "Traceback" not in result.stderr and "absent.jpg" in result.stderr


def test_demo_and_generate_write_pictures(picture, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert main(["demo"]) == 0
    assert Image.open(tmp_path / "outputs" / "demo.png").width > 800
    out = tmp_path / "out.png"
    assert main(["generate", picture, "--levels", "conv1,fc8", "--samples", "2", "--out", str(out)]) == 0
    assert Image.open(out).width > 200 and "classifier sees" in capsys.readouterr().out


def test_generate_passes_a_photograph_through_vgg_once(picture, tmp_path, monkeypatch):
    passes, plain = [], Classifier.pyramid_of_normalised

    def counted(self, x, *args):
        passes.append(len(x))
        return plain(self, x, *args)

    monkeypatch.setattr(Classifier, "pyramid_of_normalised", counted)
    assert main(["generate", picture, "--samples", "1", "--out", str(tmp_path / "out.png")]) == 0
    assert passes == [1]


def test_train_classifier_then_train_then_load(tmp_path, monkeypatch, capsys):
    """The whole way of a student with a folder of their own, at the smallest preset."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(data, "CACHE", tmp_path / "cache")
    generator = torch.Generator().manual_seed(0)
    for label in ("a", "b"):
        (tmp_path / "photos" / label).mkdir(parents=True)
        for i in range(80):
            pixels = torch.randint(0, 128, (32, 32, 3), dtype=torch.uint8, generator=generator)
            pixels[..., 0 if label == "a" else 2] += 120
            Image.fromarray(pixels.numpy()).save(tmp_path / "photos" / label / f"{i}.png")
    base = ["--data", "photos"]
    assert main(["train-classifier", "--preset", "tiny32", *base, "--epochs", "25"]) == 0
    card = json.loads((tmp_path / "runs/tiny32-classifier/card.json").read_text())
    assert card["held_out_accuracy"]["classifier"] > 0.9  # red against blue
    assert main(["train", "tiny32", *base, "--classifier", "runs/tiny32-classifier", "--steps", "3"]) == 0
    assert main(["train", "tiny32", *base, "--from", "runs/tiny32/model", "--out", "again", "--steps", "1"]) == 0
    less = ["--classifier", "runs/tiny32-classifier", "--steps", "1", "--without", "diversity"]
    assert main(["train", "tiny32", *base, *less]) == 0
    assert (tmp_path / "runs/tiny32-without-diversity/model/card.json").is_file()
    assert main(["generate", "photos/a/0.png", "--model", "runs/tiny32/model", "--samples", "1"]) == 0
    capsys.readouterr()
    assert main(["evaluate", "runs/tiny32/model", *base, "--side", "32"]) == 0  # its held-out tenth, against the rest
    printed = capsys.readouterr().out
    held_out = sum(int(checkpoints.sha256(path), 16) % 10 == 0 for path in (tmp_path / "photos").rglob("*.png"))
    assert f"{held_out} held-out photographs" in printed and f"with {held_out} it is left out" in printed
    assert "KID" in printed and "Fréchet distance (" not in printed
    assert "(other photographs of the same folder against the same references)" in printed
    assert "training photographs" not in printed
    fid = ["--fid", "absent.pth", "--statistics", "s.npz"]  # too few images: neither is read nor named
    few = ["--side", "32", "--images", "8"]
    assert main(["evaluate", "runs/tiny32/model", *base, "--against", "photos", *few, *fid]) == 0
    said = capsys.readouterr()
    assert "FID needs more than 2048 images" in said.out and "s.npz" not in said.out and "absent" not in said.err
    assert main(["evaluate", "runs/tiny32/model", *base, "--against", "photos", *few]) == 0
    assert "(training photographs against the same references)" in capsys.readouterr().out


def test_training_needs_the_classes_of_its_classifier(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(data, "CACHE", tmp_path / "cache")
    Image.new("RGB", (64, 64)).save(tmp_path / "x.png")
    assert main(["train", "photos64", "--data", str(tmp_path), "--classifier", "photos64"]) == 2
    assert "train-classifier" in capsys.readouterr().err


def test_a_preset_without_a_dataset_asks_for_one(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    for arguments in (["train", "photos64"], ["train-classifier"], ["evaluate", "photos64"], ["applications"]):
        assert main(arguments) == 2
        printed = capsys.readouterr().err
        assert "--data" in printed and "photos64" in printed and len(printed.strip().splitlines()) == 1


def test_a_measurement_is_written_as_json_markdown_and_one_figure(tmp_path, monkeypatch):
    """The measuring itself is replaced: by a released table, and by flat pictures of every use."""
    monkeypatch.chdir(tmp_path)
    card = checkpoints.read_card(checkpoints.find_model("photos64"))
    table = {key: value for key, value in card["tables"]["levels"].items() if key not in ("markdown", "command")}
    row = {"kid": 0.5, "kid_spread": 0.1, "judge": 0.25, "layout": 0.75}
    uses = {
        "settings": {"images": 1, "side": 160, "seed": 0},
        "rows": {"relabel": {"pyramid": row}},
        "pictures": {"relabel": {"pyramid": torch.zeros(6, 3, 64, 64)}},
    }
    photos = data.Photos(None, torch.zeros(9), None, tuple(card["classes"]))
    monkeypatch.setattr("pyramid.cli.measure.load_photos", lambda *_, **__: photos)
    monkeypatch.setattr(levels, "evaluate", lambda *_: table)
    monkeypatch.setattr(baselines, "measure", lambda *_: dict(uses))
    for arguments, name in ((["evaluate", "--against", "b"], "photos64-224px"), (["baselines"], "photos64-baselines")):
        assert main([*arguments, "--data", "a"]) == 0
        written = {path.suffix for path in (tmp_path / "outputs").glob(f"{name}*")}
        assert written == {".json", ".md", ".png"}
        assert Image.open(tmp_path / "outputs" / f"{name}.png").width > 400
    assert main(["baselines", "--data", "a", "--out", "mine.md"]) == 0  # nothing overwrites anything
    assert {path.name for path in tmp_path.glob("mine*")} == {"mine.md.json", "mine.md.md", "mine.md.png"}
    assert json.loads((tmp_path / "outputs/photos64-224px.json").read_text()) == table
    assert (tmp_path / "outputs/photos64-224px.md").read_text(encoding="utf-8") == levels.markdown_table(table) + "\n"
    assert "| relabel | pyramid | 0.50 ± 0.10 | 25% | – | – | – | 75% |" in (
        tmp_path / "outputs/photos64-baselines.md"
    ).read_text(encoding="utf-8")


def test_models_lists_what_is_released(capsys):
    assert main(["models"]) == 0
    printed = capsys.readouterr().out
    assert all(name in printed for name in checkpoints.released())


def test_help_of_every_command_fits_a_screen():
    for name in ("demo", "generate", "train", "train-classifier", "evaluate", "models"):
        sub = parser()._subparsers._group_actions[0].choices[name]
        assert len(sub.format_help().splitlines()) <= 30, name


def test_readme_and_ci_name_the_same_test_command():
    readme, ci = (ROOT / "README.md").read_text(), (ROOT / ".ci" / "run").read_text()
    lines = [line for line in ci.splitlines() if "pytest" in line]
    assert len(lines) == 1 and lines[0] in readme
    assert re.search(r"python -m pyramid demo", readme)
