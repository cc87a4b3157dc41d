"""Pictures: contact sheets and matplotlib figures. Nothing here computes a result."""

import io

import numpy as np
from matplotlib import patheffects
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from PIL import Image
from torch import Tensor

from pyramid.data import to_bytes
from pyramid.levels import LEVELS

INK, ACCENT = "#222222", "#c2410c"


def png(figure: Figure) -> bytes:
    """A figure as the bytes of a PNG file."""
    stream = io.BytesIO()
    FigureCanvasAgg(figure).print_figure(stream, format="png", bbox_inches="tight")
    return stream.getvalue()


def show(figure: Figure):
    """A figure as a notebook's output."""
    from IPython.display import Image as Output

    return Output(data=png(figure))


def save_grid(pixels: Tensor, gap: int = 2) -> Image.Image:
    """uint8 (rows, columns, 3, H, W) -> one picture with a white gap between images."""
    rows, columns, _, height, width = pixels.shape
    sheet = np.full((rows * (height + gap) - gap, columns * (width + gap) - gap, 3), 255, np.uint8)
    for r in range(rows):
        for c in range(columns):
            top, left = r * (height + gap), c * (width + gap)
            sheet[top : top + height, left : left + width] = pixels[r, c].permute(1, 2, 0).cpu().numpy()
    return Image.fromarray(sheet)


def show_grid(
    images: Tensor,
    columns: list[str] | None = None,
    rows: list[str] | None = None,
    title: str | None = None,
    inches: float = 1.15,
) -> Figure:
    """Images (R, C, 3, H, W) in [-1, 1] as a labelled grid; `columns` above, `rows` at the left."""
    count_r, count_c = images.shape[:2]
    top, left = 0.3 * bool(columns) + 0.3 * bool(title), 0.8 * bool(rows)
    width, height = count_c * inches + left, count_r * inches + top
    figure = Figure(figsize=(width, height), dpi=110, facecolor="white")
    pixels = to_bytes(images).permute(0, 1, 3, 4, 2).cpu().numpy()  # (R, C, H, W, 3)
    cell, pad = inches, 0.02 * inches
    for r in range(count_r):
        for c in range(count_c):
            box = (left + c * cell + pad, height - top - (r + 1) * cell + pad, cell - 2 * pad, cell - 2 * pad)
            axes = figure.add_axes((box[0] / width, box[1] / height, box[2] / width, box[3] / height))
            axes.imshow(pixels[r, c], interpolation="bicubic")
            axes.axis("off")
            if columns and r == 0:
                axes.set_title(columns[c], fontsize=9, color=INK, pad=3)
        if rows:
            y = (height - top - (r + 0.5) * cell) / height
            figure.text((left - 0.08) / width, y, rows[r], ha="right", va="center", fontsize=9, color=INK)
    if title:
        figure.text(0.5, 1 - 0.02 / height, title, ha="center", va="top", fontsize=11, color=INK)
    return figure


def pyramid_titles(first: str = "reference") -> list[str]:
    """Column titles of a pyramid: the reference, then every level from fine to deep."""
    return [first, *LEVELS]


def show_masks(masks: dict[str, Tensor], title: str | None = None) -> Figure:
    """The mask of every level, one sample: white passes, black blocks; a number where it is one."""
    figure = Figure(figsize=(8.4, 1.6), dpi=110, facecolor="white")
    for i, name in enumerate(LEVELS):
        axes = figure.add_subplot(1, len(LEVELS), i + 1)
        mask = masks[name][0].detach().cpu()
        picture = mask[0] if mask.dim() == 3 else mask.view(1, 1)
        axes.imshow(picture.numpy(), cmap="gray", vmin=0, vmax=1)
        axes.set_title(f"{name}\n{'x'.join(map(str, picture.shape))}", fontsize=8, color=INK)
        axes.set_xticks([])
        axes.set_yticks([])
    if title:
        figure.suptitle(title, fontsize=10, color=INK, y=1.04)
    return figure


def show_features(image: Tensor, features: dict[str, Tensor], classes: tuple[str, ...], channels: int = 3) -> Figure:
    """What each level holds: the channels that vary most, or the units of an fc level as bars.

    image: (1, 3, H, W) in [-1, 1]; features: of one image; classes: names of fc8's units.
    """
    figure = Figure(figsize=(9.2, 1.3 * channels + 0.3), dpi=110, facecolor="white")
    grid = figure.add_gridspec(channels, len(LEVELS) + 1)
    axes = figure.add_subplot(grid[:, 0])
    axes.imshow(to_bytes(image)[0].permute(1, 2, 0).cpu().numpy(), interpolation="bicubic")
    axes.set_title("photograph", fontsize=9, color=INK)
    axes.axis("off")
    for i, name in enumerate(LEVELS):
        f = features[name][0].detach().cpu()
        if f.dim() == 1:
            axes = figure.add_subplot(grid[:, i + 1])
            values = f.sort(descending=True).values[:24] if len(f) > 24 else f
            axes.barh(range(len(values)), values, color=ACCENT)
            axes.invert_yaxis()
            axes.tick_params(labelsize=6)
            axes.set_yticks([])
            if name == "fc8":
                axes.set_yticks(range(len(f)), classes, fontsize=7)
                axes.yaxis.tick_right()
            axes.set_title(f"{name}\n{len(f)} units", fontsize=8, color=INK)
            continue
        strongest = f.flatten(1).std(1).argsort(descending=True)[:channels]
        for r, channel in enumerate(strongest):
            axes = figure.add_subplot(grid[r, i + 1])
            axes.imshow(f[channel].numpy(), cmap="magma")
            axes.axis("off")
            if r == 0:
                axes.set_title(f"{name}\n{f.shape[0]}x{f.shape[1]}x{f.shape[2]}", fontsize=8, color=INK)
    figure.subplots_adjust(wspace=0.08, hspace=0.08)
    return figure


def show_comparison(
    reference: Tensor, result: Tensor, guesses: list[list[tuple[str, float]]], note: str = ""
) -> Figure:
    """Reference and result side by side, enlarged, each with the classifier's top three under it."""
    figure = Figure(figsize=(6.4, 3.9), dpi=90, facecolor="white")
    for i, (title, image) in enumerate((("reference", reference), ("generated", result))):
        axes = figure.add_axes((0.01 + 0.5 * i, 0.2, 0.48, 0.74))
        axes.imshow(to_bytes(image)[0].permute(1, 2, 0).cpu().numpy(), interpolation="nearest")
        axes.set_title(title, fontsize=11, color=INK)
        axes.axis("off")
        text = "   ".join(f"{name} {share:.0%}" for name, share in guesses[i])
        figure.text(0.25 + 0.5 * i, 0.14, text, ha="center", fontsize=9, color=INK)
    if note:
        figure.text(0.5, 0.03, note, ha="center", fontsize=9, color=ACCENT)
    return figure


def show_curves(rows: dict[str, dict[str, float]], column: str, label: str) -> Figure:
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
