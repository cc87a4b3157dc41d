"""A figure in words: its text alternative for a screen reader, and what nbval compares of it.

Numbers are rounded so far that another machine's arithmetic does not show.
"""

import numpy as np
from matplotlib.axes import Axes
from matplotlib.collections import PathCollection
from matplotlib.container import BarContainer
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

ROW = 0.02  # of the figure's height: axes that begin at one height, within it, are one row


def describe(figure: Figure, numbers: bool = True) -> str:
    """Rows and columns of a figure's panels, and what is in each: pictures as mean ± spread, graphs as their range.

    Pictures of three colours are measured from 0 (black) to 1 (white), to one digit; all other numbers stand to two
    significant digits. numbers: without them, where they depend on the machine, as after training.
    """
    rows = _rows(figure.axes)
    head = f"{len(rows)} row{'s' * (len(rows) > 1)} of {_counts(rows)}"
    if numbers and any(np.ndim(image.get_array()) == 3 for axes in figure.axes for image in axes.images):
        head += ", pictures as mean ± spread from 0 (black) to 1 (white)"
    lines = [f"Figure: {head}."]
    for number, row in enumerate(rows, 1):
        parts = [part for axes in row if (part := _panel(axes, numbers))]
        lines.append(f"Row {number}{_name(figure, row[0])}: {'; '.join(parts)}.")
    others = [text for text in figure.texts if text.get_position()[0] == 0.5]  # centred: titles and notes
    return "\n".join(lines + [f"{_plain(text.get_text())}." for text in others])


def _name(figure: Figure, first: Axes) -> str:
    """What stands at the left of a row, in brackets."""
    box = first.get_position()
    beside = [t for t in figure.texts if t.get_position()[0] < box.x0 and box.y0 < t.get_position()[1] < box.y1]
    return f" ({', '.join(_plain(text.get_text()) for text in beside)})" if beside else ""


def _rows(panels: list[Axes]) -> list[list[Axes]]:
    """Axes by rows, from the top, each from the left."""
    rows: list[list[Axes]] = []
    for axes in sorted(panels, key=lambda a: -a.get_position().y1):
        if rows and abs(rows[-1][0].get_position().y1 - axes.get_position().y1) < ROW:
            rows[-1].append(axes)
        else:
            rows.append([axes])
    return [sorted(row, key=lambda a: a.get_position().x0) for row in rows]


def _counts(rows: list[list[Axes]]) -> str:
    return ", ".join(str(n) for n in sorted({len(row) for row in rows})) if rows else "0"


def _panel(axes: Axes, numbers: bool) -> str:
    """One panel: its title, then its pictures, bars, lines and points."""
    names = [axes.get_title(), axes.get_ylabel() and f"{axes.get_ylabel()} over {axes.get_xlabel() or 'names'}"]
    title = ", ".join(_plain(name) for name in names if name)
    parts = [_picture(image.get_array(), numbers) for image in axes.images]
    for bars in axes.containers:
        if isinstance(bars, BarContainer):
            parts.append(_bars(axes, bars, numbers))
    for line in axes.lines:
        if not line.get_label().startswith("_"):
            parts.append(_line(line.get_label(), np.asarray(line.get_ydata(), dtype=float), numbers))
    parts += [f"{len(c.get_offsets()):,} points" for c in axes.collections if isinstance(c, PathCollection)]
    return ": ".join(text for text in (title, ", ".join(parts)) if text)


def _picture(values: np.ndarray, numbers: bool) -> str:
    values = np.asarray(values, dtype=float)
    if values.ndim == 3 and numbers:
        return f"{values.mean() / 255:.1f} ± {values.std() / 255:.1f}"
    size = "x".join(str(n) for n in values.shape[:2])
    return f"{size} map from {_short(values.min())} to {_short(values.max())}" if numbers else f"{size} picture"


def _bars(axes: Axes, bars: BarContainer, numbers: bool) -> str:
    lying = bars.orientation == "horizontal"
    names = [text.get_text() for text in (axes.get_yticklabels() if lying else axes.get_xticklabels())]
    if not numbers:
        return f"{len(bars)} bars"
    sizes = [bar.get_width() if lying else bar.get_height() for bar in bars if isinstance(bar, Rectangle)]
    named = names if len(names) == len(sizes) else [""] * len(sizes)
    return ", ".join(f"{_plain(name)} {_short(size)}".strip() for name, size in zip(named, sizes, strict=True))


def _line(label: str, y: np.ndarray, numbers: bool) -> str:
    y = y[np.isfinite(y)]
    if not numbers or not len(y):
        return f"line {_plain(label)}"
    return (
        f"line {_plain(label)} from {_short(y[0])} to {_short(y[-1])}, between {_short(y.min())} and {_short(y.max())}"
    )


def _short(value: float) -> str:
    """Two significant digits; what is next to nothing is 0."""
    return f"{float(f'{0.0 if abs(value) < 1e-6 else value:.2g}'):g}"


def _plain(text: str) -> str:
    """On one line."""
    return " ".join(text.split())
