"""Panels by their controls, and the plain functions behind them, without a notebook."""

import io
import threading

import ipywidgets
import pytest
import torch
from PIL import Image

from pyramid import figures, panels
from pyramid.errors import InputError
from pyramid.panels import base, painting, uses


def photo():
    return torch.rand(1, 3, 32, 32, generator=torch.Generator().manual_seed(0)) * 2 - 1


def test_mix_shows_another_picture_when_a_slider_moves(tiny_model):
    first = figures.png(panels.plot_mix(tiny_model, photo(), {"conv1": 1.0}, None, 0))
    again = figures.png(panels.plot_mix(tiny_model, photo(), {"conv1": 1.0}, None, 0))
    moved = figures.png(panels.plot_mix(tiny_model, photo(), {"conv1": 0.5}, None, 0))
    assert Image.open(io.BytesIO(first)).size[0] > 400
    assert first == again and first != moved


def test_unfamiliar_picture_is_said_to_be_so(tiny_model, monkeypatch):
    for threshold, expected in ((0.0, False), (1.1, True)):
        monkeypatch.setitem(tiny_model.card, "familiar_above", threshold)
        figure = panels.plot_mix(tiny_model, photo(), {"fc8": 1.0}, "sea", 0)
        assert any("resembles nothing" in text.get_text() for text in figure.texts) == expected


def test_mix_encodes_the_photograph_once_and_its_picture_once(tiny_model, monkeypatch):
    seen, encode = [], tiny_model.classifier.pyramid
    monkeypatch.setattr(tiny_model.classifier, "pyramid", lambda images: seen.append(images) or encode(images))
    panels.plot_mix(tiny_model, photo(), {"conv1": 1.0}, None, 0)
    assert [len(images) for images in seen] == [1, 1] and torch.equal(seen[0], photo())


def test_uploads_of_both_ipywidgets_generations():
    seven = {"a.png": {"metadata": {}, "content": b"x"}}
    eight = ({"name": "a.png", "content": memoryview(b"x")},)
    assert base.uploaded_files(seven) == base.uploaded_files(eight) == [("a.png", b"x")]


def test_uploaded_picture_and_uploaded_nonsense():
    stream = io.BytesIO()
    Image.new("RGB", (50, 40), "white").save(stream, "PNG")
    assert base.open_upload("a.png", stream.getvalue(), 32).min() == 1
    with pytest.raises(InputError, match="b.png"):
        base.open_upload("../b.png", b"nonsense", 32)


def test_stale_requests_are_dropped_and_the_newest_is_served():
    value, seen = {"now": 0}, []
    started, release = threading.Event(), threading.Event()

    def work():
        seen.append(value["now"])
        started.set()
        release.wait(10)

    latest = base.Latest(work)
    threads = [latest.ask()]
    assert started.wait(10)
    for i in range(1, 6):
        value["now"] = i
        threads.append(latest.ask())
    release.set()
    for thread in threads:
        thread.join(10)
    assert seen == [0, 5]


@pytest.fixture
def paths(tmp_path):
    for name, colour in (("a", "red"), ("b", "blue")):
        Image.new("RGB", (64, 64), colour).save(tmp_path / f"{name}.png")
    return [tmp_path / "a.png", tmp_path / "b.png"]


def settle():
    for thread in threading.enumerate():
        if thread.name == "redraw":
            thread.join(20)


def widgets_of(widget):
    """A widget and all it holds, the outer ones first."""
    queue = [widget]
    while queue:
        one = queue.pop(0)
        queue += getattr(one, "children", ())
        yield one


def parts(widget):
    """All controls of a panel by description, and its picture, status and save button."""
    found = {}
    for one in widgets_of(widget):
        if getattr(one, "description", ""):
            found[one.description] = one
        elif isinstance(one, ipywidgets.HTML):
            found["status"] = one
        elif isinstance(one, ipywidgets.Image):
            found.setdefault("shown", one)  # the panel's own lies higher than the sliders'
    return found


PANELS = {
    "mix": (panels.slider_panel, "conv1", 0.7),
    "repainted": (panels.repaint_panel, "level inside", "conv2"),
    "composed": (panels.compose_panel, "left/right", 0.3),
    "relabelled": (panels.relabel_panel, "strength", 0.5),
    "sketched": (lambda model, _: panels.sketch_panel(model), "level", "conv2"),
}


@pytest.mark.parametrize("name", PANELS)
def test_panel_redraws_reports_and_saves(name, tiny_model, paths, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(uses, "painter", lambda changed, **style: painting.Sliders(changed))
    make, control, value = PANELS[name]
    panel = parts(make(tiny_model, paths))
    before = panel["shown"].value
    assert panel["status"].value == "ready" and len(before) > 1000
    panel[control].value = value
    settle()
    assert panel["status"].value == "ready" and panel["shown"].value != before
    panel["save picture"].click()
    panel["save picture"].click()  # never over an older one
    assert Image.open(tmp_path / "outputs" / f"{name}.png").width > 300
    assert (tmp_path / "outputs" / f"{name}-1.png").is_file() and f"{name}-1.png" in panel["status"].value


def test_panel_says_errors_in_words(tiny_model, paths, monkeypatch):
    monkeypatch.setattr(uses, "painter", lambda changed, **style: painting.Sliders(changed))
    panel = parts(panels.compose_panel(tiny_model, paths))
    before = panel["shown"].value
    panel["right"].value = 0.0  # an empty box
    settle()
    assert "Nothing is marked" in panel["status"].value and panel["shown"].value == before


@pytest.mark.parametrize("name", ["repainted", "composed", "sketched"])
def test_brush_and_sliders_lead_to_the_same_picture(name, tiny_model, paths):
    """A stroke of the brush and the line of the sliders that covers the same, in every panel that has both."""
    pytest.importorskip("ipycanvas")
    widget = PANELS[name][0](tiny_model, paths)
    panel = parts(widget)
    choice = panel["mark with"]
    canvas = next(each for each in widgets_of(widget) if isinstance(each, painting.ipycanvas.MultiCanvas))
    for event, x, y in (("down", 0.3, 0.3), ("move", 0.7, 0.7), ("up", 0.7, 0.7)):
        canvas[1]._handle_frontend_event(canvas[1], {"event": f"mouse_{event}", "x": 320 * x, "y": 320 * y}, [])
    settle()
    brushed = panel["shown"].value
    choice.value = "sliders"
    settle()
    assert panel["status"].value == "ready" and panel["shown"].value != brushed  # a box, so far
    panel["shape"].value = "line"
    settle()
    assert panel["status"].value == "ready" and panel["shown"].value == brushed


def test_sketch_is_drawn_dark_on_white(tiny_model):
    ink = torch.zeros(32, 32)
    ink[10:20] = 1
    first = figures.png(panels.plot_sketch(tiny_model, ink, "conv4", "sea", 0))
    other = figures.png(panels.plot_sketch(tiny_model, ink.T, "conv4", "sea", 0))
    assert first != other


def test_placement_keeps_proportions():
    region = torch.zeros(32, 32)
    region[8:16, 4:20] = 1  # twice as wide as high
    left, top, right, bottom = uses.placement(region, 0.5, 0.6, 0.4)
    assert (left, right) == (pytest.approx(0.3), pytest.approx(0.7))
    assert (top, bottom) == (pytest.approx(0.5), pytest.approx(0.7))
    with pytest.raises(InputError, match="Nothing is marked"):
        uses.placement(torch.zeros(8, 8), 0.5, 0.5, 0.5)
