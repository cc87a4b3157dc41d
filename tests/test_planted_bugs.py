"""The bugs of `python -m tests.planted_bugs` still fit the code, and what it calls caught is caught."""

import ast
import re

import pytest

from tests.planted_bugs import BUGS, ROOT, Bug, copy_project, is_caught


@pytest.mark.parametrize("bug", BUGS, ids=lambda bug: bug.name)
def test_a_bugs_text_stands_once_in_its_file_and_its_test_exists(bug):
    text = (ROOT / bug.file).read_text(encoding="utf-8")
    assert text.count(bug.old) == 1
    sound, planted = ast.parse(text), ast.parse(text.replace(bug.old, bug.new))
    assert ast.dump(sound) != ast.dump(planted)  # it is no comment
    file, _, name = bug.test.partition("::")
    assert re.search(rf"^def {name}\(", (ROOT / file).read_text(encoding="utf-8"), re.M)


def test_there_are_twenty_bugs_at_least_each_with_a_name_of_its_own():
    assert len({bug.name for bug in BUGS}) == len(BUGS) >= 20


def test_a_bug_is_caught_where_its_test_fails_and_not_where_it_is_harmless(tmp_path, capfd):
    copy_project(tmp_path)
    file, old = "pyramid/levels.py", "{', '.join(LEVELS)}."
    test = "tests/test_levels.py::test_unknown_level_is_named_with_the_known_ones"
    found = Bug("found", file, old, "{'; '.join(LEVELS)}.", test)
    harmless = Bug("harmless", file, old, "{', '.join(LEVELS)}, no other.", test)
    assert is_caught(found, tmp_path) and not is_caught(harmless, tmp_path)
    assert (tmp_path / file).read_text(encoding="utf-8") == (ROOT / file).read_text(encoding="utf-8")
    assert "1 passed" in capfd.readouterr().out
