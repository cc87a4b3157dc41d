"""The study as a rater sees it: asks, hides, writes down, and goes on where it stopped."""

import torch
from PIL import Image

from pyramid import panels
from pyramid.levels import LEVELS
from pyramid.measure import study
from pyramid.panels.study import StudySession


def test_panel_asks_writes_and_goes_on_where_it_stopped(tiny_model, tmp_path):
    paths = []
    for i in range(3):
        paths.append(tmp_path / f"{i}.png")
        Image.new("RGB", (40, 40), (80 * i, 90, 200)).save(paths[-1])
    panel = panels.study_panel(tiny_model, "ann", tmp_path, each=1, photographs=paths)
    show, (start, left, right), status = panel.children[0], panel.children[1].children, panel.children[2]
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
    assert "Done" in status.value and len(study.read_answers([tmp_path / "ann.jsonl"])) == total
