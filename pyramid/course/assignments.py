"""The assignments as notebooks: masters with their solutions, and what otter-assign makes of them for students.

A master, `notebooks/assignments/master/<name>.ipynb`, is the one source. Its student version lies above it, without
the solution, with the checks that a student may see in `tests/`; the hidden ones are only in the master.
"""

import inspect
import shutil
import tempfile
import textwrap
from copy import copy
from dataclasses import replace
from pathlib import Path

import nbformat

from pyramid.errors import InputError

STUDENTS = Path(__file__).resolve().parents[2] / "notebooks" / "assignments"
MASTERS = STUDENTS / "master"
TESTS = "tests"  # beside a student version: one file a question, <number>_<question>.py
OTTER = "otter-grader is not installed here; `python -m pip install -r requirements.txt` brings it."
SENTENCE = "Wrong: "  # what otter writes before the engine's sentence
WIDTH = 80  # of what a check shows; a browser would break a longer line inside a word


def masters() -> list[Path]:
    """The master notebooks in their order. Raises InputError where there are none, as in an installed package."""
    found = sorted(MASTERS.glob("a*.ipynb"))
    if not found:
        raise InputError(f"There are no assignments in {MASTERS}; use the project's own folder, as git gives it.")
    return found


def grader_for_notebook():
    """An `otter.Notebook` that checks an assignment, whatever folder it runs in, and shows just the engine's sentence.

    Raises InputError without otter.
    """
    try:
        import otter  # not with the rest: it takes seconds, and only assignments need it
    except ImportError:
        raise InputError(OTTER) from None

    class Grader(otter.Notebook):
        def check(self, question: str, global_env: dict | None = None):
            found = super().check(question, global_env or inspect.currentframe().f_back.f_globals)
            shown = copy(found)  # otter keeps what it found, for grading
            shown.test_case_results = [
                case if case.passed else replace(case, message=_lines(f"❌ {said(case.message)}"))
                for case in found.test_case_results
            ]
            return shown

    return Grader(tests_dir=str(STUDENTS / TESTS))


def said(message: str) -> str:
    """The engine's sentence and what is below it, out of otter's message of a check that failed; else the message."""
    return message.partition(SENTENCE)[2].strip() or message.removeprefix("❌ ")


def _lines(text: str) -> str:
    return "\n".join(textwrap.fill(line, WIDTH) for line in text.splitlines())


def assign(master: Path, folder: Path) -> None:
    """Let otter-assign make of a master what students get, and what graders need.

    Writes `<folder>/student/` (notebook without solution, visible tests) and `<folder>/autograder/` (all tests).
    """
    try:
        from otter.assign import main
    except ImportError:
        raise InputError(OTTER) from None
    main(str(master), str(folder.resolve()), no_pdfs=True, no_run_tests=True)


def make_student_versions(folder: Path = STUDENTS) -> list[Path]:
    """Make all student versions and their tests anew, in `folder`; returns the notebooks. The same at every run."""
    with tempfile.TemporaryDirectory() as scratch:
        tests = Path(scratch, TESTS)
        tests.mkdir()
        made = []
        for master in masters():
            place = Path(scratch, master.stem)
            assign(master, place)
            for test in sorted((place / "student" / TESTS).glob("*.py")):
                tests.joinpath(test.name).write_text(test.read_text(encoding="utf-8").strip() + "\n", encoding="utf-8")
            made.append((master.name, _with_steady_ids(place / "student" / master.name)))
        folder.mkdir(parents=True, exist_ok=True)
        shutil.rmtree(folder / TESTS, ignore_errors=True)
        shutil.copytree(tests, folder / TESTS)
        for name, notebook in made:
            nbformat.write(notebook, folder / name)
    return [folder / name for name, _ in made]


def _with_steady_ids(path: Path) -> nbformat.NotebookNode:
    """A notebook whose cells are numbered; otter gives new cells a random id."""
    notebook = nbformat.read(path, as_version=4)
    for number, cell in enumerate(notebook.cells):
        cell.id = f"cell-{number}"
    return notebook
