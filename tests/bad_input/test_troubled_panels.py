"""Whatever goes wrong in a panel is said in words, and the panel goes on."""

import pytest
from PIL import Image

from pyramid.panels import base, slider_panel, study_panel
from pyramid.panels.base import Chooser, Panel


@pytest.mark.parametrize("error", [ZeroDivisionError("by zero"), RuntimeError("out of memory"), KeyError("conv9"),
                                   OSError(28, "No space left on device"), AssertionError()])  # fmt: skip
def test_any_exception_is_shown_and_the_next_drawing_works(error):
    answers = [error, b"fine"]

    def draw():
        answer = answers.pop(0)
        if isinstance(answer, Exception):
            raise answer
        return answer

    panel = Panel("p", draw)
    panel.ask().join(20)
    assert type(error).__name__ in panel.status.value and "drawing" not in panel.status.value
    panel.ask().join(20)
    assert panel.status.value == "ready" and panel.picture.value == b"fine"


def test_what_an_error_says_is_text_and_not_markup():
    assert "<img" not in base.in_words(ValueError("<img src=x onerror=alert(1)>"))


@pytest.fixture
def paths(tmp_path):
    for name, colour in (("a", "red"), ("b", "blue")):
        Image.new("RGB", (64, 64), colour).save(tmp_path / f"{name}.png")
    return [tmp_path / "a.png", tmp_path / "b.png"]


def test_a_photograph_that_has_gone_is_said(paths, tiny_model):
    said = []
    chooser = Chooser(tiny_model, said.append, lambda: None, paths)
    paths[1].unlink()
    chooser.menu.value = 1
    assert "b.png" in said[0] and chooser.photo[0, 0].min() == 1  # still the one before
    paths[0].write_bytes(b"broken since")
    chooser.menu.value = 0
    assert "a.png" in said[1]


def test_an_upload_that_breaks_the_reader_is_said(paths, tiny_model, monkeypatch):
    said = []
    chooser = Chooser(tiny_model, said.append, lambda: None, paths)
    monkeypatch.setattr(base, "open_upload", lambda *_: 1 / 0)
    chooser._uploaded({"x.png": {"content": b""}})
    assert "ZeroDivisionError" in said[0]


def test_a_disk_that_is_full_is_said_when_saving(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "outputs").write_text("no folder")
    panel = Panel("p", lambda: b"x")
    panel.redraw()
    panel.save()
    assert "p.png" in panel.status.value and "<b>" in panel.status.value


def test_a_study_whose_answers_cannot_be_written_says_so(paths, tiny_model, tmp_path):
    (tmp_path / "study").write_text("no folder")
    show, buttons, status = study_panel(tiny_model, "ann", tmp_path / "study", each=1, photographs=paths).children
    start, left, _ = buttons.children
    start.click()
    assert "Which one" in status.value
    left.click()
    assert "<b>" in status.value and "study" in status.value


def test_a_model_that_fails_leaves_the_sliders_alive(paths, tiny_model, monkeypatch):
    widget = slider_panel(tiny_model, paths)
    monkeypatch.setattr(type(tiny_model), "generate", lambda *_, **__: 1 / 0)
    controls, result = widget.children
    controls.children[0].value = 0.5
    import threading

    for thread in threading.enumerate():
        if thread.name == "redraw":
            thread.join(20)
    status = result.children[1].children[1]
    assert "ZeroDivisionError" in status.value
