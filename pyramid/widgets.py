"""ipywidgets panels. Every callback is a plain function of plain values, tested without a notebook.

They work with ipywidgets 7.7 (Colab) and 8.
"""

import threading
from collections.abc import Callable
from pathlib import Path

import ipywidgets
import torch
from matplotlib.figure import Figure
from PIL import Image
from torch import Tensor
from torch.nn import functional as F

from pyramid import editing, masks
from pyramid.checkpoints import write_atomically
from pyramid.data import read_image, sample_photographs, square, to_picture, to_tensor
from pyramid.errors import InputError
from pyramid.figures import newest_samples, png, show_comparison, show_grid, show_run_curves, show_samples
from pyramid.levels import CONV_LEVELS, LEVELS
from pyramid.model import SemanticPyramid
from pyramid.painting import INK, painter

SAMPLES = 24  # sample photographs offered in the chooser
OUTPUTS = Path("outputs")
OWN_GUESS = "(its own guess)"


def mix(model: SemanticPyramid, photo: Tensor, amounts: dict[str, float], label: str | None, seed: int) -> Figure:
    """What the slider panel shows: reference and image from these mask amounts, with top three guesses.

    photo: (1, 3, S, S) in [-1, 1]; amounts: level -> [0, 1]; label: a class, or None for the classifier's guess.
    """
    image = model.generate(model.features(photo), masks.soft(**amounts), label, seed=seed)
    strange = not model.is_familiar(photo)[0]
    note = "This picture resembles nothing the model was trained on." if strange else ""
    return show_comparison(photo, image, model.guess(torch.cat([photo, image])), note)


def run_pictures(folder: Path, rows: int = 4) -> list[bytes]:
    """Curves and newest sample grid of a run as PNG files, as far as it has written them."""
    samples = newest_samples(folder)
    figures = [show_run_curves({folder.name: folder})] + ([show_samples(samples, rows)] if samples else [])
    return [png(figure) for figure in figures]


def watcher(rows: int = 4) -> Callable[[Path], None]:
    """Two pictures under the cell, renewed whenever a run saves: for `training.train(…, watch=watcher())`.

    Works wherever a display can be updated, JupyterLab and Colab alike; needs no widget.
    """
    from IPython.display import Image as Output
    from IPython.display import display

    handles = [display(text, display_id=True) for text in ("Curves follow", "and samples, with the first save.")]

    def renew(folder: Path) -> None:
        for handle, data in zip(handles, run_pictures(folder, rows), strict=False):
            handle.update(Output(data=data))

    return renew


def uploaded_files(value) -> list[tuple[str, bytes]]:
    """Name and content of each file in a FileUpload's value: a dict in ipywidgets 7, a tuple in 8."""
    if isinstance(value, dict):
        return [(name, bytes(item["content"])) for name, item in value.items()]
    return [(item["name"], bytes(item["content"])) for item in value]


def open_upload(name: str, content: bytes, size: int, folder: Path) -> Tensor:
    """An uploaded picture as (1, 3, size, size) in [-1, 1]; raises InputError that names it."""
    path = folder / Path(name).name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)
    try:
        return to_tensor(square(read_image(path), size))
    finally:
        path.unlink()


class Latest:
    """Runs the newest of many requests and drops the stale ones in between.

    A slider sends a value for every pixel it moves; only the newest that waits is worth computing.
    """

    def __init__(self, work: Callable[[], None]):
        self.work, self.wanted = work, threading.Event()
        self.busy = threading.Lock()

    def ask(self) -> threading.Thread:
        """Ask for a run with the values of now; returns the thread that will see to it."""
        self.wanted.set()
        thread = threading.Thread(target=self._run, daemon=True, name="redraw")
        thread.start()
        return thread

    def _run(self) -> None:
        with self.busy:
            while self.wanted.is_set():
                self.wanted.clear()
                self.work()


class Panel:
    """What all panels share: a picture, a status line that says when work is under way, a button that saves.

    draw: makes the PNG to show from the controls' values; an InputError of it appears in words.
    """

    def __init__(self, name: str, draw: Callable[[], bytes], width: int = 580):
        self.name, self.draw, self.saved = name, draw, 0
        self.picture = ipywidgets.Image(format="png", width=width)
        self.status = ipywidgets.HTML("ready")
        self.latest = Latest(self.redraw)
        save = ipywidgets.Button(description="save picture")
        save.on_click(lambda _: self.save())
        self.result = ipywidgets.VBox([self.picture, ipywidgets.HBox([save, self.status])])

    def ask(self, *_) -> threading.Thread:
        """Redraw soon; only the newest request counts."""
        return self.latest.ask()

    def say(self, text: str) -> None:
        self.status.value = text

    def redraw(self) -> None:
        self.say("drawing …")
        try:
            self.picture.value = self.draw()
            self.say("ready")
        except InputError as error:
            self.say(f"<b>{error}</b>")

    def save(self) -> None:
        """Write the picture shown into outputs/, under a name that is free."""
        path = OUTPUTS / f"{self.name}.png"
        while path.exists():
            self.saved += 1
            path = OUTPUTS / f"{self.name}-{self.saved}.png"
        try:
            write_atomically(path, lambda temporary: temporary.write_bytes(bytes(self.picture.value)))
            self.say(f"saved as {path}")
        except (InputError, OSError) as error:
            self.say(f"<b>{error}</b>")


class Chooser:
    """One of the sample photographs, or the student's own. `photo` is (1, 3, S, S) in [-1, 1].

    say: shows an error in words; changed: is called when another picture was chosen.
    """

    def __init__(
        self,
        model: SemanticPyramid,
        say: Callable[[str], None],
        changed: Callable[[], None],
        photographs: list[Path] | None = None,
        description: str = "picture",
        start: int = 0,
    ):
        self.paths = (photographs or sample_photographs())[:SAMPLES]
        self.size, self.say, self.changed = model.image_size, say, changed
        self.menu = ipywidgets.Dropdown(
            options=[(f"photograph {p.stem}", i) for i, p in enumerate(self.paths)],
            value=start,
            description=description,
        )
        self.upload = ipywidgets.FileUpload(accept="image/*", multiple=False, description="your own")
        self.photo = self._open(self.menu.value)
        self.menu.observe(lambda change: self._take(self._open(change["new"])), names="value")
        self.upload.observe(lambda change: self._uploaded(change["new"]), names="value")
        self.widget = ipywidgets.VBox([self.menu, self.upload])

    def _open(self, index: int) -> Tensor:
        return to_tensor(square(read_image(self.paths[index]), self.size))

    def _take(self, photo: Tensor) -> None:
        self.photo = photo
        self.changed()

    def _uploaded(self, value) -> None:
        for name, content in uploaded_files(value):
            try:
                self._take(open_upload(name, content, self.size, OUTPUTS))
            except InputError as error:
                self.say(f"<b>{error}</b>")


def slider_panel(model: SemanticPyramid, photographs: list[Path] | None = None) -> ipywidgets.Widget:
    """Seven sliders for the mask amounts, a seed, a class label and a picture chooser.

    Redraws as a slider moves; errors appear in words under the picture.
    """
    sliders = {
        name: ipywidgets.FloatSlider(value=1.0 if name == "conv4" else 0.0, min=0, max=1, step=0.05, description=name)
        for name in LEVELS
    }
    seed, label = _seed(), _label(model)
    panel = Panel(
        "mix",
        lambda: png(
            mix(model, chooser.photo, {name: s.value for name, s in sliders.items()}, _chosen(label), seed.value)
        ),
    )
    chooser = Chooser(model, panel.say, panel.ask, photographs)
    for control in (*sliders.values(), seed, label):
        control.observe(panel.ask, names="value")
    panel.redraw()
    return ipywidgets.HBox([ipywidgets.VBox([*sliders.values(), seed, label, chooser.widget]), panel.result])


def _seed() -> ipywidgets.Widget:
    return ipywidgets.IntSlider(value=0, min=0, max=99, description="seed")


def _label(model: SemanticPyramid) -> ipywidgets.Widget:
    return ipywidgets.Dropdown(options=[OWN_GUESS, *model.classes], description="label")


def _chosen(label: ipywidgets.Widget) -> str | None:
    return None if label.value == OWN_GUESS else label.value


def _row(images: list[Tensor], titles: list[str]) -> Figure:
    return show_grid(torch.cat([image.cpu() for image in images])[None], titles, inches=1.9)


def repaint_picture(
    model: SemanticPyramid, photo: Tensor, region: Tensor, level: str, label: str | None, seed: int, paste: bool
) -> Figure:
    """What the repainting panel shows: the photograph and three seeds. region: (H, W), of any size."""
    region = F.interpolate(region[None, None], photo.shape[-2:], mode="bilinear", antialias=True)[0, 0]
    seeds = range(seed, seed + 3)
    images = editing.repaint(model, photo, {level: region}, seeds, label, paste)
    return _row([photo, images], ["photograph", *(f"seed {s}" for s in seeds)])


def repaint_panel(model: SemanticPyramid, photographs: list[Path] | None = None) -> ipywidgets.Widget:
    """Paint a region over a photograph, choose the level inside it, and see it imagined anew."""
    level = ipywidgets.Dropdown(options=LEVELS[1:], value="conv4", description="level inside")
    paste = ipywidgets.Checkbox(value=False, description="photograph outside, feathered", indent=False)
    seed, label = _seed(), _label(model)

    def draw() -> bytes:
        region = canvas.region(model.image_size)
        return png(repaint_picture(model, chooser.photo, region, level.value, _chosen(label), seed.value, paste.value))

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


def compose_picture(
    model: SemanticPyramid,
    background: Tensor,
    foreground: Tensor,
    region: Tensor,
    place: editing.Box,
    level: str,
    seed: int,
) -> Figure:
    """What the composition panel shows: the plain paste, and three seeds of the composition."""
    seeds = range(seed, seed + 3)
    images = editing.compose(model, background, foreground, region, place, level, seeds)
    moved, inside = editing.place(foreground, region[None, None], place)
    pasted = background + inside * (moved - background)
    return _row([background, pasted, images], ["background", "pasted", *(f"seed {s}" for s in seeds)])


def compose_panel(model: SemanticPyramid, photographs: list[Path] | None = None) -> ipywidgets.Widget:
    """Mark a part of one picture, then move and resize it over another."""
    size = model.image_size
    across, down, large = (
        ipywidgets.FloatSlider(value=value, min=0.05, max=0.95, step=0.02, description=name)
        for name, value in (("left/right", 0.5), ("up/down", 0.6), ("size", 0.5))
    )
    level = ipywidgets.Dropdown(options=CONV_LEVELS[1:], value=editing.deepest_map(model), description="level")
    seed = _seed()

    def draw() -> bytes:
        region = canvas.region(size)
        place = placement(region, across.value, down.value, large.value)
        return png(compose_picture(model, below.photo, above.photo, region, place, level.value, seed.value))

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


def placement(region: Tensor, across: float, down: float, large: float) -> editing.Box:
    """The box that a region is to fill: centred at (across, down), its longer side `large` of the picture.

    Keeps the proportions of the region's bounding box. All in shares of the side. Raises InputError for an
    empty region.
    """
    rows, columns = (region > 0.5).nonzero(as_tuple=True)
    if not len(rows):
        raise InputError("Nothing is marked yet; paint over the part of the foreground that is to be moved.")
    height, width = float(rows.max() - rows.min() + 1), float(columns.max() - columns.min() + 1)
    scale = large / max(height, width) / 2
    return (across - width * scale, down - height * scale, across + width * scale, down + height * scale)


def relabel_picture(
    model: SemanticPyramid, photo: Tensor, label: str, levels: tuple[str, ...], strength: float, seed: int
) -> Figure:
    """What the re-labelling panel shows: the photograph and three seeds under the new label."""
    seeds = range(seed, seed + 3)
    images = editing.relabel(model, photo, label, levels, strength, seeds)
    return _row([photo, images], ["photograph", *(f"{label}, seed {s}" for s in seeds)])


def relabel_panel(model: SemanticPyramid, photographs: list[Path] | None = None) -> ipywidgets.Widget:
    """A photograph's layout under another label; the strength turns the layout down."""
    label = ipywidgets.Dropdown(options=model.classes, description="label")
    kept = [editing.RELABEL_LEVELS, *((name,) for name in CONV_LEVELS[1:])]
    level = ipywidgets.Dropdown(options=[(" + ".join(names), names) for names in kept], description="keeps")
    strength = ipywidgets.FloatSlider(
        value=model.preset.relabel_strength, min=0, max=1, step=0.02, description="strength"
    )
    seed = _seed()
    panel = Panel(
        "relabelled",
        lambda: png(relabel_picture(model, chooser.photo, label.value, level.value, strength.value, seed.value)),
        width=760,
    )
    chooser = Chooser(model, panel.say, panel.ask, photographs)
    for control in (label, level, strength, seed):
        control.observe(panel.ask, names="value")
    panel.redraw()
    return ipywidgets.VBox([ipywidgets.VBox([label, level, strength, seed, chooser.widget]), panel.result])


def sketch_picture(model: SemanticPyramid, ink: Tensor, level: str, label: str | None, seed: int) -> Figure:
    """What the sketching panel shows: the drawing and three photographs of it. ink: (S, S), 1 where drawn."""
    drawing = (1 - 2 * ink).expand(1, 3, *ink.shape)
    seeds = range(seed, seed + 3)
    images = editing.reimagine(model, drawing, level, seeds, label)
    guess = model.guess(drawing)[0][0][0]
    return _row([drawing, images], [f"seen as {label or guess}", *(f"seed {s}" for s in seeds)])


def sketch_panel(model: SemanticPyramid) -> ipywidgets.Widget:
    """Draw with the mouse and see photographs of the drawing."""
    level = ipywidgets.Dropdown(options=LEVELS[1:], value="conv4", description="level")
    seed, label = _seed(), _label(model)
    panel = Panel(
        "sketched",
        lambda: png(sketch_picture(model, canvas.region(model.image_size), level.value, _chosen(label), seed.value)),
        width=760,
    )
    canvas = painter(panel.ask, colour=INK, opacity=1.0, radius=0.015)
    for control in (level, seed, label):
        control.observe(panel.ask, names="value")
    canvas.show(Image.new("RGB", (8, 8), "white"))
    panel.redraw()
    return ipywidgets.VBox([ipywidgets.HBox([canvas.widget, ipywidgets.VBox([level, seed, label])]), panel.result])
