"""Run logs: the numbers below are written by hand."""

import json

import pytest
import torch

from pyramid import figures
from pyramid.checkpoints import RUNS
from pyramid.data import to_bytes
from pyramid.figures.base import LINES
from pyramid.levels import LEVELS

LINE = {
    "step": 50, "images": 1600, "seconds": 25.7, "lr_factor": 0.9994,
    "discriminator": {"adversarial": 1.9, "heads": 1.0, "r1": 0.3},
    "generator": {"adversarial": 0.2, "reconstruction": {"conv1": 0.25, "fc8": 0.5}, "fixed_pattern": 0.1},
    "z_distance": 0.21, "scores": {"conv1": {"real": 1.7, "fake": -1.1}},
}  # fmt: skip
FIRST, SECOND = (style["color"] for style in LINES[:2])
CURVES = (("discriminator", "adversarial"), ("generator", "reconstruction"), ("z_distance",))
PANELS = ("discriminator's loss", "semantic reconstruction", "distance of two z")


def write_log(folder, *lines):
    folder.mkdir()
    (folder / "metrics.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    return folder


def without(line, network, name):
    return line | {network: {key: value for key, value in line[network].items() if key != name}}


def drawn(figure):
    """Title of each panel -> the curves in it, without the mark: (colour, x, y)."""
    return {
        axes.get_title(): [
            (line.get_color(), line.get_xdata().tolist(), line.get_ydata().tolist())
            for line in axes.lines
            if line.get_linestyle() != ":"
        ]
        for axes in figure.axes
    }


def a_run(folder, lines=3, grids=(100, 2000)):
    folder.mkdir()
    if lines:
        rows = [LINE | {"images": 50 * i, "z_distance": 0.1 / (i + 1)} for i in range(lines)]
        (folder / "metrics.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    for i, images in enumerate(grids):
        columns = len(LEVELS) + 2
        pixels = to_bytes(torch.full((8, columns, 3, 32, 32), 2.0 * i - 1))
        figures.contact_sheet(pixels).save(folder / f"samples-{images:07d}.png")
    return folder


def test_newest_samples_is_the_one_of_most_images(tmp_path):
    newest = figures.newest_samples(a_run(tmp_path / "run"))
    assert newest.getpixel((0, 0)) == (255, 255, 255)  # the second grid is white, the first black
    longest = figures.newest_samples(a_run(tmp_path / "long", grids=(9_999_872, 10_000_128)))
    assert longest.getpixel((0, 0)) == (255, 255, 255)
    assert figures.newest_samples(a_run(tmp_path / "empty", 0, ())) is None


def test_pictures_of_a_run_at_any_stage(tmp_path):
    assert len(figures.run_figures(a_run(tmp_path / "begun", 0, ()))) == 1  # curves only, empty
    drawn = figures.run_figures(a_run(tmp_path / "going"))
    assert len(drawn) == 2 and all(figures.png(figure).startswith(b"\x89PNG") for figure in drawn)


def test_samples_show_only_the_rows_asked_for(tmp_path):
    samples = figures.newest_samples(a_run(tmp_path / "run"))
    axes = figures.plot_samples(samples, rows=2).axes[0]
    assert axes.images[0].get_array().shape[:2] == (2 * 34 - 2, 9 * 34 - 2)
    assert [text.get_text() for text in axes.texts] == ["reference", *LEVELS, "closed"]


def test_curves_of_several_runs_are_named(tmp_path):
    runs = {name: a_run(tmp_path / name) for name in ("whole", "less")}
    figure = figures.plot_run_curves(runs)
    assert [text.get_text() for text in figure.legends[0].get_texts()] == ["whole", "less"]
    assert all(len(axes.lines) >= 2 for axes in figure.axes)


def test_a_log_is_read_as_it_stands(tmp_path):
    assert figures.read_metrics(tmp_path) == []  # nothing written yet
    (tmp_path / "metrics.jsonl").touch()
    assert figures.read_metrics(tmp_path) == []  # of a run that begins anew
    assert figures.read_metrics(write_log(tmp_path / "run", LINE, LINE)) == [LINE, LINE]


def test_one_number_of_a_term():
    assert figures.term(LINE, "generator", "reconstruction") == 0.75  # over its levels
    assert figures.term(LINE, "discriminator", "adversarial") == 1.9
    assert figures.term(LINE, "z_distance") == 0.21
    assert figures.term(LINE, "generator", "retrieval") is None
    assert figures.term({"images": 0}, "generator", "retrieval") is None
    assert figures.term({"generator": {"reconstruction": {}}}, "generator", "reconstruction") is None


def test_a_term_that_rounds_to_nothing_is_a_number(tmp_path):
    line = {"images": 1600, "discriminator": {"adversarial": 0.0}, "generator": {"reconstruction": {"fc8": 0.0}}}
    assert figures.term(line, "generator", "reconstruction") == 0.0
    curves = drawn(figures.plot_run_curves({"run": write_log(tmp_path / "run", line)}))
    assert curves == dict(zip(PANELS, ([(FIRST, [1.6], [0.0])], [(FIRST, [1.6], [0.0])], []), strict=True))


def test_curves_of_one_run(tmp_path):
    later = LINE | {"images": 3200, "z_distance": 0.3, "discriminator": {"adversarial": 1.5}}
    figure = figures.plot_run_curves({"run": write_log(tmp_path / "run", LINE, later)})
    x = [1.6, 3.2]
    assert drawn(figure) == dict(
        zip(PANELS, ([(FIRST, x, [1.9, 1.5])], [(FIRST, x, [0.75, 0.75])], [(FIRST, x, [0.21, 0.3])]), strict=True)
    )
    (mark,) = [line for line in figure.axes[0].lines if line.get_linestyle() == ":"]
    assert mark.get_ydata() == [2.0, 2.0] and figure.axes[0].texts[0].get_text() == "hinge at chance: 2"
    assert not figure.legends


def test_curves_of_several_runs_share_their_panels(tmp_path):
    other = LINE | {"images": 3200, "generator": {"reconstruction": {"conv1": 0.5, "conv2": 1.0}}}
    runs = {"one": write_log(tmp_path / "one", LINE), "other": write_log(tmp_path / "other", other)}
    curves = drawn(figures.plot_run_curves(runs))
    assert tuple(curves) == PANELS
    assert curves["semantic reconstruction"] == [(FIRST, [1.6], [0.75]), (SECOND, [3.2], [1.5])]


@pytest.mark.parametrize("line", [without(LINE, "discriminator", "adversarial"), LINE | {"discriminator": {}}])
def test_a_run_without_an_adversary_has_no_line_and_keeps_its_name_and_colour(line, tmp_path):
    runs = {"without": write_log(tmp_path / "without", line), "whole": write_log(tmp_path / "whole", LINE)}
    figure = figures.plot_run_curves(runs)
    hinge, _, distance = drawn(figure).values()
    assert [colour for colour, *_ in hinge] == [SECOND] and [colour for colour, *_ in distance] == [FIRST, SECOND]
    legend = figure.legends[0]
    assert [text.get_text() for text in legend.get_texts()] == ["without", "whole"]
    first, second = legend.get_lines()
    assert first.get_color() != second.get_color() and first.get_linestyle() != second.get_linestyle()


def test_saved_runs_of_the_course_are_read_and_drawn():
    runs = {path.parent.name: path.parent for path in sorted(RUNS.glob("*/metrics.jsonl"))}
    assert runs
    for folder in runs.values():
        lines = figures.read_metrics(folder)
        assert len(lines) == len((folder / "metrics.jsonl").read_text().splitlines())  # none is passed over
        assert all(figures.term(line, *names) > 0 for line in lines for names in CURVES)
    assert figures.png(figures.plot_run_curves(runs)).startswith(b"\x89PNG")
