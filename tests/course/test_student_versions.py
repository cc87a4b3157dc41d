"""Students' notebooks are what otter-assign makes of the masters, without solutions; masters are as they should be."""

import ast
import re
from importlib import import_module
from pathlib import Path

import nbformat
import pytest
from otter.execute import Checker
from students import answer_cell

from pyramid.course.assignments import MASTERS, STUDENTS, TESTS, grader_for_notebook, make_student_versions, masters

NAMES = [path.stem for path in masters()]
EACH = pytest.mark.parametrize("name", NAMES)
QUESTION = r"check\(ASSIGNMENT, ['\"](.+)['\"], .+, seed=(\d+)\)"


def cells(path) -> list[tuple[str, str]]:
    return [(cell.cell_type, cell.source) for cell in nbformat.read(path, as_version=4).cells]


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    folder = tmp_path_factory.mktemp("students")
    make_student_versions(folder)
    return folder


def test_there_are_eight():
    assert [name[:2] for name in NAMES] == [f"a{i}" for i in range(1, 9)]
    assert sorted(path.stem for path in STUDENTS.glob("*.ipynb")) == NAMES


@EACH
def test_a_student_version_is_what_its_master_gives(name, made):
    assert cells(STUDENTS / f"{name}.ipynb") == cells(made / f"{name}.ipynb"), "run: python -m pyramid assign"


def test_the_tests_beside_them_are_what_the_masters_give(made):
    ours, theirs = ({path.name: path.read_text() for path in (place / TESTS).iterdir()} for place in (STUDENTS, made))
    assert ours == theirs, "run: python -m pyramid assign"


def solution_lines(name: str) -> set[str]:
    """Lines of a master's solution that are long enough to be recognised."""
    body = re.findall(r"# BEGIN SOLUTION.*?\n(.*?)# END SOLUTION", answer_cell(MASTERS / f"{name}.ipynb"), re.S)
    return {line.strip() for part in body for line in part.splitlines() if len(line.strip()) > 12}


@EACH
def test_a_student_version_holds_no_solution(name):
    text = "\n".join(source for _, source in cells(STUDENTS / f"{name}.ipynb"))
    assert solution_lines(name)
    assert not [line for line in solution_lines(name) if line in text]
    assert "SOLUTION" not in text and "seed=" not in text


def checked(name: str, notebook: Path) -> list[str]:
    """What otter says of a notebook's functions, one message a check that a student sees."""
    names = {}
    exec(answer_cell(notebook), names)
    number = name.split("_")[0]
    files = [Checker.check(str(f), None, global_env=names) for f in sorted((STUDENTS / TESTS).glob(f"{number}_*.py"))]
    return [case.message for file in files for case in file.test_case_results]


@EACH
def test_a_stub_fails_every_check_and_the_solution_none(name):
    stub, solution = (checked(name, folder / f"{name}.ipynb") for folder in (STUDENTS, MASTERS))
    assert len(stub) == len(solution) == len(import_module(f"pyramid.course.{name}").ASSIGNMENT.questions)
    assert all(
        message.endswith("Wrong: There is nothing here yet; write the function and run the cell again.")
        for message in stub
    )
    assert all("passed" in message for message in solution)


def test_a_check_in_a_notebook_shows_its_sentence_alone(tmp_path, monkeypatch):
    """Run where the notebook's names are, as its cell does; otter's own line and number are left out."""
    monkeypatch.chdir(tmp_path)  # otter keeps a log where it runs
    names = {"grader": grader_for_notebook()}
    for line, sentence in (
        ("raise NotImplementedError", "❌ There is nothing here yet; write the function and run the cell again."),
        ("return {}['x']", "❌ It stops with KeyError in line 2. Python says: \"'x'\""),
    ):
        exec(f"def receptive_fields(convolutions):\n    {line}\nfound = grader.check('a1_1')", names)
        for shown in (repr(names["found"]), names["found"]._repr_html_()):
            assert sentence in " ".join(shown.split())
            assert "Error at line" not in shown and "check(ASSIGNMENT" not in shown
    exec("def receptive_fields(convolutions):\n    return 5 * [(1, 1)]\nfound = grader.check('a1_1')", names)
    (case,) = names["found"].test_case_results
    assert len(case.message) > 90 and max(map(len, case.message.splitlines())) <= 80  # broken between words
    exec(answer_cell(MASTERS / "a1_receptive_fields.ipynb") + "\nfound = grader.check('a1_1')", names)
    assert "passed!" in repr(names["found"]) and "passed!" in names["found"]._repr_html_()


@EACH
def test_a_master_asks_every_question_twice_with_other_seeds(name):
    assignment = import_module(f"pyramid.course.{name}").ASSIGNMENT
    assert assignment.name == name
    asked = [
        match.groups() for _, source in cells(MASTERS / f"{name}.ipynb") for match in re.finditer(QUESTION, source)
    ]
    seen, hidden = asked[::2], asked[1::2]
    assert [title for title, _ in seen] == [title for title, _ in hidden] == list(assignment.questions)
    assert not {seed for _, seed in seen} & {seed for _, seed in hidden}
    for number, (title, seed) in enumerate(seen, 1):
        test = (STUDENTS / TESTS / f"{name[:2]}_{number}.py").read_text(encoding="ascii")
        assert re.findall(QUESTION, test) == [(title, seed)]


@EACH
def test_a_master_says_what_a_student_needs(name):
    texts = [source for kind, source in cells(MASTERS / f"{name}.ipynb") if kind == "markdown"]
    assert re.search(r"\*\*You need:\*\* notebook", texts[0]) and re.search(r"[Aa]bout \d+ minutes", texts[0])
    assert len(re.search(r"\*\*Difficulty:\*\* ([●○]+)", texts[0])[1]) == 3
    together = "\n".join(texts)
    assert "$$" in together and together.count("<details>") >= 2
    assert texts[-1].endswith(
        "\n\nRun the notebook once from top to bottom (*Restart and run all*), save it, and hand in the file "
        f"`{name}.ipynb` under this name. Grading asks the same questions with other inputs."
    )
    assert ast.parse(answer_cell(STUDENTS / f"{name}.ipynb"))


def test_making_them_twice_gives_the_same_files(made, tmp_path):
    make_student_versions(tmp_path)
    first, second = (
        {p.relative_to(f): p.read_bytes() for f in [folder] for p in f.rglob("*.*")} for folder in (made, tmp_path)
    )
    assert first == second
