import io
import threading

import pytest
import torch
from PIL import Image

from pyramid import figures, widgets
from pyramid.errors import InputError


def photo():
    return torch.rand(1, 3, 32, 32, generator=torch.Generator().manual_seed(0)) * 2 - 1


def test_mix_shows_another_picture_when_a_slider_moves(tiny_model):
    first = figures.png(widgets.mix(tiny_model, photo(), {"conv1": 1.0}, None, 0))
    again = figures.png(widgets.mix(tiny_model, photo(), {"conv1": 1.0}, None, 0))
    moved = figures.png(widgets.mix(tiny_model, photo(), {"conv1": 0.5}, None, 0))
    assert Image.open(io.BytesIO(first)).size[0] > 400
    assert first == again and first != moved


def test_unfamiliar_picture_is_said_to_be_so(tiny_model, monkeypatch):
    for threshold, expected in ((0.0, False), (1.1, True)):
        monkeypatch.setitem(tiny_model.card, "familiar_above", threshold)
        figure = widgets.mix(tiny_model, photo(), {"fc8": 1.0}, "sea", 0)
        assert any("resembles nothing" in text.get_text() for text in figure.texts) == expected


def test_uploads_of_both_ipywidgets_generations():
    seven = {"a.png": {"metadata": {}, "content": b"x"}}
    eight = ({"name": "a.png", "content": memoryview(b"x")},)
    assert widgets.uploaded_files(seven) == widgets.uploaded_files(eight) == [("a.png", b"x")]


def test_uploaded_picture_and_uploaded_nonsense(tmp_path):
    stream = io.BytesIO()
    Image.new("RGB", (50, 40), "white").save(stream, "PNG")
    assert widgets.open_upload("a.png", stream.getvalue(), 32, tmp_path).min() == 1
    with pytest.raises(InputError, match="b.png"):
        widgets.open_upload("../b.png", b"nonsense", 32, tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_stale_requests_are_dropped_and_the_newest_is_served():
    value, seen = {"now": 0}, []
    started, release = threading.Event(), threading.Event()

    def work():
        seen.append(value["now"])
        started.set()
        release.wait(10)

    latest = widgets.Latest(work)
    threads = [latest.ask()]
    assert started.wait(10)
    for i in range(1, 6):
        value["now"] = i
        threads.append(latest.ask())
    release.set()
    for thread in threads:
        thread.join(10)
    assert seen == [0, 5]


def test_panel_redraws_and_reports(tiny_model, tmp_path):
    paths = []
    for name, colour in (("a", "red"), ("b", "blue")):
        Image.new("RGB", (64, 64), colour).save(tmp_path / f"{name}.png")
        paths.append(tmp_path / f"{name}.png")
    panel = widgets.slider_panel(tiny_model, paths)
    controls, right = panel.children
    picture, status = right.children
    before = picture.value
    sliders = {c.description: c for c in controls.children}
    sliders["conv1"].value = 0.7
    for thread in threading.enumerate():
        if thread is not threading.current_thread() and thread.daemon:
            thread.join(20)
    assert picture.value != before and status.value == "ready"
