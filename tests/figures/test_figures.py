"""Figures put every number and name where it belongs; how they look is looked at, not asserted."""

import torch
from PIL import Image

from pyramid import figures


def test_attention_marks_the_point_that_was_asked():
    """Point (row, column) of an 8x8 map over a 32-pixel image lies at ((column + .5) * 4, (row + .5) * 4)."""
    figure = figures.plot_attention(torch.zeros(1, 3, 32, 32), torch.rand(1, 1, 8, 8), [(2, 5)])
    (line,) = figure.axes[1].lines
    assert line.get_xydata().tolist() == [[22.0, 10.0]]


def test_matrix_writes_every_number():
    figure = figures.plot_matrix(torch.tensor([[1.0, -2.5]]), ("a",), ("b", "c"), "down", "across")
    assert [text.get_text() for text in figure.axes[0].texts] == ["1.0", "-2.5"]


def test_level_table_draws_every_interval_and_floor():
    """Bars end at the values, their errors at the interval's ends or a spread away, the dotted line at the floor."""
    row = {"frechet": 30.0, "frechet_spread": 2.0, "kid": 0.02, "kid_spread": 0.0, "judge": 0.9, "z_distance": 0.3}
    ends = {"gain": [0.1, 0.4], "top5": [0.5, 0.9], "judge": [0.8, 0.95], "z_distance": [0.2, 0.4]}
    rows = {"conv1": row | {"gain": 0.2, "top5": 0.6, "intervals": ends}, "closed": row | {"intervals": ends}}
    settings = {"classes": ["a", "b", "c", "d"]}
    result = {"rows": rows, "floor": {"frechet": 13.0, "kid": 0.0}, "photo_distance": 0.5, "settings": settings}
    drawn = {axes.get_ylabel(): axes for axes in figures.plot_level_table(result).axes}
    assert set(drawn) == {
        figures.LEVEL_PANELS[key] for key in ("frechet", "kid", "gain", "top5", "judge", "z_distance")
    }

    def panel(title):
        axes = drawn[title]
        (errors,) = [c for c in axes.containers if hasattr(c, "has_yerr")]
        return [bar.get_height() for bar in axes.patches], errors.lines[2][0].get_segments(), axes.lines[-1].get_ydata()

    heights, errors, line = panel("Fréchet distance")
    assert heights == [30, 30] and [s[:, 1].tolist() for s in errors] == [[28, 32]] * 2 and list(line) == [13, 13]
    heights, errors, line = panel("reference in nearest 5")
    assert heights == [0.6]  # there is no reference to look up where everything is closed
    torch.testing.assert_close(torch.tensor(errors[0][:, 1]), torch.tensor([0.5, 0.9]).double())
    assert panel("class agreement")[2][0] == 0.25 and panel("distance of two z")[2][0] == 0.5


def test_blocks_do_not_overlap_and_keep_their_names():
    blocks = {"one": {"a, b": torch.zeros(3, 3, 8, 8)}, "two": {"c": torch.zeros(2, 3, 8, 8)}}
    blocks["three"] = {name: torch.zeros(3, 3, 8, 8) for name in "de"}
    figure = figures.plot_blocks(blocks)
    boxes = [axes.get_position() for axes in figure.axes]
    assert len(boxes) == 3 + 2 + 6
    assert not any(a.overlaps(b) for i, a in enumerate(boxes) for b in boxes[:i])
    assert [text.get_text() for text in figure.texts] == ["a,\nb", "one", "c", "two", "d", "e", "three"]


def test_png_of_a_figure_opens(tmp_path):
    figure = figures.plot_lines(torch.arange(3.0), {"y": torch.arange(3.0)}, "x", "y")
    (tmp_path / "f.png").write_bytes(figures.png(figure))
    assert Image.open(tmp_path / "f.png").width > 300
