"""Figures made of image tiles: grids, masks, features, and where attention looks."""

from collections.abc import Iterable

import numpy as np
import torch
from matplotlib.figure import Figure
from PIL import Image
from torch import Tensor

from pyramid.data import to_bytes
from pyramid.figures.base import ACCENT, INK
from pyramid.levels import LEVELS


def contact_sheet(pixels: Tensor, gap: int = 2) -> Image.Image:
    """uint8 (rows, columns, 3, H, W) -> one picture with a white gap between images."""
    rows, columns, _, height, width = pixels.shape
    sheet = np.full((rows * (height + gap) - gap, columns * (width + gap) - gap, 3), 255, np.uint8)
    for r in range(rows):
        for c in range(columns):
            top, left = r * (height + gap), c * (width + gap)
            sheet[top : top + height, left : left + width] = pixels[r, c].permute(1, 2, 0).cpu().numpy()
    return Image.fromarray(sheet)


def plot_grid(
    images: Tensor,
    columns: list[str] | None = None,
    rows: list[str] | None = None,
    title: str | None = None,
    inches: float = 1.15,
) -> Figure:
    """Images (R, C, 3, H, W) in [-1, 1] as a labelled grid; `columns` above, `rows` at the left."""
    top, left = 0.3 * bool(columns) + 0.3 * bool(title), 0.8 * bool(rows)
    width, height = images.shape[1] * inches + left, images.shape[0] * inches + top
    figure = Figure(figsize=(width, height), dpi=110, facecolor="white")
    _draw_grid(figure, images, columns, rows, left, top, inches)
    if title:
        figure.text(0.5, 1 - 0.02 / height, title, ha="center", va="top", fontsize=11, color=INK)
    return figure


def plot_blocks(blocks: dict[str, dict[str, Tensor]], inches: float = 0.95) -> Figure:
    """Grids two by two, each under its title: title -> row's name -> images (C, 3, H, W) in [-1, 1]."""
    left, top, titles = 1.3, 0.4, list(blocks)
    grids = [torch.stack([*rows.values()]).cpu() for rows in blocks.values()]  # (R, C, 3, H, W)
    block = left + inches * max(grid.shape[1] for grid in grids)
    heights = [top + inches * max(len(grid) for grid in grids[i : i + 2]) for i in range(0, len(grids), 2)]
    figure = Figure(figsize=(block * min(2, len(grids)), sum(heights)), dpi=110, facecolor="white")
    for i, grid in enumerate(grids):
        x, y = left + block * (i % 2), top + sum(heights[: i // 2])
        _draw_grid(figure, grid, None, in_two_lines(blocks[titles[i]]), x, y, inches)
        across, down = x + 0.5 * grid.shape[1] * inches, 1 - (y - 0.08) / sum(heights)
        figure.text(across / figure.get_figwidth(), down, titles[i], ha="center", fontsize=11, color=INK)
    return figure


def in_two_lines(names: Iterable[str]) -> list[str]:
    """Names of rows, broken behind a comma or before a bracket."""
    return [name.replace(", ", ",\n").replace(" (", "\n(") for name in names]


def _draw_grid(
    figure: Figure,
    images: Tensor,
    columns: list[str] | None,
    rows: list[str] | None,
    left: float,
    top: float,
    cell: float,
) -> None:
    """A grid whose upper left corner lies `left` and `top` inches from the figure's; names beside and above it."""
    width, height = figure.get_size_inches()
    pixels = to_bytes(images).permute(0, 1, 3, 4, 2).cpu().numpy()  # (R, C, H, W, 3)
    pad = 0.02 * cell
    for r in range(images.shape[0]):
        for c in range(images.shape[1]):
            box = (left + c * cell + pad, height - top - (r + 1) * cell + pad, cell - 2 * pad, cell - 2 * pad)
            axes = figure.add_axes((box[0] / width, box[1] / height, box[2] / width, box[3] / height))
            axes.imshow(pixels[r, c], interpolation="bicubic")
            axes.axis("off")
            if columns and r == 0:
                axes.set_title(columns[c], fontsize=9, color=INK, pad=3)
        if rows:
            y = (height - top - (r + 0.5) * cell) / height
            figure.text((left - 0.08) / width, y, rows[r], ha="right", va="center", fontsize=9, color=INK)


def pyramid_titles() -> list[str]:
    """Column titles of a pyramid: the reference, then every level from fine to deep."""
    return ["reference", *LEVELS]


def plot_masks(masks: dict[str, Tensor], title: str | None = None) -> Figure:
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


def plot_features(image: Tensor, features: dict[str, Tensor], classes: tuple[str, ...], channels: int = 3) -> Figure:
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


def plot_comparison(
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


def plot_attention(images: Tensor, maps: Tensor, points: list[tuple[int, int]]) -> Figure:
    """Where one position looks: images (B, 3, H, W), maps (B, P, h, w), and the P positions (row, column) asked."""
    count, (height, _) = len(points), images.shape[2:]
    cell = height / maps.shape[-1]
    figure = Figure(figsize=(1.7 * (count + 1), 1.75 * len(images) + 0.2), dpi=110, facecolor="white")
    for b, image in enumerate(to_bytes(images).permute(0, 2, 3, 1).cpu().numpy()):
        for p in range(count + 1):
            axes = figure.add_subplot(len(images), count + 1, b * (count + 1) + p + 1)
            axes.imshow(image, interpolation="bicubic")
            if p == 0:
                for row, column in points:
                    axes.plot((column + 0.5) * cell, (row + 0.5) * cell, "o", ms=5, mfc=ACCENT, mec="white")
            else:
                row, column = points[p - 1]
                extent = (-0.5, height - 0.5, height - 0.5, -0.5)
                axes.imshow(maps[b, p - 1].cpu(), cmap="inferno", alpha=0.75, extent=extent, interpolation="bicubic")
                axes.plot((column + 0.5) * cell, (row + 0.5) * cell, "o", ms=5, mfc="none", mec="white")
            axes.set(xlim=(-0.5, height - 0.5), ylim=(height - 0.5, -0.5))
            axes.axis("off")
            if b == 0:
                axes.set_title("the image" if p == 0 else f"point {p} looks at", fontsize=8, color=INK)
    figure.tight_layout(pad=0.3)
    return figure
