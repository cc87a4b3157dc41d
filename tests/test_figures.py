"""Figures read runs as training writes them; what they show is looked at, not asserted."""

import json

import torch
from PIL import Image

from pyramid import figures, widgets
from pyramid.data import to_bytes
from pyramid.levels import LEVELS


def a_run(folder, lines=3, grids=(100, 2000)):
    folder.mkdir()
    if lines:
        rows = [{"images": 50 * i, "loss_d": 2.0, "loss_rec": 1.0 / (i + 1), "distance": 0.1} for i in range(lines)]
        (folder / "metrics.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    for i, images in enumerate(grids):
        columns = len(LEVELS) + 2
        pixels = to_bytes(torch.full((8, columns, 3, 32, 32), 2.0 * i - 1))
        figures.save_grid(pixels).save(folder / f"samples-{images:07d}.png")
    return folder


def test_newest_samples_is_the_one_of_most_images(tmp_path):
    newest = figures.newest_samples(a_run(tmp_path / "run"))
    assert newest.getpixel((0, 0)) == (255, 255, 255)  # the second grid is white, the first black
    assert figures.newest_samples(a_run(tmp_path / "empty", 0, ())) is None


def test_pictures_of_a_run_at_any_stage(tmp_path):
    assert len(widgets.run_pictures(a_run(tmp_path / "begun", 0, ()))) == 1  # curves only, empty
    pictures = widgets.run_pictures(a_run(tmp_path / "going"))
    assert len(pictures) == 2 and all(data.startswith(b"\x89PNG") for data in pictures)


def test_samples_show_only_the_rows_asked_for(tmp_path):
    samples = figures.newest_samples(a_run(tmp_path / "run"))
    axes = figures.show_samples(samples, rows=2).axes[0]
    assert axes.images[0].get_array().shape[:2] == (2 * 34 - 2, 9 * 34 - 2)
    assert [text.get_text() for text in axes.texts] == ["reference", *LEVELS, "closed"]


def test_curves_of_several_runs_are_named(tmp_path):
    runs = {name: a_run(tmp_path / name) for name in ("whole", "less")}
    figure = figures.show_run_curves(runs)
    assert [text.get_text() for text in figure.legends[0].get_texts()] == ["whole", "less"]
    assert all(len(axes.lines) >= 2 for axes in figure.axes)


def test_attention_marks_the_point_that_was_asked():
    """Point (row, column) of an 8x8 map over a 32-pixel image lies at ((column + .5) * 4, (row + .5) * 4)."""
    figure = figures.show_attention(torch.zeros(1, 3, 32, 32), torch.rand(1, 1, 8, 8), [(2, 5)])
    (line,) = figure.axes[1].lines
    assert line.get_xydata().tolist() == [[22.0, 10.0]]


def test_matrix_writes_every_number():
    figure = figures.show_matrix(torch.tensor([[1.0, -2.5]]), ("a",), ("b", "c"), "down", "across")
    assert [text.get_text() for text in figure.axes[0].texts] == ["1.0", "-2.5"]


def test_png_of_a_figure_opens(tmp_path):
    figure = figures.show_lines(torch.arange(3.0), {"y": torch.arange(3.0)}, "x", "y")
    (tmp_path / "f.png").write_bytes(figures.png(figure))
    assert Image.open(tmp_path / "f.png").width > 300
