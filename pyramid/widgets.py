"""ipywidgets panels. Every callback is a plain function of plain values, tested without a notebook.

They work with ipywidgets 7.7 (Colab) and 8.
"""

import threading
from collections.abc import Callable
from pathlib import Path

import ipywidgets
import torch
from matplotlib.figure import Figure
from torch import Tensor

from pyramid import masks
from pyramid.data import read_image, sample_photographs, square, to_tensor
from pyramid.errors import InputError
from pyramid.figures import png, show_comparison
from pyramid.levels import LEVELS
from pyramid.model import SemanticPyramid

SAMPLES = 24  # sample photographs offered in the chooser
OWN_GUESS = "(its own guess)"


def mix(model: SemanticPyramid, photo: Tensor, amounts: dict[str, float], label: str | None, seed: int) -> Figure:
    """What the slider panel shows: reference and image from these mask amounts, with top three guesses.

    photo: (1, 3, S, S) in [-1, 1]; amounts: level -> [0, 1]; label: a class, or None for the classifier's guess.
    """
    image = model.generate(model.features(photo), masks.soft(**amounts), label, seed=seed)
    strange = not model.is_familiar(photo)[0]
    note = "This picture resembles nothing the model was trained on." if strange else ""
    return show_comparison(photo, image, model.guess(torch.cat([photo.to(model.device), image])), note)


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
        thread = threading.Thread(target=self._run, daemon=True)
        thread.start()
        return thread

    def _run(self) -> None:
        with self.busy:
            while self.wanted.is_set():
                self.wanted.clear()
                self.work()


def slider_panel(model: SemanticPyramid, photographs: list[Path] | None = None) -> ipywidgets.Widget:
    """Seven sliders for the mask amounts, a seed, a class label and a picture chooser.

    Redraws as a slider moves; errors appear in words under the picture.
    """
    paths = (photographs or sample_photographs())[:SAMPLES]
    sliders = {
        name: ipywidgets.FloatSlider(
            value=1.0 if name == "conv4" else 0.0, min=0, max=1, step=0.05, description=name, continuous_update=True
        )
        for name in LEVELS
    }
    seed = ipywidgets.IntSlider(value=0, min=0, max=99, description="seed")
    label = ipywidgets.Dropdown(options=[OWN_GUESS, *model.classes], description="label")
    chooser = ipywidgets.Dropdown(options=[(p.stem, i) for i, p in enumerate(paths)], description="picture")
    upload = ipywidgets.FileUpload(accept="image/*", multiple=False, description="your own")
    picture = ipywidgets.Image(format="png", width=580)
    status = ipywidgets.HTML("ready")
    current = {"photo": to_tensor(square(read_image(paths[0]), model.image_size))}

    def redraw() -> None:
        status.value = "drawing …"
        try:
            amounts = {name: slider.value for name, slider in sliders.items()}
            chosen = None if label.value == OWN_GUESS else label.value
            picture.value = png(mix(model, current["photo"], amounts, chosen, seed.value))
            status.value = "ready"
        except InputError as error:
            status.value = f"<b>{error}</b>"

    latest = Latest(redraw)

    def choose(change) -> None:
        current["photo"] = to_tensor(square(read_image(paths[change["new"]]), model.image_size))
        latest.ask()

    def take(change) -> None:
        for name, content in uploaded_files(change["new"]):
            try:
                current["photo"] = open_upload(name, content, model.image_size, Path("outputs"))
                latest.ask()
            except InputError as error:
                status.value = f"<b>{error}</b>"

    for control in (*sliders.values(), seed, label):
        control.observe(lambda _: latest.ask(), names="value")
    chooser.observe(choose, names="value")
    upload.observe(take, names="value")
    redraw()
    controls = ipywidgets.VBox([*sliders.values(), seed, label, chooser, upload])
    return ipywidgets.HBox([controls, ipywidgets.VBox([picture, status])])
