"""What docs/course.md says of minutes, difficulty and functions is what the notebooks say."""

import ast
import re
from pathlib import Path

import nbformat
import pytest
from students import answer_cell

from pyramid.course.assignments import STUDENTS
from pyramid.presets import PRESETS

ROOT = Path(__file__).resolve().parents[2]
PAGE = (ROOT / "docs" / "course.md").read_text(encoding="utf-8")
TRAINING = 40  # minutes that the page gives to the notebook which trains for as long as one likes
ROWS = [[cell.strip() for cell in line.strip("|").split("|")] for line in PAGE.splitlines() if line.startswith("| ")]


def path_of(unit: str) -> Path:
    """Of "03", or of "A3"."""
    folder, start = (STUDENTS, unit.lower()) if unit.startswith("A") else (ROOT / "notebooks", unit)
    (path,) = folder.glob(f"{start}_*.ipynb")
    return path


def introduction(unit: str) -> str:
    return next(c.source for c in nbformat.read(path_of(unit), as_version=4).cells if c.cell_type == "markdown")


def minutes(unit: str) -> int:
    """What a notebook states; TRAINING where it leaves it open."""
    stated = introduction(unit).partition("**Time:**")[2]
    return (
        TRAINING
        if stated.strip().startswith("as long as you like")
        else int(re.search(r"about (\d+) minutes", stated)[1])
    )


WEEKS = [row for row in ROWS if len(row) == 5 and row[0].isdigit()]


@pytest.mark.parametrize("row", WEEKS, ids=lambda row: row[1])
def test_a_weeks_minutes_are_those_of_its_notebooks(row):
    units = re.findall(r"\b(?:A\d|\d\d)\b", f"{row[2]} {row[3]}")
    assert sum(minutes(unit) for unit in units) == int(row[4])


def test_the_six_weeks_hold_everything_once_and_both_routes_add_up():
    six, two = WEEKS[:6], WEEKS[6:]
    held = re.findall(r"\b(?:A\d|\d\d)\b", " ".join(f"{row[2]} {row[3]}" for row in six))
    notebooks = [path.name[:2] for path in (ROOT / "notebooks").glob("*.ipynb")]
    assert sorted(held) == sorted(notebooks + [f"A{i}" for i in range(1, 9)])
    for route in (six, two):
        total = sum(int(row[4]) for row in route)
        assert f"That is {total} minutes" in PAGE
    hours = {"thirteen": 13, "eight": 8}  # as the page has them
    for route, word in ((six, "thirteen"), (two, "eight")):
        assert f"less than {word} hours" in PAGE
        assert hours[word] - 1 < sum(int(row[4]) for row in route) / 60 < hours[word]


def test_no_unit_comes_before_what_it_needs():
    for route in (WEEKS[:6], WEEKS[6:]):
        met = []
        for row in route:
            met += re.findall(r"\d\d", row[2])
            for unit in re.findall(r"A\d", row[3]):
                needed = re.search(r"\*\*You need:\*\* notebook (\d\d)", introduction(unit))[1]
                assert needed in met, unit


def test_the_table_of_assignments_is_theirs():
    rows = {re.match(r"\[(A\d)\]", row[0])[1]: row for row in ROWS if row[0].startswith("[A")}
    assert list(rows) == [f"A{i}" for i in range(1, 9)]
    for unit, (link, after, functions, difficulty, stated) in rows.items():
        assert path_of(unit).name in link
        assert f"**You need:** notebook {after}" in introduction(unit)
        assert f"**Difficulty:** {difficulty}" in introduction(unit) and int(stated) == minutes(unit)
        written = [
            node.name for node in ast.parse(answer_cell(path_of(unit))).body if isinstance(node, ast.FunctionDef)
        ]
        assert functions == ", ".join(f"`{name}`" for name in written)


def test_the_rubric_adds_up():
    points = [int(row[1]) for row in ROWS if len(row) == 5 and row[0].isalpha() and row[1].isdigit()]
    assert f"{sum(points)} points" in PAGE and len(points) == 7


def test_the_projects_preset_and_commands_exist():
    from pyramid.cli import parser

    assert "scenes32" in PRESETS
    for line in re.findall(r"python -m pyramid ((?:train|evaluate)[^`…\n]+)", PAGE):
        parser().parse_args(line.split())
