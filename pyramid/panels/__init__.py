"""ipywidgets panels to play with a model, and the `plot_…` functions that draw what they show.

Here: controls, choosers, a canvas to paint on, the real/fake study as a rater sees it.
Not here: what the controls call (`editing`, `measure/study`), and figures that need no model (`figures/`).
"""

from pyramid.panels.study import study_panel
from pyramid.panels.uses import (
    compose_panel,
    plot_compose,
    plot_mix,
    plot_relabel,
    plot_repaint,
    plot_sketch,
    relabel_panel,
    repaint_panel,
    sketch_panel,
    slider_panel,
)

__all__ = [
    "compose_panel",
    "plot_compose",
    "plot_mix",
    "plot_relabel",
    "plot_repaint",
    "plot_sketch",
    "relabel_panel",
    "repaint_panel",
    "sketch_panel",
    "slider_panel",
    "study_panel",
]
