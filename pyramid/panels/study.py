"""The panel of the real/fake study: a pair for one second, hidden by the browser itself, then a button or a key.

Keys come in through a text field, of which the panel reads the last letter and which it empties: the one way that
needs neither scripts nor further packages, so it is the same in JupyterLab, Colab and VS Code.
"""

import base64
import io
import re
import time
from pathlib import Path

import ipywidgets
import torch
from PIL import Image
from torch import Tensor

from pyramid.data import open_image, sample_photographs, to_picture
from pyramid.errors import InputError
from pyramid.measure import study
from pyramid.model import SemanticPyramid
from pyramid.panels.base import OUTPUTS, in_words

KEYS = {"f": True, "j": False}  # under the two index fingers on nearly every keyboard; left and right
SOONEST = 0.2  # seconds: a key so soon after a pair was pressed before it was seen, and answers nothing


def pair_html(left: Tensor, right: Tensor, number: int, seconds: float, size: int = 240) -> str:
    """Two images (3, S, S) side by side that the browser itself hides after `seconds`: no kernel is asked."""

    def picture(image: Tensor) -> str:
        stream = io.BytesIO()
        to_picture(image).resize((size, size), Image.Resampling.BICUBIC).save(stream, format="PNG")
        data = base64.b64encode(stream.getvalue()).decode()
        return f'<img src="data:image/png;base64,{data}" width="{size}" height="{size}" style="margin:8px">'

    # a name of its own for every trial, so that the clock starts anew with each
    hide = f"<style>@keyframes hide-{number} {{ to {{ visibility: hidden }} }}</style>"
    style = f"animation: hide-{number} 0s linear {seconds:g}s forwards"
    return f'{hide}<div class="pair" style="{style}">{picture(left)}{picture(right)}</div>'


class StudySession:
    """One rater's way through the trials; what was answered before is not asked again.

    photos: (N, 3, S, S) in [-1, 1]; path: the rater's file of answers; each: trials of every level in every test.
    """

    def __init__(self, model: SemanticPyramid, photos: Tensor, rater: str, path: Path, each: int):
        self.model, self.photos, self.rater, self.path = model, photos, rater, path
        self.seed = study.rater_seed(rater)
        trials = study.plan_trials(len(photos), each, self.seed)
        done = {a.trial for a in study.read_answers([path]) if a.rater == rater} if path.is_file() else set()
        self.total, self.left = len(trials), [trial for trial in trials if trial.number not in done]
        self.shown = 0.0
        self.exposure = "standard"  # one of `study.EXPOSURES`

    def pair(self) -> str:
        """The pair of the trial that is next, as HTML; starts the clock of the answer."""
        trial = self.left[0]
        images = study.trial_images(self.model, self.photos, trial, self.seed % 2**31)
        html = pair_html(*images, trial.number, study.EXPOSURES[self.exposure])
        self.shown = time.monotonic()
        return html

    def since(self) -> float:
        """Seconds since the pair was shown."""
        return time.monotonic() - self.shown

    def answer(self, chose_left: bool) -> str:
        """Write the answer down and go on; returns what to tell the rater (the solution, in training only)."""
        trial = self.left[0]
        given = study.answer(trial, self.rater, chose_left, self.since(), exposure=self.exposure)
        study.append_answer(self.path, given)
        self.left.pop(0)
        if trial.kind != "training":
            return ""
        side = "right" if trial.fake_left else "left"
        return f"Training: the photograph was at the {side}. "


class StudyPanel:
    """The controls around a session: exposure, a field for keys, the pair, start and two buttons, a status line."""

    def __init__(self, session: StudySession):
        self.session = session
        options = [(f"{seconds:g} s", name) for name, seconds in study.EXPOSURES.items()]
        self.exposure = ipywidgets.ToggleButtons(options=options, description="shown for")
        self.keys = ipywidgets.Text(description="keys", placeholder="f: left, j: right")
        self.show, self.status = ipywidgets.HTML(), ipywidgets.HTML()
        self.start = ipywidgets.Button(description="start", button_style="primary")
        self.buttons = [ipywidgets.Button(description=f"the {side} one", disabled=True) for side in ("left", "right")]
        self.start.on_click(lambda _: self.begin())
        self.buttons[0].on_click(lambda _: self.choose(True))
        self.buttons[1].on_click(lambda _: self.choose(False))
        self.keys.observe(lambda change: self.press(change["new"]), names="value")
        self.status.value = (
            f"{len(session.left)} of {session.total} to go. Press start; or put the cursor into the field "
            "<i>keys</i>, where any letter starts, then f is the left one and j the right one."
        )
        above = ipywidgets.VBox([self.exposure, self.keys, self.show])
        self.widget = ipywidgets.VBox([above, ipywidgets.HBox([self.start, *self.buttons]), self.status])

    def ask(self, told: str = "") -> None:
        """Show the next pair, or say that there is none."""
        session = self.session
        if not session.left:
            self.show.value = ""
            self.status.value = f"{told}Done, thank you. The answers are in {session.path}."
            for control in (self.keys, *self.buttons):
                control.disabled = True
            return
        self.show.value = session.pair()
        number = session.total - len(session.left) + 1
        self.status.value = f"{told}Which one is the photograph? ({number} of {session.total})"

    def begin(self) -> None:
        """The first pair; the exposure is settled from now on."""
        self.session.exposure = self.exposure.value
        self.start.disabled = self.exposure.disabled = True
        for button in self.buttons:
            button.disabled = False
        try:
            self.ask()
        except Exception as error:
            self.status.value = in_words(error)

    def choose(self, chose_left: bool) -> None:
        """Take an answer down and go on."""
        try:
            self.ask(self.session.answer(chose_left))
        except Exception as error:
            self.status.value = in_words(error)

    def press(self, typed: str) -> None:
        """What was typed into the field for keys: its last letter starts, or answers; the field is emptied."""
        if not typed:
            return
        self.keys.value, key = "", typed[-1].lower()
        if not self.start.disabled:
            self.begin()
        elif key in KEYS and self.session.since() > SOONEST:
            self.choose(KEYS[key])


def study_panel(
    model: SemanticPyramid,
    rater: str,
    folder: Path = OUTPUTS / "study",
    each: int = 2,
    photographs: list[Path] | None = None,
) -> ipywidgets.Widget:
    """The real/fake study: a pair for one second, or longer, then a button or a key. Answers: `folder`/`rater`.jsonl.

    each: trials of every level in every test, 28 in all at 2, and training and attention checks on top.
    """
    if not re.fullmatch(r"[\w .-]{1,60}", rater) or rater.startswith("."):
        raise InputError(f"A rater's name becomes a file's: use letters, digits, spaces, '-' and '_', not {rater!r}.")
    paths = photographs or sample_photographs()
    photos = torch.cat([open_image(path, model.image_size) for path in paths])
    return StudyPanel(StudySession(model, photos, rater, folder / f"{rater}.jsonl", each)).widget
