import csv
import io
import sys
import time

import psutil
import pytest
from students import A1, A2, A4, hand_in, hard_coded, looping, mistaken, solution

from pyramid.cli import main
from pyramid.course import a1_receptive_fields as a1
from pyramid.course.engine import check
from pyramid.course.grading import feedback, grade, limited_run, table
from pyramid.errors import InputError

SECONDS, MEGABYTES = 60, 4096
CUT = "import pyramid.course.engine\npyramid.course.engine.SECONDS = 0.5\n"  # as long as a check lasts in this class
POOL = next(sentence for sentence in a1.ASSIGNMENT.mistakes if "pool is not" in sentence)


@pytest.fixture(scope="module")
def classroom(tmp_path_factory):
    folder = tmp_path_factory.mktemp("class")
    hand_in(folder, "ada", A1, solution(A1))
    hand_in(folder, "bob", A1, mistaken(A1))
    hand_in(folder, "cyd", A1, CUT + looping(A1))
    hand_in(folder, "dan", A1, "")
    hand_in(folder, "eve", A2, solution(A2) + "\n\nprint(1 / 0)", "homework.ipynb")
    hand_in(folder, "fay", A1, "import os\nos._exit(1)")
    hand_in(folder, "gus", A1, hard_coded())
    (folder / "hal").mkdir()
    (folder / "hal" / f"{A1}.ipynb").write_text("")
    (folder / "ida").mkdir()
    (folder / "ida" / "poem.ipynb").write_text('{"cells": [], "metadata": {}, "nbformat": 4, "nbformat_minor": 5}')
    return folder


@pytest.fixture(scope="module")
def grades(classroom):
    return {found.student: found for found in grade(classroom, SECONDS, MEGABYTES)}


def test_every_submission_has_a_row(grades):
    assert list(grades) == ["ada", "bob", "cyd", "dan", "eve", "fay", "gus", "hal", "ida"]


@pytest.mark.parametrize(
    "student, points, reason",
    [
        ("ada", [2, 2], ""),
        ("bob", [0, 0], POOL),
        ("cyd", [0, 0], "not answered within 0 seconds"),
        ("dan", [], "The notebook is empty"),
        ("eve", [2, 2, 2, 2], f"renamed homework.ipynb; its checks are those of {A2}."),
        ("fay", [], "ended its own Python process"),
        ("gus", [2, 1], "It stops with KeyError"),  # the seen checks are answered, the hidden ones are not
        ("hal", [], f"{A1}.ipynb is no notebook"),
        ("ida", [], "poem.ipynb is none of the assignments"),
    ],
)
def test_points_and_reason(grades, student, points, reason):
    assert grades[student].points == points
    assert reason in grades[student].reason and bool(reason) == bool(grades[student].reason)


def test_a_cell_that_stops_is_named(grades):
    assert "stops with ZeroDivisionError: division by zero" in grades["eve"].reason


def test_a_hidden_input_is_not_told(grades):
    """What stops on a hidden input is named by its kind and the student's line, never by the input."""
    asked = []

    def listens(convolutions):
        asked.append(convolutions)
        return a1.reached(convolutions)

    check(a1.ASSIGNMENT, "Any other network: as far as a gradient reaches", listens, seed=1074)  # as the master has it
    said = feedback([grades["gus"]])
    assert "It stops with KeyError in line 2, `return {" in said
    assert asked and not [drawn for drawn in asked if str(tuple(drawn)) in said or str(drawn) in said]


def test_nothing_of_otter_is_told(grades):
    told = table(list(grades.values())) + feedback(list(grades.values()))
    assert not [noise for noise in ("Error at line", "check(ASSIGNMENT", "Test case", "Python says") if noise in told]


def test_the_same_grade_on_a_second_run(grades, tmp_path):
    hand_in(tmp_path, "gus", A1, hard_coded())
    assert grade(tmp_path, SECONDS, MEGABYTES) == [grades["gus"]]


def test_the_table_is_one_row_a_submission(grades):
    rows = list(csv.DictReader(io.StringIO(table(list(grades.values())))))
    assert [row["student"] for row in rows] == list(grades)
    assert [rows[6][f"question {i}"] for i in (1, 2, 3, 4)] == ["2", "1", "", ""] and rows[6]["total"] == "3"
    assert rows[1]["reason"] == POOL


def test_feedback_says_where_points_went(grades):
    assert feedback([grades["ada"]]) == f"{A1}: 4 points\n\nQuestion 1: 2.\nQuestion 2: 2.\n"
    assert f"Question 2: 0. {POOL}" in feedback([grades["bob"]])
    assert "The notebook is empty" in feedback([grades["dan"]])
    assert "ZeroDivisionError" in feedback([grades["eve"]])


@pytest.mark.parametrize(
    "code, seconds, megabytes, reason",
    [
        ("while True: pass", 1, 1000, "not done after 1 seconds"),
        ("import time; time.sleep(100)", 0.2, 1000, "not done after 0.2 seconds"),  # by the clock
        ("import time; x = b'1' * 3 * 10**8; time.sleep(100)", 60, 200, "more than 200 MB"),
        ("print(1)", 60, 1000, ""),
    ],
)
def test_limits(code, seconds, megabytes, reason, tmp_path):
    begun = time.monotonic()
    said = limited_run([sys.executable, "-c", code], tmp_path, seconds, megabytes)
    assert reason in said and bool(reason) == bool(said)
    assert time.monotonic() - begun < 60


def test_no_child_outlives_its_limit(tmp_path):
    child = "import subprocess, sys; subprocess.run([sys.executable, '-c', 'while True: pass'], start_new_session=True)"
    assert limited_run([sys.executable, "-c", child], tmp_path, 2, 1000)
    assert not [p for p in psutil.Process().children(recursive=True) if "while True" in " ".join(p.cmdline())]


def test_a_folder_without_notebooks_is_told_so(tmp_path):
    with pytest.raises(InputError, match="There are no notebooks"):
        grade(tmp_path, SECONDS, MEGABYTES)


def test_the_command_writes_table_and_feedback(tmp_path, capsys):
    hand_in(tmp_path / "class", "zoe", A4, "")
    assert main(["grade", str(tmp_path / "class"), "--out", str(tmp_path / "grades")]) == 0
    assert "zoe, a4_the_game: 0" in capsys.readouterr().out
    assert (
        (tmp_path / "grades" / "grades.csv")
        .read_text()
        .startswith("student,assignment,total,reason\nzoe,a4_the_game,0,")
    )
    assert "empty" in (tmp_path / "grades" / "feedback" / "zoe.txt").read_text()
    assert main(["grade", str(tmp_path / "nobody")]) == 2
    assert "There is no folder" in capsys.readouterr().err
