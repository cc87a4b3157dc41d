"""Figures made of numbers: bars, lines, points, matrices, and the tables of an evaluation and of the study."""

from itertools import cycle

import numpy as np
from matplotlib import patheffects
from matplotlib.figure import Figure
from torch import Tensor

from pyramid.figures.base import ACCENT, INK, LINES
from pyramid.levels import LEVELS


def plot_bars(rows: dict[str, dict[str, float]], column: str, label: str) -> Figure:
    """One column of an evaluation over the levels, as bars with their values."""
    figure = Figure(figsize=(7, 2.6), dpi=110, facecolor="white")
    axes = figure.add_subplot()
    names = [name for name in rows if column in rows[name]]
    values = [rows[name][column] for name in names]
    bars = axes.bar(names, values, color=ACCENT)
    for text in axes.bar_label(bars, fmt="%.2g" if max(values) < 10 else "%.0f", fontsize=8):
        text.set_path_effects([patheffects.withStroke(linewidth=2, foreground="white")])
    axes.set_ylabel(label, fontsize=9)
    axes.spines[["top", "right"]].set_visible(False)
    figure.tight_layout()
    return figure


LEVEL_PANELS = {  # of a level table: column, its name on the axis
    "frechet": "Fréchet distance",
    "fid": "FID (pytorch-fid)",
    "kid": "KID",
    "gain": "cosine above another\nof the class",
    "top5": "reference in nearest 5",
    "judge": "class agreement",
    "psnr": "RGB PSNR, dB",
    "z_distance": "distance of two z",
    "fixed_pattern": "fixed-pattern ratio",
}


def plot_level_table(result: dict) -> Figure:
    """The columns of `measure.levels.evaluate` over the levels, with their intervals or spreads."""
    rows = result["rows"]
    chance = {"top5": 0.01, "judge": 1 / len(result["settings"]["classes"]), "gain": 0.0}
    marks = result["floor"] | chance | {"z_distance": result["photo_distance"]}
    panels = {key: label for key, label in LEVEL_PANELS.items() if any(key in row for row in rows.values())}
    figure = Figure(figsize=(11, 2.2 * -(-len(panels) // 4)), dpi=110, facecolor="white", layout="constrained")
    for i, (key, label) in enumerate(panels.items()):
        axes = figure.add_subplot(-(-len(panels) // 4), 4, i + 1)
        names = [name for name in rows if key in rows[name]]
        values = np.array([rows[name][key] for name in names])
        spread = np.array([rows[name].get(f"{key}_spread", 0.0) for name in names])
        ends = [rows[name]["intervals"].get(key) for name in names]
        reach = [spread, spread] if None in ends else [values - [e[0] for e in ends], [e[1] for e in ends] - values]
        drawn = np.maximum(reach, 0) if np.any(reach) else None  # of a single seed there is no spread
        axes.bar(names, values, color=ACCENT, yerr=drawn, error_kw={"lw": 1, "capsize": 2})
        if key in marks:
            axes.axhline(marks[key], color=INK, lw=0.9, ls=":")
        axes.set_ylabel(label, fontsize=8)
        axes.tick_params(labelsize=7)
        axes.tick_params(axis="x", rotation=45)
        axes.spines[["top", "right"]].set_visible(False)
    note = "dotted: real against real for distances; chance for shares and cosine; two photographs of one class for z"
    figure.supxlabel(note, fontsize=8, color=INK)
    return figure


def plot_points(clouds: dict[str, Tensor], real: Tensor, reach: float = 2.0) -> Figure:
    """Point clouds (N, 2) side by side over the real points, -reach … reach both ways."""
    figure = Figure(figsize=(2.2 * len(clouds), 2.4), dpi=110, facecolor="white", layout="constrained")
    for i, (title, points) in enumerate(clouds.items()):
        axes = figure.add_subplot(1, len(clouds), i + 1)
        axes.scatter(*real.T, s=3, color="#bbbbbb", linewidths=0)
        axes.scatter(*points.detach().T, s=4, color=ACCENT, linewidths=0)
        axes.set(xlim=(-reach, reach), ylim=(-reach, reach), xticks=[], yticks=[], aspect="equal")
        axes.set_title(title, fontsize=9, color=INK)
    return figure


def plot_lines(
    x: Tensor, lines: dict[str, Tensor], across: str, up: str, spread: dict[str, Tensor] | None = None
) -> Figure:
    """Functions of one number in one frame. x: (N,); lines: title -> (N,); spread: title -> (N,), as error bars."""
    figure = Figure(figsize=(5.6, 2.6), dpi=110, facecolor="white", layout="constrained")
    axes = figure.add_subplot()
    for style, (title, y) in zip(cycle(LINES), lines.items(), strict=False):
        axes.plot(x, y.detach(), lw=1.6, label=title, **style)
        if spread and title in spread:
            axes.errorbar(x, y.detach(), spread[title], fmt="none", capsize=3, lw=1, color=style["color"])
    axes.set_xlabel(across, fontsize=9)
    axes.set_ylabel(up, fontsize=9)
    axes.tick_params(labelsize=8)
    axes.spines[["top", "right"]].set_visible(False)
    axes.legend(fontsize=8, frameon=False)
    return figure


def plot_matrix(values: Tensor, rows: tuple[str, ...], columns: tuple[str, ...], down: str, across: str) -> Figure:
    """A table of numbers (R, C) as a heat map with the numbers in it."""
    figure = Figure(figsize=(1.6 + 0.62 * len(columns), 1.1 + 0.36 * len(rows)), dpi=110, facecolor="white")
    axes = figure.add_subplot()
    axes.imshow(values, cmap="PuOr_r", vmin=-values.abs().max(), vmax=values.abs().max(), aspect="auto")
    for r, line in enumerate(values.tolist()):
        for c, value in enumerate(line):
            dark = abs(value) > 0.6 * float(values.abs().max())
            axes.text(c, r, f"{value:.1f}", ha="center", va="center", fontsize=8, color="white" if dark else INK)
    axes.set_xticks(range(len(columns)), columns, rotation=30, ha="right", fontsize=8)
    axes.set_yticks(range(len(rows)), rows, fontsize=8)
    axes.set_xlabel(across, fontsize=9)
    axes.set_ylabel(down, fontsize=9)
    return figure


def plot_study(result: dict) -> Figure:
    """Confusion rates of `measure.study.report`, standard exposure, with intervals; simulated raters are marked."""
    figure = Figure(figsize=(7, 2.8), dpi=110, facecolor="white", layout="constrained")
    axes = figure.add_subplot()
    for i, (style, (test, rows)) in enumerate(zip(LINES, result["rows"].items(), strict=False)):
        x = [LEVELS.index(level) + 0.24 * (i - 0.5) for level in rows]
        rates = np.array([row["rate"] for row in rows.values()])
        reach = [rates - [row["low"] for row in rows.values()], [row["high"] for row in rows.values()] - rates]
        axes.errorbar(
            x,
            100 * rates,
            100 * np.array(reach),
            fmt="os"[i],
            ms=5,
            capsize=3,
            lw=1.2,
            color=style["color"],
            label=test,
        )
    axes.axhline(50, color=INK, lw=0.8, ls=":")
    axes.annotate("50 %: perfect", (0.99, 50), xycoords=("axes fraction", "data"), ha="right", va="bottom", fontsize=7)
    axes.set_xticks(range(len(LEVELS)), LEVELS, fontsize=9)
    axes.set(ylim=(0, 80), ylabel="confusion rate, %")
    axes.spines[["top", "right"]].set_visible(False)
    axes.legend(fontsize=8, frameon=False, loc="lower left")
    if result["simulated"]:
        axes.text(
            0.5, 0.5, "SIMULATED RATERS", transform=axes.transAxes, fontsize=26, color=INK, alpha=0.15, ha="center",
            va="center", rotation=12,
        )  # fmt: skip
    return figure
