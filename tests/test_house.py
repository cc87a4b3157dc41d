"""The house as docs/architecture.md draws it: what may import what, and how large a room may grow."""

import ast
from pathlib import Path

import pytest

HOUSE = Path(__file__).resolve().parents[1] / "pyramid"
FILES = sorted(HOUSE.rglob("*.py"))
ROOMS = ("scenes", "figures", "training", "measure", "panels", "course", "cli")  # each may import those before it
MAY_IMPORT = {room: {"", *ROOMS[: i + 1]} for i, room in enumerate(ROOMS)} | {"": {""}}
MAY_IMPORT["figures"] -= {"scenes"}


def room_of(path: Path) -> str:
    """The folder a file lies in; "" for the paper, flat at the top."""
    return path.relative_to(HOUSE).parts[0] if path.parent != HOUSE else ""


def imported(path: Path) -> set[str]:
    """The rooms that a file imports from, "" for the paper."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.ImportFrom) and node.module == "pyramid":
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and (node.module or "").startswith("pyramid."):
            names = [node.module.split(".")[1]]
        else:
            continue
        found |= {name if name in ROOMS else "" for name in names}
    return found


@pytest.mark.parametrize("path", FILES, ids=lambda p: str(p.relative_to(HOUSE)))
def test_imports_go_one_way(path):
    if path.name == "__main__.py":
        assert imported(path) == {"cli"}
    else:
        assert imported(path) <= MAY_IMPORT[room_of(path)]


def test_the_paper_is_flat_and_small():
    assert len([path for path in FILES if room_of(path) == ""]) <= 17
    assert {room_of(path) for path in FILES} == {"", *ROOMS}


@pytest.mark.parametrize("path", FILES, ids=lambda p: str(p.relative_to(HOUSE)))
def test_files_and_functions_stay_small(path):
    text = path.read_text(encoding="utf-8")
    assert text.count("\n") <= 350
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.FunctionDef):
            assert node.end_lineno - node.lineno < 60, node.name


@pytest.mark.parametrize("room", ROOMS)
def test_every_room_says_what_lives_there_and_what_does_not(room):
    docstring = ast.get_docstring(ast.parse((HOUSE / room / "__init__.py").read_text(encoding="utf-8")))
    assert len(docstring.splitlines()) >= 3 and "Not here" in docstring
