import math

import pytest
import torch

from pyramid.panels import painting
from pyramid.panels.painting import Stroke


def test_a_dot_is_a_disc_and_a_line_a_band():
    dot = painting.rasterise([Stroke(0.25, points=[(0.5, 0.5)])], 64)
    assert dot.sum().item() == pytest.approx(math.pi * 16**2, rel=0.05)
    assert dot[32, 32] == 1 and dot[2, 2] == 0
    line = painting.rasterise([Stroke(0.1, points=[(0.2, 0.5), (0.8, 0.5)])], 64)
    assert line.sum().item() == pytest.approx(0.6 * 0.2 * 64**2 + math.pi * 6.4**2, rel=0.05)


def test_the_same_strokes_cover_the_same_places_at_any_size():
    strokes = [Stroke(0.08, points=[(0.1, 0.2), (0.5, 0.7), (0.9, 0.4)])]
    fine, coarse = painting.rasterise(strokes, 128), painting.rasterise(strokes, 32)
    averaged = fine.reshape(32, 4, 32, 4).mean((1, 3))
    assert (averaged - coarse).abs().max() < 0.5 and (averaged - coarse).abs().mean() < 0.02


def test_an_eraser_takes_away_what_came_before_it_only():
    paint, erase = Stroke(0.3, points=[(0.5, 0.5)]), Stroke(0.1, erase=True, points=[(0.5, 0.5)])
    assert painting.rasterise([paint, erase], 64)[32, 32] == 0
    assert painting.rasterise([erase, paint], 64)[32, 32] == 1


@pytest.fixture
def painter():
    pytest.importorskip("ipycanvas")
    calls = []
    made = painting.Painter(lambda: calls.append(len(made.strokes)))
    return made, calls


def test_a_stroke_is_gathered_and_reported_once(painter):
    made, calls = painter
    made.move(0.9, 0.9)  # no button held: nothing is drawn
    made.down(0.2, 0.5)
    made.move(0.5, 0.5)
    made.move(0.8, 0.5)
    assert calls == []
    made.up()
    made.up()  # leaving the canvas afterwards is no second stroke
    assert calls == [1] and made.strokes[0].points == [(0.2, 0.5), (0.5, 0.5), (0.8, 0.5)]
    region = made.region(64)
    assert region[32, 32] == 1 and region[5, 5] == 0


def test_undo_clear_size_and_eraser(painter):
    made, calls = painter
    made.radius.value = 0.2
    made.down(0.5, 0.5)
    made.up()
    made.eraser.value = True
    made.down(0.5, 0.5)
    made.up()
    assert [s.erase for s in made.strokes] == [False, True] and made.strokes[0].radius == 0.2
    assert made.region(32).max() == 0
    made.undo()
    assert made.region(32)[16, 16] == 1
    made.clear()
    made.undo()  # nothing left to undo: no error
    assert made.region(32).max() == 0 and calls == [1, 2, 1, 0, 0]


def test_without_a_canvas_four_sliders_give_a_rectangle(monkeypatch):
    monkeypatch.setattr(painting, "ipycanvas", None)
    calls = []
    box = painting.painter(lambda: calls.append(1), colour=painting.INK)
    assert isinstance(box, painting.BoxSliders)
    box.left.value, box.right.value, box.top.value, box.bottom.value = 0.0, 0.5, 0.5, 1.0
    expected = torch.zeros(32, 32)
    expected[16:, :16] = 1
    assert torch.equal(box.region(32), expected) and len(calls) == 4
