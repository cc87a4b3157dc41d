"""A figure in words says what is drawn, in numbers found by hand."""

import numpy as np
import torch

from pyramid import figures
from pyramid.figures.base import Shown


def grid():
    """Black, white and half black, half white; a row of two names."""
    black, white = -torch.ones(3, 8, 8), torch.ones(3, 8, 8)
    half = torch.cat([black[:, :4], white[:, :4]], 1)
    return torch.stack([torch.stack([black, white]), torch.stack([half, black])])


def test_a_grid_is_read_row_by_row_with_mean_and_spread():
    text = figures.describe(figures.plot_grid(grid(), ["left", "right"], ["top", "below"], "a title"))
    assert text.splitlines() == [
        "Figure: 2 rows of 2, pictures as mean ± spread from 0 (black) to 1 (white).",
        "Row 1 (top): left: 0.0 ± 0.0; right: 1.0 ± 0.0.",
        "Row 2 (below): 0.5 ± 0.5; 0.0 ± 0.0.",
        "a title.",
    ]


def test_without_numbers_only_the_layout_is_told():
    one, other = (figures.describe(figures.plot_grid(s * grid()), numbers=False) for s in (1, -1))
    assert one == other and "8x8 picture" in one


def test_graphs_are_told_by_their_ends_and_bars_by_their_heights():
    x = torch.arange(5.0)
    lines = figures.describe(figures.plot_lines(x, {"square": (x - 1) ** 2}, "x", "y"))
    assert "y over x: line square from 1 to 9, between 0 and 9" in lines
    bars = figures.describe(figures.plot_bars({"conv1": {"v": 0.123}, "fc8": {"v": 45.6}}, "v", "how\nmuch"))
    assert "how much over names: conv1 0.12, fc8 46" in bars
    points = figures.describe(figures.plot_points({"a cloud": torch.zeros(7, 2)}, torch.zeros(11, 2)))
    assert "a cloud: 11 points, 7 points" in points


def test_maps_that_are_no_pictures_are_told_by_their_range():
    text = figures.describe(figures.plot_matrix(torch.tensor([[1.0, -2.5]]), ("a",), ("b", "c"), "down", "across"))
    assert "1x2 map from -2.5 to 1" in text


def test_what_is_shown_is_small_and_has_its_words_beside_it():
    noise = torch.from_numpy(np.random.default_rng(0).uniform(-1, 1, (4, 4, 3, 16, 16)).astype(np.float32))
    for figure, kind in ((figures.plot_grid(noise), "image/jpeg"), (figures.plot_lines(*graph()), "image/png")):
        shown = figures.show(figure)
        assert isinstance(shown, Shown)
        data, metadata = shown._repr_mimebundle_()
        assert data["text/plain"] == repr(shown) == figures.describe(figure) == metadata[kind]["alt"]
        assert 2 * len(data[kind]) < len(figures.png(figure))


def graph():
    x = torch.linspace(0, 1, 50)
    return x, {"y": x, "z": 1 - x}, "x", "y"
