"""The panels of the one model's uses: sliders, repainting, composition, re-labelling and sketching.

Beside each panel stands the plain function of plain values that draws its picture, tested without a notebook.
"""

from pathlib import Path

import ipywidgets
import torch
from matplotlib.figure import Figure
from PIL import Image
from torch import Tensor
from torch.nn import functional as F

from pyramid import editing, masks
from pyramid.data import to_picture
from pyramid.errors import InputError
from pyramid.figures import plot_comparison, plot_grid, png
from pyramid.levels import CONV_LEVELS, LEVELS
from pyramid.model import SemanticPyramid
from pyramid.panels.base import Chooser, Panel, chosen_label, label_menu, seed_slider
from pyramid.panels.painting import INK, painter


def plot_mix(model: SemanticPyramid, photo: Tensor, amounts: dict[str, float], label: str | None, seed: int) -> Figure:
    """What the slider panel shows: reference and image from these mask amounts, with top three guesses.

    photo: (1, 3, S, S) in [-1, 1]; amounts: level -> [0, 1]; label: a class, or None for the classifier's guess.
    """
    features = model.features(photo)
    image = model.generate(features, masks.soft(**amounts), label, seed=seed)
    note = "" if model.is_familiar(features)[0] else "This picture resembles nothing the model was trained on."
    return plot_comparison(photo, image, model.guess(features) + model.guess(model.features(image)), note)


def slider_panel(model: SemanticPyramid, photographs: list[Path] | None = None) -> ipywidgets.Widget:
    """Seven sliders for the mask amounts, a seed, a class label and a picture chooser.

    Redraws as a slider moves; errors appear in words under the picture.
    """
    sliders = {
        name: ipywidgets.FloatSlider(value=1.0 if name == "conv4" else 0.0, min=0, max=1, step=0.05, description=name)
        for name in LEVELS
    }
    seed, label = seed_slider(), label_menu(model)

    def draw() -> bytes:
        amounts = {name: slider.value for name, slider in sliders.items()}
        return png(plot_mix(model, chooser.photo, amounts, chosen_label(label), seed.value))

    panel = Panel("mix", draw)
    chooser = Chooser(model, panel.say, panel.ask, photographs)
    for control in (*sliders.values(), seed, label):
        control.observe(panel.ask, names="value")
    panel.redraw()
    return ipywidgets.HBox([ipywidgets.VBox([*sliders.values(), seed, label, chooser.widget]), panel.result])


def _plot_row(images: list[Tensor], titles: list[str]) -> Figure:
    """Images (N, 3, S, S), however they are gathered, in one row under one title each."""
    return plot_grid(torch.cat([image.cpu() for image in images])[None], titles, inches=1.9)


def plot_repaint(
    model: SemanticPyramid, photo: Tensor, region: Tensor, level: str, label: str | None, seed: int, paste: bool
) -> Figure:
    """What the repainting panel shows: the photograph and three seeds.

    photo: (1, 3, S, S) in [-1, 1]; region: (H, W) in [0, 1], of any size; level: the finest that is open inside.
    """
    region = F.interpolate(region[None, None], photo.shape[-2:], mode="bilinear", antialias=True)[0, 0]
    seeds = range(seed, seed + 3)
    images = editing.repaint(model, photo, {level: region}, seeds, label, paste)
    return _plot_row([photo, images], ["photograph", *(f"seed {s}" for s in seeds)])


def repaint_panel(model: SemanticPyramid, photographs: list[Path] | None = None) -> ipywidgets.Widget:
    """Mark a region of a photograph with brush or sliders, choose the level inside it, and see it imagined anew."""
    level = ipywidgets.Dropdown(options=LEVELS[1:], value="conv4", description="level inside")
    paste = ipywidgets.Checkbox(value=False, description="photograph outside, feathered", indent=False)
    seed, label = seed_slider(), label_menu(model)

    def draw() -> bytes:
        region, named = canvas.region(model.image_size), chosen_label(label)
        return png(plot_repaint(model, chooser.photo, region, level.value, named, seed.value, paste.value))

    def new_picture() -> None:
        canvas.show(to_picture(chooser.photo))
        panel.ask()

    panel = Panel("repainted", draw, width=760)
    canvas = painter(panel.ask)
    chooser = Chooser(model, panel.say, new_picture, photographs)
    for control in (level, paste, seed, label):
        control.observe(panel.ask, names="value")
    canvas.show(to_picture(chooser.photo))
    panel.redraw()
    controls = ipywidgets.VBox([level, seed, label, paste, chooser.widget])
    return ipywidgets.VBox([ipywidgets.HBox([canvas.widget, controls]), panel.result])


def plot_compose(
    model: SemanticPyramid,
    background: Tensor,
    foreground: Tensor,
    region: Tensor,
    place: masks.Box,
    level: str,
    seed: int,
) -> Figure:
    """What the composition panel shows: the plain paste, and three seeds of the composition.

    background, foreground: (1, 3, S, S) in [-1, 1]; region: (S, S), 1 on the part of the foreground that is to
    come to fill the box `place`. Raises InputError for an empty region or box.
    """
    seeds = range(seed, seed + 3)
    images = editing.compose(model, background, foreground, region, place, level, seeds)
    moved, inside = editing.place(foreground, region[None, None], place)
    pasted = background + inside * (moved - background)
    return _plot_row([background, pasted, images], ["background", "pasted", *(f"seed {s}" for s in seeds)])


def compose_panel(model: SemanticPyramid, photographs: list[Path] | None = None) -> ipywidgets.Widget:
    """Mark a part of one picture, then move and resize it over another."""
    size = model.image_size
    across, down, large = (
        ipywidgets.FloatSlider(value=value, min=0.05, max=0.95, step=0.02, description=name)
        for name, value in (("left/right", 0.5), ("up/down", 0.6), ("size", 0.5))
    )
    level = ipywidgets.Dropdown(options=CONV_LEVELS[1:], value=editing.compose_level(model), description="level")
    seed = seed_slider()

    def draw() -> bytes:
        region = canvas.region(size)
        place = placement(region, across.value, down.value, large.value)
        return png(plot_compose(model, below.photo, above.photo, region, place, level.value, seed.value))

    def new_picture() -> None:
        canvas.show(to_picture(above.photo))
        panel.ask()

    panel = Panel("composed", draw, width=860)
    canvas = painter(panel.ask)
    below = Chooser(model, panel.say, panel.ask, photographs, "background")
    above = Chooser(model, panel.say, new_picture, photographs, "foreground", start=1)
    for control in (across, down, large, level, seed):
        control.observe(panel.ask, names="value")
    canvas.show(to_picture(above.photo))
    panel.redraw()
    controls = ipywidgets.VBox([below.widget, above.widget, across, down, large, level, seed])
    return ipywidgets.VBox([ipywidgets.HBox([canvas.widget, controls]), panel.result])


def placement(region: Tensor, across: float, down: float, large: float) -> masks.Box:
    """The box that a region is to fill: centred at (across, down), its longer side `large` of the picture.

    Keeps the proportions of the bounding box of the region (S, S). All in shares of the side. Raises InputError
    for an empty region.
    """
    if not (region > 0.5).any():
        raise InputError("Nothing is marked yet; mark the part of the foreground that is to be moved.")
    left, top, right, bottom = masks.bounding_boxes(region[None, None])[0].tolist()
    width, height = right - left, bottom - top
    scale = large / max(height, width) / 2
    return (across - width * scale, down - height * scale, across + width * scale, down + height * scale)


def plot_relabel(
    model: SemanticPyramid, photo: Tensor, label: str, levels: tuple[str, ...], strength: float, seed: int
) -> Figure:
    """What the re-labelling panel shows: the photograph and three seeds under the new label.

    photo: (1, 3, S, S) in [-1, 1]; levels: what is kept of it; strength: in [0, 1], how far they are turned down.
    """
    seeds = range(seed, seed + 3)
    images = editing.relabel(model, photo, label, levels, strength, seeds)
    return _plot_row([photo, images], ["photograph", *(f"{label}, seed {s}" for s in seeds)])


def relabel_panel(model: SemanticPyramid, photographs: list[Path] | None = None) -> ipywidgets.Widget:
    """A photograph's layout under another label; the strength turns the layout down."""
    label = ipywidgets.Dropdown(options=model.classes, description="label")
    kept = [editing.RELABEL_LEVELS, *((name,) for name in CONV_LEVELS[1:])]
    level = ipywidgets.Dropdown(options=[(" + ".join(names), names) for names in kept], description="keeps")
    strength = ipywidgets.FloatSlider(
        value=model.preset.relabel_strength, min=0, max=1, step=0.02, description="strength"
    )
    seed = seed_slider()
    panel = Panel(
        "relabelled",
        lambda: png(plot_relabel(model, chooser.photo, label.value, level.value, strength.value, seed.value)),
        width=760,
    )
    chooser = Chooser(model, panel.say, panel.ask, photographs)
    for control in (label, level, strength, seed):
        control.observe(panel.ask, names="value")
    panel.redraw()
    return ipywidgets.VBox([ipywidgets.VBox([label, level, strength, seed, chooser.widget]), panel.result])


def plot_sketch(model: SemanticPyramid, ink: Tensor, level: str, label: str | None, seed: int) -> Figure:
    """What the sketching panel shows: the drawing and three photographs of it. ink: (S, S), 1 where drawn."""
    drawing = (1 - 2 * ink).expand(1, 3, *ink.shape)
    seeds = range(seed, seed + 3)
    images = editing.reimagine(model, drawing, level, seeds, label)
    seen_as = label or model.guess(model.features(drawing), top=1)[0][0][0]
    return _plot_row([drawing, images], [f"seen as {seen_as}", *(f"seed {s}" for s in seeds)])


def sketch_panel(model: SemanticPyramid) -> ipywidgets.Widget:
    """Draw with the brush or with sliders, and see photographs of the drawing."""
    level = ipywidgets.Dropdown(options=LEVELS[1:], value="conv4", description="level")
    seed, label = seed_slider(), label_menu(model)
    panel = Panel(
        "sketched",
        lambda: png(plot_sketch(model, canvas.region(model.image_size), level.value, chosen_label(label), seed.value)),
        width=760,
    )
    canvas = painter(panel.ask, colour=INK, opacity=1.0, radius=0.015)
    for control in (level, seed, label):
        control.observe(panel.ask, names="value")
    canvas.show(Image.new("RGB", (8, 8), "white"))
    panel.redraw()
    return ipywidgets.VBox([ipywidgets.HBox([canvas.widget, ipywidgets.VBox([level, seed, label])]), panel.result])
