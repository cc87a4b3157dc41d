"""The study as a rater sees it: asks, hides, writes down, takes keys, and goes on where it stopped."""

from types import SimpleNamespace

import pytest
import torch
from PIL import Image

from pyramid import panels
from pyramid.levels import LEVELS
from pyramid.measure import study
from pyramid.panels.study import StudyPanel, StudySession


@pytest.fixture
def made(tiny_model, tmp_path):
    """Makes a panel for a rater, of one trial a level and test."""
    photos = torch.rand(3, 3, 32, 32, generator=torch.Generator().manual_seed(0)) * 2 - 1
    return lambda rater="ann": StudyPanel(StudySession(tiny_model, photos, rater, tmp_path / f"{rater}.jsonl", 1))


def answers(tmp_path, rater="ann"):
    return study.read_answers([tmp_path / f"{rater}.jsonl"])


def press(panel, key, after=0.5):
    """What the browser sends when a key is pressed in the field; `after`: seconds since the pair was shown."""
    panel.session.since = lambda: after
    panel.keys.set_state({"value": panel.keys.value + key})


def test_panel_asks_writes_and_goes_on_where_it_stopped(tiny_model, tmp_path):
    paths = []
    for i in range(3):
        paths.append(tmp_path / f"{i}.png")
        Image.new("RGB", (40, 40), (80 * i, 90, 200)).save(paths[-1])
    panel = panels.study_panel(tiny_model, "ann", tmp_path, each=1, photographs=paths)
    above, (start, left, right), status = panel.children[0], panel.children[1].children, panel.children[2]
    show = above.children[-1]
    assert left.disabled and show.value == ""
    start.click()
    assert "animation: hide-0 0s linear 1s forwards" in show.value and show.value.count("<img") == 2
    left.click()
    assert status.value.startswith("Training: the photograph was at the")
    right.click()
    assert "animation: hide-2 " in show.value
    total = study.TRAINING + 2 * len(LEVELS) + 5
    again = StudySession(tiny_model, torch.zeros(3, 3, 32, 32), "ann", tmp_path / "ann.jsonl", each=1)
    assert (again.total, len(again.left)) == (total, total - 2)
    while not left.disabled:
        left.click()
    assert "Done" in status.value and len(answers(tmp_path)) == total
    assert {given.exposure for given in answers(tmp_path)} == {"standard"}


def test_keys_start_and_answer_as_the_buttons_do(made, tmp_path):
    keyed, clicked = made("ann"), made("ben")
    clicked.session.left = list(keyed.session.left)  # the same trials
    press(keyed, "x")  # any letter starts, and answers nothing
    assert keyed.start.disabled and not keyed.buttons[0].disabled and "(1 of" in keyed.status.value
    assert not (tmp_path / "ann.jsonl").exists()
    clicked.start.click()
    for key, side in (("f", 0), ("J", 1), ("j", 1), ("f", 0)):
        press(keyed, key)
        assert keyed.keys.value == ""  # emptied for the next one
        clicked.buttons[side].click()
    first, second = answers(tmp_path, "ann"), answers(tmp_path, "ben")
    assert [given.fooled for given in first] == [given.fooled for given in second] and len(first) == 4
    press(keyed, "k")
    assert len(answers(tmp_path)) == 4  # no key of the study's


def test_a_key_that_comes_before_the_pair_is_seen_answers_nothing(made, tmp_path):
    panel = made()
    press(panel, "f")
    for _ in range(3):
        press(panel, "f", after=0.1)  # held down, or struck twice
    assert not (tmp_path / "ann.jsonl").exists() and "(1 of" in panel.status.value
    press(panel, "fj")  # two struck before the field was emptied: the last one counts
    trial = study.plan_trials(3, 1, study.rater_seed("ann"))[0]
    assert [given.fooled for given in answers(tmp_path)] == [not trial.fake_left]


def test_the_field_closes_when_the_study_is_over(made):
    panel = made()
    panel.session.left = panel.session.left[:1]
    press(panel, "f")
    press(panel, "j")
    assert "Done" in panel.status.value and panel.keys.disabled and panel.show.value == ""


def test_the_longer_exposure_is_chosen_before_the_start_and_written_down(made, tmp_path):
    panel = made()
    panel.exposure.value = "longer"
    panel.start.click()
    assert panel.exposure.disabled and "animation: hide-0 0s linear 10s forwards" in panel.show.value
    panel.buttons[0].click()
    assert "animation: hide-1 0s linear 10s forwards" in panel.show.value
    again = made()  # another day, for a second each
    again.start.click()
    assert "animation: hide-1 0s linear 1s forwards" in again.show.value
    again.buttons[0].click()
    assert [given.exposure for given in answers(tmp_path)] == ["longer", "standard"]


def test_the_clock_of_an_answer_starts_when_the_pair_is_ready(made, tmp_path, monkeypatch):
    panel, now = made(), [100.0]
    monkeypatch.setattr("pyramid.panels.study.time", SimpleNamespace(monotonic=lambda: now[0]))
    images = study.trial_images

    def slow(*given):
        now[0] += 7  # seconds that the model takes
        return images(*given)

    monkeypatch.setattr(study, "trial_images", slow)
    panel.start.click()
    now[0] += 0.75
    panel.buttons[0].click()
    assert answers(tmp_path)[0].seconds == 0.75
