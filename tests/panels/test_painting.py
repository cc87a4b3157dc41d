import io
import math

import pytest
import torch
from PIL import Image

from pyramid.panels import painting
from pyramid.panels.painting import Rectangle, Stroke


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
    made = painting.Brush(lambda: calls.append(len(made.marks)))
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
    assert calls == [1] and made.marks[0].points == [(0.2, 0.5), (0.5, 0.5), (0.8, 0.5)]
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
    assert [s.erase for s in made.marks] == [False, True] and made.marks[0].radius == 0.2
    assert made.region(32).max() == 0
    made.undo()
    assert made.region(32)[16, 16] == 1
    made.clear()
    made.undo()  # nothing left to undo: no error
    assert made.region(32).max() == 0 and calls == [1, 2, 1, 0, 0]


def test_a_finger_paints_what_the_mouse_paints(painter):
    made, calls = painter
    top = made.canvas[1]  # where the browser's events arrive

    def touch(event, *fingers):
        top._handle_frontend_event(top, {"event": event, "touches": [{"x": x, "y": y} for x, y in fingers]}, [])

    touch("touch_start", (64, 160))
    touch("touch_move", (160, 160))
    assert calls == [] and made.marks[0].points == [(0.2, 0.5), (0.5, 0.5)]
    touch("touch_end")
    assert calls == [1] and made.region(64)[32, 20] == 1
    touch("touch_start", (10, 10))
    touch("touch_start", (10, 10), (300, 300))  # a second finger ends the stroke and does not jump across
    touch("touch_move", (20, 10), (300, 310))
    touch("touch_end", (20, 10))
    touch("touch_move", (200, 10))
    assert calls == [1, 2] and made.marks[1].points == [(10 / 320, 10 / 320)]


def test_a_rectangle_covers_its_part_and_an_empty_one_nothing():
    expected = torch.zeros(32, 32)
    expected[16:, :16] = 1
    assert torch.equal(painting.rasterise([Rectangle((0, 0.5, 0.5, 1))], 32), expected)
    assert painting.rasterise([Rectangle((0.7, 0.1, 0.3, 0.9))], 32).max() == 0
    # edges between pixels count for the share they cover: 10.5 by 21 of 32 pixels
    assert painting.rasterise([Rectangle((0, 0, 10.5 / 32, 21 / 32))], 32).sum().item() == pytest.approx(
        220.5, rel=1e-2
    )


def by_name(sliders, **values):
    for slider in sliders.sides:
        slider.value = values.get(slider.description, slider.value)


def press(way, name):
    next(button for button in way.widget.children[-1].children if button.description == name).click()


def test_without_a_canvas_there_are_the_sliders_alone(monkeypatch):
    monkeypatch.setattr(painting, "ipycanvas", None)
    calls = []
    box = painting.painter(lambda: calls.append(1), colour=painting.INK)
    assert isinstance(box, painting.Sliders)
    by_name(box, left=0.0, right=0.5, top=0.5, bottom=1.0)
    expected = torch.zeros(32, 32)
    expected[16:, :16] = 1
    assert torch.equal(box.region(32), expected) and len(calls) == 4


def test_sliders_add_erase_undo_and_clear():
    sliders = painting.Sliders(lambda: None)
    by_name(sliders, left=0.0, top=0.0, right=0.5, bottom=0.5)
    press(sliders, "add")
    by_name(sliders, left=0.5, top=0.5, right=1.0, bottom=1.0)
    quarters = sliders.region(32).reshape(2, 16, 2, 16).mean((1, 3))
    assert torch.equal(quarters, torch.tensor([[1.0, 0.0], [0.0, 1.0]]))
    sliders.eraser.value = True
    by_name(sliders, left=0.0, top=0.0, right=0.26)  # takes the left half of the first box away, and more below it
    assert sliders.region(32)[:16, :8].max() == 0 and sliders.region(32)[:16, 9:16].min() == 1
    press(sliders, "undo")
    assert sliders.region(32).max() == 0  # only what erases is left
    sliders.eraser.value = False
    press(sliders, "add")
    by_name(sliders, left=0.9, top=0.9)
    assert sliders.region(32)[2, 2] == 1
    press(sliders, "clear")
    assert sliders.region(32)[2, 2] == 0


def test_a_line_of_the_sliders_is_a_stroke_of_the_brush():
    sliders = painting.Sliders(lambda: None, radius=0.05)
    sliders.shape.value = "line"
    by_name(sliders, left=0.8, top=0.2, right=0.2, bottom=0.9)
    assert torch.equal(sliders.region(64), painting.rasterise([Stroke(0.05, points=[(0.8, 0.2), (0.2, 0.9)])], 64))


def test_sliders_show_their_marks_on_the_picture():
    sliders = painting.Sliders(lambda: None, colour=(230, 40, 90), opacity=0.5)
    sliders.show(Image.new("RGB", (8, 8), (0, 0, 255)))
    shown = Image.open(io.BytesIO(sliders.picture.value))
    assert shown.getpixel((5, 5)) == (0, 0, 255)
    assert shown.getpixel((160, 160)) == pytest.approx((115, 20, 172), abs=2)  # half of each


def test_the_choice_between_brush_and_sliders():
    pytest.importorskip("ipycanvas")
    calls = []
    both = painting.painter(lambda: calls.append(1))
    brush, sliders = both.ways["brush"], both.ways["sliders"]
    brush.down(0.1, 0.1)
    brush.up()
    assert both.region(32)[3, 3] == 1 and both.region(32)[16, 16] == 0
    assert sliders.widget.layout.display == "none" and brush.widget.layout.display != "none"
    both.choice.value = "sliders"
    assert both.region(32)[3, 3] == 0 and both.region(32)[16, 16] == 1 and len(calls) == 2
    assert brush.widget.layout.display == "none" and sliders.widget.layout.display != "none"
    both.choice.value = "brush"
    assert both.region(32)[3, 3] == 1  # what was painted is still there
