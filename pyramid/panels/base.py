"""What all panels are made of: a picture that redraws itself, a chooser of photographs, and the small controls.

They work with ipywidgets 7.7 (Colab) and 8.
"""

import html
import threading
from collections.abc import Callable
from pathlib import Path

import ipywidgets
from torch import Tensor

from pyramid.checkpoints import write_atomically
from pyramid.data import open_image, open_upload, sample_photographs
from pyramid.errors import InputError
from pyramid.model import SemanticPyramid

OUTPUTS = Path("outputs")  # where panels save
SAMPLES = 24  # sample photographs offered in the chooser
OWN_GUESS = "(its own guess)"


def uploaded_files(value) -> list[tuple[str, bytes]]:
    """Name and content of each file in a FileUpload's value: a dict in ipywidgets 7, a tuple in 8."""
    if isinstance(value, dict):
        return [(name, bytes(item["content"])) for name, item in value.items()]
    return [(item["name"], bytes(item["content"])) for item in value]


def in_words(error: Exception) -> str:
    """What a panel shows of an error, as HTML: an InputError's own sentence, of any other its kind as well."""
    text = str(error) if isinstance(error, InputError) else f"{type(error).__name__}: {error}. The panel goes on."
    return f"<b>{html.escape(text)}</b>"


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
        """Put a line of HTML beside the button."""
        self.status.value = text

    def redraw(self) -> None:
        """Draw now, from the controls' values, and say so meanwhile."""
        self.say("drawing …")
        try:
            self.picture.value = self.draw()
            self.say("ready")
        except Exception as error:  # whatever it is, the panel says so and goes on
            self.say(in_words(error))

    def save(self) -> None:
        """Write the picture shown into outputs/, under a name that is free."""
        if not self.picture.value:
            self.say("<b>Nothing is drawn yet.</b>")
            return
        path = OUTPUTS / f"{self.name}.png"
        try:
            while path.exists():
                self.saved += 1
                path = OUTPUTS / f"{self.name}-{self.saved}.png"
            write_atomically(path, bytes(self.picture.value))
            self.say(f"saved as {path}")
        except Exception as error:
            self.say(in_words(error))


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
        self.menu.observe(lambda change: self._choose(change["new"]), names="value")
        self.upload.observe(lambda change: self._uploaded(change["new"]), names="value")
        self.widget = ipywidgets.VBox([self.menu, self.upload])

    def _open(self, index: int) -> Tensor:
        return open_image(self.paths[index], self.size)

    def _choose(self, index: int) -> None:
        try:
            self._take(self._open(index))
        except Exception as error:
            self.say(in_words(error))

    def _take(self, photo: Tensor) -> None:
        self.photo = photo
        self.changed()

    def _uploaded(self, value) -> None:
        for name, content in uploaded_files(value):
            try:
                self._take(open_upload(name, content, self.size))
            except Exception as error:
                self.say(in_words(error))


def seed_slider() -> ipywidgets.IntSlider:
    """A slider for the seed, 0 … 99."""
    return ipywidgets.IntSlider(value=0, min=0, max=99, description="seed")


def label_menu(model: SemanticPyramid) -> ipywidgets.Dropdown:
    """A menu of the model's classes, on top the classifier's own guess; `chosen_label` reads it."""
    return ipywidgets.Dropdown(options=[OWN_GUESS, *model.classes], description="label")


def chosen_label(menu: ipywidgets.Dropdown) -> str | None:
    """The class chosen in a `label_menu`; None for the classifier's own guess."""
    return None if menu.value == OWN_GUESS else menu.value
