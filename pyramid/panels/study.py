"""The panel of the real/fake study: a pair for one second, hidden by the browser itself, then two buttons."""

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


def pair_html(left: Tensor, right: Tensor, number: int, seconds: float = study.SECONDS, size: int = 240) -> str:
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

    def pair(self) -> str:
        """The pair of the trial that is next, as HTML; starts the clock of the answer."""
        trial = self.left[0]
        self.shown = time.monotonic()
        return pair_html(*study.trial_images(self.model, self.photos, trial, self.seed % 2**31), trial.number)

    def answer(self, chose_left: bool) -> str:
        """Write the answer down and go on; returns what to tell the rater (the solution, in training only)."""
        trial = self.left[0]
        given = study.answer(trial, self.rater, chose_left, time.monotonic() - self.shown)
        study.append_answer(self.path, given)
        self.left.pop(0)
        if trial.kind != "training":
            return ""
        side = "right" if trial.fake_left else "left"
        return f"Training: the photograph was at the {side}. "


def study_panel(
    model: SemanticPyramid,
    rater: str,
    folder: Path = OUTPUTS / "study",
    each: int = 2,
    photographs: list[Path] | None = None,
) -> ipywidgets.Widget:
    """The real/fake study: a pair for one second, then two buttons. Answers go to `folder`/`rater`.jsonl.

    each: trials of every level in every test, 28 in all at 2, and training and attention checks on top.
    """
    if not re.fullmatch(r"[\w .-]{1,60}", rater) or rater.startswith("."):
        raise InputError(f"A rater's name becomes a file's: use letters, digits, spaces, '-' and '_', not {rater!r}.")
    paths = photographs or sample_photographs()
    photos = torch.cat([open_image(path, model.image_size) for path in paths])
    path = folder / f"{rater}.jsonl"
    session = StudySession(model, photos, rater, path, each)
    show, status = ipywidgets.HTML(), ipywidgets.HTML()
    start = ipywidgets.Button(description="start", button_style="primary")
    buttons = [ipywidgets.Button(description=f"the {side} one", disabled=True) for side in ("left", "right")]

    def ask(told: str = "") -> None:
        if not session.left:
            show.value = ""
            status.value = f"{told}Done, thank you. The answers are in {path}."
            for button in buttons:
                button.disabled = True
            return
        show.value = session.pair()
        number = session.total - len(session.left) + 1
        status.value = f"{told}Which one is the photograph? ({number} of {session.total})"

    def begin(_) -> None:
        start.disabled = True
        for button in buttons:
            button.disabled = False
        try:
            ask()
        except Exception as error:
            status.value = in_words(error)

    def choose(chose_left: bool) -> None:
        try:
            ask(session.answer(chose_left))
        except Exception as error:
            status.value = in_words(error)

    start.on_click(begin)
    buttons[0].on_click(lambda _: choose(True))
    buttons[1].on_click(lambda _: choose(False))
    status.value = f"Each pair is shown for {study.SECONDS:g} second. {len(session.left)} of {session.total} to go."
    return ipywidgets.VBox([show, ipywidgets.HBox([start, *buttons]), status])
