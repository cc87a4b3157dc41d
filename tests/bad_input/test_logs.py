"""Logs that a kill has cut short, steps that are done anew, answers beside the point."""

import json

import pytest

from conftest import tiny_run
from pyramid import figures
from pyramid.checkpoints import append, read_lines
from pyramid.errors import InputError
from pyramid.training import train

HALVES = [b'{"step": 150, "ima', b'{"step": 150}garbage', b"\xff\xfe\x00", b"[1, 2]", b"null", b"[" * 3000]
FOREIGN = [  # lines that lack what training writes into each
    {"epoch": 3, "loss": 0.5},
    {"step": 50, "images": 1600, "loss_d": 1.9, "loss_rec": 7.6},
    {"step": 50, "images": 1600, "discriminator": {"adversarial": 1.9}},
    {"step": 50, "images": 1600, "discriminator": {"adversarial": 1.9}, "generator": 0.2},
    {"step": 50, "images": "many", "discriminator": {}, "generator": {}},
]


@pytest.fixture
def run(tmp_path, monkeypatch):
    """A run of four steps that logs each."""
    monkeypatch.setattr("pyramid.training.loop.REPORT_EVERY", 1)
    train(tiny_run(), tmp_path, steps=4, progress=False)
    return tmp_path


@pytest.mark.parametrize("half", HALVES, ids=range(len(HALVES)))
def test_a_half_line_stops_neither_curves_nor_training(half, run):
    with (run / "metrics.jsonl").open("ab") as file:
        file.write(half)
    assert [line["step"] for line in figures.read_metrics(run)] == [1, 2, 3, 4]
    assert figures.plot_run_curves({"run": run}).axes
    train(tiny_run(), run, steps=6, progress=False)
    text = (run / "metrics.jsonl").read_text(encoding="utf-8")
    assert [json.loads(line)["step"] for line in text.splitlines()] == [1, 2, 3, 4, 5, 6]


def test_steps_that_are_done_anew_are_logged_once(run):
    """Killed after its checkpoint at step 4, with two more steps logged and lost."""
    for step in (5, 6):
        append(run / "metrics.jsonl", json.dumps({"step": step, "images": 8 * step, "lost": True}))
    train(tiny_run(), run, steps=7, progress=False)
    lines = read_lines(run / "metrics.jsonl")
    assert [line["step"] for line in lines] == [1, 2, 3, 4, 5, 6, 7] and not any("lost" in line for line in lines)


def test_a_line_begins_afresh_behind_a_broken_one(tmp_path):
    path = tmp_path / "log.jsonl"
    path.write_bytes(b'{"a": 1}\n{"b": ')
    append(path, '{"c": 3}')
    append(path, '{"d": 4}')
    assert read_lines(path) == [{"a": 1}, {"c": 3}, {"d": 4}]
    assert path.read_bytes() == b'{"a": 1}\n{"b": \n{"c": 3}\n{"d": 4}\n'


def test_a_line_of_other_numbers_is_passed_over(run):
    others = ({"images": "many"}, {"step": 9}, {"images": None, "discriminator": 3}, {"images": True}, *FOREIGN)
    for line in others:
        append(run / "metrics.jsonl", json.dumps(line))
    assert len(figures.read_metrics(run)) == 4 and figures.plot_run_curves({"run": run}).axes


@pytest.mark.parametrize("line", FOREIGN, ids=range(len(FOREIGN)))
def test_a_log_of_something_else_is_refused_in_a_sentence(line, tmp_path):
    append(tmp_path / "metrics.jsonl", json.dumps(line))
    append(tmp_path / "metrics.jsonl", json.dumps(line))
    said = "metrics.jsonl is the log of something else: .* give the folder of a run, or train it anew"
    for read in (figures.read_metrics, figures.run_figures):
        with pytest.raises(InputError, match=said):
            read(tmp_path)
