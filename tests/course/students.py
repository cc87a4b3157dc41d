"""What the tests of the assignments share: a master's solution, a stub, what a student is told, a made-up class.

`python -m tests.course.students FOLDER` writes a class of 30, for `python -m pyramid grade FOLDER`.
"""

import ast
import sys
from collections.abc import Callable
from pathlib import Path

import nbformat

from pyramid.course import a1_receptive_fields as a1
from pyramid.course.assignments import MASTERS, STUDENTS
from pyramid.course.engine import Assignment, Function, Wrong, check

A1, A2, A4 = "a1_receptive_fields", "a2_to_level", "a4_the_game"
MISTAKES = {  # assignment -> part of the solution, and what a student wrote in its place
    A1: ("field += stride  #", "pass  #"),
    A2: ("-F.max_pool2d(-region", "F.max_pool2d(region"),
    A4: (".detach()", ""),
}


def answer_cell(path: Path) -> str:
    """Source of the cell that defines the asked functions: with the solution in a master, else with the stub."""
    cells = [cell.source for cell in nbformat.read(path, as_version=4).cells if cell.cell_type == "code"]
    return next(cell for cell in cells if "BEGIN SOLUTION" in cell or "raise NotImplementedError" in cell)


def answer(path: Path) -> Function:
    """The function, or functions, that a notebook's cell defines."""
    source, names = answer_cell(path), {}
    exec(source, names)
    functions = tuple(names[node.name] for node in ast.parse(source).body if isinstance(node, ast.FunctionDef))
    return functions if len(functions) > 1 else functions[0]


def told(assignment: Assignment, function: Callable | tuple[Callable, ...], seed: int = 0) -> set[str]:
    """The sentences that a function earns over all questions of an assignment; none where it passes."""
    sentences = set()
    for question in assignment.questions:
        try:
            check(assignment, question, function, seed)
        except Wrong as wrong:
            sentences.add(str(wrong))
    return sentences


def solution(name: str) -> str:
    return answer_cell(MASTERS / f"{name}.ipynb")


def mistaken(name: str) -> str:
    right, wrong = MISTAKES[name]
    assert right in solution(name)
    return solution(name).replace(right, wrong)


def hard_coded() -> str:
    """A1 answered from a table of just what the visible checks ask, with the seeds of the students' tests."""
    table = {}

    def remember(convolutions: list[int]) -> list[tuple[int, int]]:
        table[tuple(convolutions)] = a1.reached(convolutions)
        return table[tuple(convolutions)]

    for number, question in enumerate(a1.ASSIGNMENT.questions, 1):
        check(a1.ASSIGNMENT, question, remember, seed=number)
    return f"def receptive_fields(convolutions):\n    return {table}[tuple(convolutions)]"


def looping(name: str) -> str:
    """Every asked function runs for ever."""
    names = [node.name for node in ast.parse(solution(name)).body if isinstance(node, ast.FunctionDef)]
    return "\n".join(f"def {function}(*arguments):\n    while True:\n        pass\n" for function in names)


def hand_in(folder: Path, student: str, name: str, cell: str, file: str | None = None) -> None:
    """The student version of an assignment with another cell in place of the stub, in the student's folder."""
    notebook = nbformat.read(STUDENTS / f"{name}.ipynb", as_version=4)
    for place in notebook.cells:
        if place.cell_type == "code" and "raise NotImplementedError" in place.source:
            place.source = cell
    if not cell:  # emptied
        notebook.cells = []
    (folder / student).mkdir(parents=True, exist_ok=True)
    nbformat.write(notebook, folder / student / (file or f"{name}.ipynb"))


def write_class(folder: Path) -> None:
    """Thirty students: ten ways to hand in an assignment, for three of them."""
    for name in (A1, A2, A4):
        number = name.split("_")[0]
        hand_in(folder, f"right-{number}", name, solution(name))
        hand_in(folder, f"mistaken-{number}", name, mistaken(name))
        hand_in(folder, f"stub-{number}", name, answer_cell(STUDENTS / f"{name}.ipynb"))
        hand_in(folder, f"looping-{number}", name, looping(name))
        hand_in(folder, f"endless-{number}", name, "while True:\n    pass")
        hand_in(folder, f"emptied-{number}", name, "")
        hand_in(folder, f"renamed-{number}", name, solution(name), "homework.ipynb")
        hand_in(folder, f"crashing-{number}", name, "import os\nos._exit(1)")
        hand_in(folder, f"stopping-{number}", name, f"{solution(name)}\n\nprint(1 / 0)")
        hand_in(folder, f"hard-coded-{number}", A1, hard_coded())


if __name__ == "__main__":
    write_class(Path(sys.argv[1]))
