"""Pictures of what others computed: grids of image tiles, plots of numbers, and what a training run wrote.

Here: `plot_…` makes a matplotlib figure, `show` puts one into a notebook, `png` into a file's bytes, `describe` into
words.
Not here: anything that computes a result (`measure/`), and controls to play with (`panels/`).
"""

from pyramid.figures.base import png, show
from pyramid.figures.describe import describe
from pyramid.figures.grids import (
    contact_sheet,
    in_two_lines,
    plot_attention,
    plot_blocks,
    plot_comparison,
    plot_features,
    plot_grid,
    plot_masks,
    pyramid_titles,
)
from pyramid.figures.plots import (
    LEVEL_PANELS,
    plot_bars,
    plot_level_table,
    plot_lines,
    plot_matrix,
    plot_points,
    plot_study,
)
from pyramid.figures.runs import (
    newest_samples,
    plot_run_curves,
    plot_samples,
    read_metrics,
    run_figures,
    term,
    watcher,
)

__all__ = [
    "LEVEL_PANELS",
    "contact_sheet",
    "describe",
    "in_two_lines",
    "newest_samples",
    "plot_attention",
    "plot_bars",
    "plot_blocks",
    "plot_comparison",
    "plot_features",
    "plot_grid",
    "plot_level_table",
    "plot_lines",
    "plot_masks",
    "plot_matrix",
    "plot_points",
    "plot_run_curves",
    "plot_samples",
    "plot_study",
    "png",
    "pyramid_titles",
    "read_metrics",
    "run_figures",
    "show",
    "term",
    "watcher",
]
