"""Figures of what a training run wrote: its metrics and its sample grids."""

from collections.abc import Callable
from itertools import cycle
from pathlib import Path

import numpy as np
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from PIL import Image

from pyramid.checkpoints import read_lines
from pyramid.errors import InputError
from pyramid.figures.base import INK, LINES, show
from pyramid.figures.grids import pyramid_titles
from pyramid.levels import LEVELS

CURVES = (  # where the value stands in a line of metrics, title, and a level to compare with
    (("discriminator", "adversarial"), "discriminator's loss", 2.0, "hinge at chance: 2"),
    (("generator", "reconstruction"), "semantic reconstruction", None, ""),
    (("z_distance",), "distance of two z", None, ""),
)


def read_metrics(folder: Path) -> list[dict]:
    """The lines of a run's metrics.jsonl, each a nested dict; none yet, an empty list. A broken line is passed over.

    A line: step, images, seconds, lr_factor, "discriminator" and "generator" (term -> unweighted loss, one number
    or one a level), z_distance, scores. A term that a run is trained without is absent. `term` reads one of them.

    Raises InputError for a log that has lines, but none of a run.
    """
    path = folder / "metrics.jsonl"
    if not path.is_file():
        return []
    found = read_lines(path)
    lines = [line for line in found if is_of_a_run(line)]
    if found and not lines:
        raise InputError(
            f"{path} is the log of something else: no line of it has images, discriminator and generator; give the "
            "folder of a run, or train it anew."
        )
    return lines


def is_of_a_run(line: dict) -> bool:
    """Whether a line has what training writes into each."""
    networks = (line.get("discriminator"), line.get("generator"))
    return type(line.get("images")) in (int, float) and all(isinstance(terms, dict) for terms in networks)


def term(line: dict, *names: str) -> float | None:
    """One number of a line of metrics: `term(line, "generator", "reconstruction")`.

    A term that has a value for each level is summed over them; one that the run is trained without gives None.
    """
    value: dict | float = line
    for name in names:
        value = value.get(name, {}) if isinstance(value, dict) else {}
    if isinstance(value, dict):
        numbers = [number for number in value.values() if isinstance(number, int | float)]
        return sum(numbers) if numbers else None
    return value if isinstance(value, int | float) else None


def newest_samples(folder: Path) -> Image.Image | None:
    """The last sample grid that a run wrote, or None."""
    grids = {int(path.stem[8:]): path for path in folder.glob("samples-*.png") if path.stem[8:].isdigit()}
    return Image.open(grids[max(grids)]).convert("RGB") if grids else None


def plot_run_curves(runs: dict[str, Path]) -> Figure:
    """The curves of one run or of several, over the generated images each has seen. runs: name -> folder.

    A run trained without a term has no line in its panel. Raises InputError as `read_metrics` does.
    """
    logs = {name: read_metrics(folder) for name, folder in runs.items()}
    styles = dict(zip(logs, cycle(LINES), strict=False))
    figure = Figure(figsize=(9.2, 2.2), dpi=110, facecolor="white", layout="constrained")
    for i, (names, title, mark, note) in enumerate(CURVES):
        axes = figure.add_subplot(1, len(CURVES), i + 1)
        for run, lines in logs.items():
            points = [(line["images"] / 1000, term(line, *names)) for line in lines]
            points = [(x, y) for x, y in points if y is not None]
            if points:
                axes.plot(
                    *zip(*points, strict=True),
                    lw=1.2,
                    marker="." if len(points) < 8 else None,
                    label=run,
                    **styles[run],
                )
        if mark is not None:
            axes.axhline(mark, color=INK, lw=0.8, ls=":")
            axes.annotate(note, (0.98, mark), xycoords=("axes fraction", "data"), ha="right", va="bottom", fontsize=7)
        axes.set_title(title, fontsize=9, color=INK)
        axes.set_xlabel("thousand images", fontsize=8)
        axes.tick_params(labelsize=7)
        axes.spines[["top", "right"]].set_visible(False)
    if len(runs) > 1:
        handles = [Line2D([], [], lw=1.2, **style) for style in styles.values()]
        figure.legend(handles, list(styles), loc="outside right center", fontsize=7, frameon=False)
    return figure


def plot_samples(samples: Image.Image, rows: int | None = None) -> Figure:
    """A run's sample grid under the names of its columns, the first `rows` references of it."""
    pixels = np.asarray(samples)
    side = (pixels.shape[1] + 2) // (len(LEVELS) + 2)
    if rows:
        pixels = pixels[: rows * side - 2]
    width, height = 9.2, 9.2 * pixels.shape[0] / pixels.shape[1]
    top = 0.25  # inches of titles
    figure = Figure(figsize=(width, height + top), dpi=110, facecolor="white")
    axes = figure.add_axes((0, 0, 1, height / (height + top)))
    axes.imshow(pixels, interpolation="lanczos", aspect="auto")
    axes.axis("off")
    for i, name in enumerate((*pyramid_titles(), "closed")):
        axes.text((i + 0.5) * side, -4, name, ha="center", va="bottom", fontsize=9, color=INK)
    return figure


def run_figures(folder: Path, rows: int = 4) -> list[Figure]:
    """Curves and newest sample grid of a run, as far as it has written them."""
    samples = newest_samples(folder)
    return [plot_run_curves({folder.name: folder})] + ([plot_samples(samples, rows)] if samples else [])


def watcher(rows: int = 4) -> Callable[[Path], None]:
    """Two pictures under the cell, renewed whenever a run saves: for `training.train(…, watch=watcher())`.

    Works wherever a display can be updated, JupyterLab and Colab alike; needs no widget.
    """
    from IPython.display import display

    handles = [display(text, display_id=True) for text in ("Curves follow", "and samples, with the first save.")]

    def renew(folder: Path) -> None:
        for handle, figure in zip(handles, run_figures(folder, rows), strict=False):
            handle.update(show(figure, numbers=False))

    return renew
