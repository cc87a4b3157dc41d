"""Grading a folder of submissions: one notebook after another, each in a process of its own, within limits.

A submission lies in a folder that bears its student's name, as learning platforms hand them out. What counts are the
masters' tests, the hidden ones included. A submission's code runs with the rights of whoever grades it.
"""

import csv
import io
import json
import os
import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

import nbformat
import psutil

from pyramid.checkpoints import write_atomically
from pyramid.course.assignments import STUDENTS, TESTS, assign, masters
from pyramid.errors import InputError

GLANCE = 0.1  # seconds between two looks at a process's time and memory
PATIENCE = 10  # seconds by the clock for each of processor time, on a busy machine or for a notebook that waits
SEEDS = "import random, numpy, torch\nrandom.seed(0), numpy.random.seed(0), torch.manual_seed(0);"


@dataclass
class Grade:
    """One submission's row.

    points: of each question, in their order; none where nothing could be checked. said: what went wrong, question by
    question. whole: what there is to say of the notebook as a whole, "" for nothing.
    """

    student: str
    assignment: str
    whole: str = ""
    points: list[float] = field(default_factory=list)
    said: list[list[str]] = field(default_factory=list)

    @property
    def total(self) -> float:
        return sum(self.points)

    @property
    def reason(self) -> str:
        """All that was said, every sentence once; "" where all is right."""
        sentences = dict.fromkeys([self.whole, *(sentence for said in self.said for sentence in said)])
        return " ".join(filter(None, sentences))


def grade(folder: Path, seconds: float, megabytes: float, watch: Callable[[Grade], None] | None = None) -> list[Grade]:
    """Grade every notebook of a folder that has a folder for each student; sorted by student and file.

    seconds, megabytes: of processor time and memory for one notebook, the start of its kernel included. watch: called
    with each grade when it is there. Raises InputError where the folder holds no notebook.
    """
    submissions = sorted(path for path in folder.glob("*/**/*.ipynb") if ".ipynb_checkpoints" not in path.parts)
    if not submissions:
        raise InputError(
            f"There are no notebooks in {folder}; it needs a folder for each student, with notebooks in it."
        )
    grades = []
    with tempfile.TemporaryDirectory() as scratch:
        tests = {master.stem: _all_tests(master, Path(scratch, master.stem)) for master in masters()}
        for submission in submissions:
            student = submission.relative_to(folder).parts[0]
            grades.append(_grade_one(submission, student, tests, Path(scratch), seconds, megabytes))
            if watch:
                watch(grades[-1])
    return grades


def _all_tests(master: Path, place: Path) -> Path:
    """Folder with all tests of a master, the hidden ones included."""
    assign(master, place)
    return place / "autograder" / TESTS


def _grade_one(
    path: Path, student: str, tests: dict[str, Path], scratch: Path, seconds: float, megabytes: float
) -> Grade:
    try:
        notebook = nbformat.read(path, as_version=4)
    except Exception:  # whatever a broken file makes of the reader
        return Grade(student, path.stem, f"{path.name} is no notebook that can be read.")
    assignment, renamed = _assignment_of(path, notebook, list(tests))
    if assignment is None:
        return Grade(student, path.stem, f"{path.name} is none of the assignments, by its name or its checks.")
    if not any(cell.cell_type == "code" and cell.source.strip() for cell in notebook.cells):
        return Grade(student, assignment, "The notebook is empty: it holds no code.")
    outcome = _run(notebook, tests[assignment], scratch, seconds, megabytes)
    names = sorted((file.stem for file in tests[assignment].glob("*.py")), key=lambda name: int(name.split("_")[1]))
    graded = [outcome["questions"].get(name, [0.0, []]) for name in names]
    whole = " ".join(filter(None, (renamed, outcome["reason"])))
    if not outcome["questions"]:
        return Grade(student, assignment, whole)
    return Grade(student, assignment, whole, [points for points, _ in graded], [said for _, said in graded])


def _assignment_of(path: Path, notebook: nbformat.NotebookNode, names: list[str]) -> tuple[str | None, str]:
    """Which assignment a submission is, by its name or else by its checks, and a sentence where it was renamed."""
    named = [name for name in names if name in path.stem]
    if named:
        return named[0], ""
    checks = re.findall(r"check\([\"'](a\d+)_\d+[\"']\)", "\n".join(cell.source for cell in notebook.cells))
    checked = [name for name in names if checks and name.split("_")[0] == checks[0]]
    return (checked[0], f"It was renamed {path.name}; its checks are those of {checked[0]}.") if checked else (None, "")


def _run(notebook: nbformat.NotebookNode, tests: Path, scratch: Path, seconds: float, megabytes: float) -> dict:
    """What `runner` finds of a notebook, or the limit that it ran into."""
    notebook.cells.insert(0, nbformat.v4.new_code_cell(SEEDS))  # chance that nobody seeded is the same at every run
    with tempfile.TemporaryDirectory(dir=scratch) as place:
        copy, result = Path(place, "submission.ipynb"), Path(place, "result.json")
        nbformat.write(notebook, copy)
        command = [sys.executable, "-m", "pyramid.course.runner", str(copy), str(tests), str(result)]
        reason = limited_run(command, Path(place), seconds, megabytes)
        if result.is_file():
            return json.loads(result.read_text(encoding="utf-8"))
    return {"questions": {}, "reason": reason or "Grading it ended without a result."}


def limited_run(command: list[str], place: Path, seconds: float, megabytes: float) -> str:
    """Run a command in a folder; end it with all its processes at a limit, and say which. "" where it ended itself.

    seconds: of processor time, so that a busy machine changes no grade; by the clock `PATIENCE` times as many.
    """
    paths = [str(STUDENTS.parents[1]), os.environ.get("PYTHONPATH", "")]
    fixed = {"PYTHONPATH": os.pathsep.join(filter(None, paths)), "PYTHONHASHSEED": "0", "OMP_NUM_THREADS": "1"}
    quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL, "stdin": subprocess.DEVNULL}
    process = subprocess.Popen(command, cwd=place, env=os.environ | fixed, **quiet)
    begun, reason = time.monotonic(), ""
    try:
        while process.poll() is None and not reason:
            time.sleep(GLANCE)
            used, held = _used(process.pid)
            if used > seconds or time.monotonic() - begun > PATIENCE * seconds:
                reason = f"It was not done after {seconds:g} seconds; look for a loop that does not end."
            elif held > megabytes * 2**20:
                reason = f"It took more than {megabytes:g} MB of memory."
    finally:
        _end(process)
    return reason


def _family(pid: int) -> list[psutil.Process]:
    try:
        process = psutil.Process(pid)
        return [process, *process.children(recursive=True)]
    except psutil.NoSuchProcess:
        return []


def _used(pid: int) -> tuple[float, int]:
    """Seconds of processor time that a process and its children have used, and bytes that they hold."""
    seconds, held = 0.0, 0
    for process in _family(pid):
        with suppress(psutil.Error):  # it has just ended
            times = process.cpu_times()
            seconds, held = seconds + times.user + times.system, held + process.memory_info().rss
    return seconds, held


def _end(process: subprocess.Popen) -> None:
    """End a process and its children, and wait for them."""
    family = _family(process.pid)
    for member in family:
        with suppress(psutil.NoSuchProcess):
            member.kill()
    psutil.wait_procs(family)
    process.wait()


def table(grades: list[Grade]) -> str:
    """All grades as CSV: student, assignment, points of each question, total, reason."""
    questions = max((len(grade.points) for grade in grades), default=0)
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(["student", "assignment", *(f"question {i + 1}" for i in range(questions)), "total", "reason"])
    for grade in grades:
        points = [f"{p:g}" for p in grade.points] + [""] * (questions - len(grade.points))
        writer.writerow([grade.student, grade.assignment, *points, f"{grade.total:g}", grade.reason])
    return text.getvalue()


def feedback(grades: list[Grade]) -> str:
    """What one student is told: every question's points, and a sentence for what is not right."""
    paragraphs = []
    for grade in grades:
        lines = [f"{grade.assignment}: {grade.total:g} points", ""]
        for i, (points, said) in enumerate(zip(grade.points, grade.said, strict=False), 1):
            lines.append(f"Question {i}: {points:g}. {' '.join(said)}".rstrip())
        if grade.whole:
            lines.append(grade.whole)
        paragraphs.append("\n".join(lines))
    return "\n\n".join(paragraphs) + "\n"


def write(grades: list[Grade], out: Path) -> list[Path]:
    """Write grades.csv and feedback/<student>.txt into a folder; returns their paths."""
    files = {out / "grades.csv": table(grades)}
    for student in dict.fromkeys(grade.student for grade in grades):
        theirs = [grade for grade in grades if grade.student == student]
        files[out / "feedback" / f"{student}.txt"] = feedback(theirs)
    for path, text in files.items():
        write_atomically(path, text.encode("utf-8"))
    return list(files)
