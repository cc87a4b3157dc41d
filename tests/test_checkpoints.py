import json
import os

import pytest
import torch

from conftest import CLASSES
from pyramid import checkpoints, model
from pyramid.errors import InputError


@pytest.fixture
def saved(tiny_model, tmp_path):
    card = {"preset": tiny_model.preset.asdict(), "classes": CLASSES, "familiar_above": 0.5}
    parts = {"classifier": tiny_model.classifier, "judge": tiny_model.judge, "generator": tiny_model.generator}
    model.save(tmp_path / "m", card, **parts)
    return tmp_path / "m"


def test_saved_model_loads_to_half_precision(tiny_model, saved):
    loaded = model.load(saved, device="cpu")
    assert loaded.classes == CLASSES and loaded.preset == tiny_model.preset
    for part in ("classifier", "judge"):
        for ours, theirs in zip(*(getattr(m, part).parameters() for m in (tiny_model, loaded)), strict=True):
            assert torch.equal(ours.half().float(), theirs)


def test_one_changed_byte_is_noticed(saved):
    path = saved / "generator.safetensors"
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(content)
    with pytest.raises(InputError, match="SHA-256"):
        model.load(saved)


def test_missing_file_unknown_name_and_damaged_card(saved):
    with pytest.raises(InputError, match="there are"):
        model.load("no-such-model")
    (saved / "judge.safetensors").unlink()
    with pytest.raises(InputError, match="judge.safetensors"):
        model.load(saved)
    (saved / "card.json").write_text("{")
    with pytest.raises(InputError, match="damaged"):
        model.load(saved)


def test_weights_of_another_preset_are_refused(tiny_model, saved):
    card = json.loads((saved / "card.json").read_text())
    card["classes"] = list(CLASSES[:2])
    (saved / "card.json").write_text(json.dumps(card))
    with pytest.raises(InputError, match="does not fit"):
        model.load(saved)


def test_full_disk_leaves_the_old_checkpoint(tmp_path, monkeypatch):
    path = tmp_path / "checkpoint.pt"
    checkpoints.save_state(path, {"step": 1})

    def full(_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(InputError, match="checkpoint.pt could not be written .No space left"):
        checkpoints.save_state(path, {"step": 2})
    assert checkpoints.load_state(path) == {"step": 1}
    assert [p.name for p in tmp_path.iterdir()] == ["checkpoint.pt"]


def test_pickled_objects_are_not_loaded(tmp_path):
    torch.save({"step": InputError("code")}, tmp_path / "checkpoint.pt")
    with pytest.raises(InputError, match="not a checkpoint"):
        checkpoints.load_state(tmp_path / "checkpoint.pt")
