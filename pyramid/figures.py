"""Pictures: contact sheets and matplotlib figures. Nothing here computes a result."""

import io
import json
from collections.abc import Iterable
from pathlib import Path

import numpy as np
import torch
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
    top, left = 0.3 * bool(columns) + 0.3 * bool(title), 0.8 * bool(rows)
    width, height = images.shape[1] * inches + left, images.shape[0] * inches + top
    figure = Figure(figsize=(width, height), dpi=110, facecolor="white")
    _draw_grid(figure, images, columns, rows, left, top, inches)
    if title:
        figure.text(0.5, 1 - 0.02 / height, title, ha="center", va="top", fontsize=11, color=INK)
    return figure


def show_blocks(blocks: dict[str, dict[str, Tensor]], inches: float = 0.95) -> Figure:
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


def show_level_table(result: dict) -> Figure:
    """The columns of `evaluation.evaluate` over the levels, with their intervals or spreads."""
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
        axes.bar(names, values, color=ACCENT, yerr=np.maximum(reach, 0), error_kw={"lw": 1, "capsize": 2})
        if key in marks:
            axes.axhline(marks[key], color=INK, lw=0.9, ls=":")
        axes.set_ylabel(label, fontsize=8)
        axes.tick_params(labelsize=7)
        axes.tick_params(axis="x", rotation=45)
        axes.spines[["top", "right"]].set_visible(False)
    note = "dotted: real against real for distances; chance for shares and cosine; two photographs of one class for z"
    figure.supxlabel(note, fontsize=8, color=INK)
    return figure


CURVES = {  # of the metrics file: key, title, and a level to compare with
    "loss_d": ("discriminator's hinge loss", 2.0, "2: at chance"),
    "loss_rec": ("semantic reconstruction", None, ""),
    "distance": ("distance of two z", None, ""),
}


def read_metrics(folder: Path) -> list[dict]:
    """The lines of a run's metrics.jsonl; none yet, an empty list."""
    path = folder / "metrics.jsonl"
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()] if path.is_file() else []


def newest_samples(folder: Path) -> Image.Image | None:
    """The last sample grid that a run wrote, or None."""
    grids = sorted(folder.glob("samples-*.png"))
    return Image.open(grids[-1]).convert("RGB") if grids else None


def show_run_curves(runs: dict[str, Path]) -> Figure:
    """The curves of one run or of several, over the generated images each has seen."""
    figure = Figure(figsize=(9.2, 2.2), dpi=110, facecolor="white", layout="constrained")
    for i, (key, (title, mark, note)) in enumerate(CURVES.items()):
        axes = figure.add_subplot(1, len(CURVES), i + 1)
        for name, folder in runs.items():
            lines = read_metrics(folder)
            axes.plot([line["images"] / 1000 for line in lines], [line[key] for line in lines], lw=1.2, label=name)
        if mark is not None:
            axes.axhline(mark, color=INK, lw=0.8, ls=":")
            axes.annotate(note, (0.98, mark), xycoords=("axes fraction", "data"), ha="right", va="bottom", fontsize=7)
        axes.set_title(title, fontsize=9, color=INK)
        axes.set_xlabel("thousand images", fontsize=8)
        axes.tick_params(labelsize=7)
        axes.spines[["top", "right"]].set_visible(False)
        if i == 0 and len(runs) > 1:
            figure.legend(*axes.get_legend_handles_labels(), loc="outside right center", fontsize=7, frameon=False)
    return figure


def show_samples(samples: Image.Image, rows: int | None = None, title: str | None = None) -> Figure:
    """A run's sample grid under the names of its columns, the first `rows` references of it."""
    pixels = np.asarray(samples)
    side = (pixels.shape[1] + 2) // (len(LEVELS) + 2)
    if rows:
        pixels = pixels[: rows * side - 2]
    width, height = 9.2, 9.2 * pixels.shape[0] / pixels.shape[1]
    top = 0.25 + 0.25 * bool(title)
    figure = Figure(figsize=(width, height + top), dpi=110, facecolor="white")
    axes = figure.add_axes((0, 0, 1, height / (height + top)))
    axes.imshow(pixels, interpolation="lanczos", aspect="auto")
    axes.axis("off")
    for i, name in enumerate((*pyramid_titles(), "closed")):
        axes.text((i + 0.5) * side, -4, name, ha="center", va="bottom", fontsize=9, color=INK)
    if title:
        figure.text(0.5, 0.995, title, ha="center", va="top", fontsize=11, color=INK)
    return figure


def show_points(clouds: dict[str, Tensor], real: Tensor, reach: float = 2.0) -> Figure:
    """Point clouds (N, 2) side by side over the real points, -reach … reach both ways."""
    figure = Figure(figsize=(2.2 * len(clouds), 2.4), dpi=110, facecolor="white", layout="constrained")
    for i, (title, points) in enumerate(clouds.items()):
        axes = figure.add_subplot(1, len(clouds), i + 1)
        axes.scatter(*real.T, s=3, color="#bbbbbb", linewidths=0)
        axes.scatter(*points.detach().T, s=4, color=ACCENT, linewidths=0)
        axes.set(xlim=(-reach, reach), ylim=(-reach, reach), xticks=[], yticks=[], aspect="equal")
        axes.set_title(title, fontsize=9, color=INK)
    return figure


def show_lines(x: Tensor, lines: dict[str, Tensor], across: str, up: str) -> Figure:
    """Functions of one number in one frame. x: (N,); lines: title -> (N,)."""
    figure = Figure(figsize=(5.6, 2.6), dpi=110, facecolor="white", layout="constrained")
    axes = figure.add_subplot()
    for title, y in lines.items():
        axes.plot(x, y.detach(), lw=1.6, label=title)
    axes.set_xlabel(across, fontsize=9)
    axes.set_ylabel(up, fontsize=9)
    axes.tick_params(labelsize=8)
    axes.spines[["top", "right"]].set_visible(False)
    axes.legend(fontsize=8, frameon=False)
    return figure


def show_matrix(values: Tensor, rows: tuple[str, ...], columns: tuple[str, ...], down: str, across: str) -> Figure:
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


def show_attention(images: Tensor, maps: Tensor, points: list[tuple[int, int]]) -> Figure:
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


def show_study(result: dict) -> Figure:
    """Confusion rates of `study.report` with their intervals; simulated raters are marked across the picture."""
    figure = Figure(figsize=(7, 2.8), dpi=110, facecolor="white", layout="constrained")
    axes = figure.add_subplot()
    for i, (test, rows) in enumerate(result["rows"].items()):
        x = [LEVELS.index(level) + 0.24 * (i - 0.5) for level in rows]
        rates = np.array([row["rate"] for row in rows.values()])
        reach = [rates - [row["low"] for row in rows.values()], [row["high"] for row in rows.values()] - rates]
        axes.errorbar(x, 100 * rates, 100 * np.array(reach), fmt="os"[i], ms=5, capsize=3, lw=1.2, label=test)
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
