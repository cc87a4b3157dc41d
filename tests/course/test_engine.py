import linecache
import threading
import time

import numpy as np
import pytest
import torch
from students import told

from pyramid.course import engine
from pyramid.course.engine import Assignment, OutOfTime, Wrong, check, limited, same, typical_mistake


def doubles(function, rng):
    x = rng.normal()
    if not same(function(x), 2 * x):
        raise Wrong("Not twice the number.")


TWICE = Assignment(
    "twice",
    {"Twice": doubles},
    {"Squared.": [lambda x: x**2, lambda x: abs(x) ** 2], "Halved.": lambda x: x / 2},
    lambda function, rng: [np.array(function(x)) for x in rng.normal(size=3)],
)


@pytest.mark.parametrize(
    "function, sentences",
    [
        (lambda x: x + x, set()),
        (lambda x: x * x, {"Squared."}),
        (lambda x: x * 0.5, {"Halved."}),
        (lambda x: 3 * x, {"Not twice the number."}),
        (lambda x: None, {"Not twice the number."}),
        (None, {"The function is not there; run the cell that defines it, and keep its name."}),
    ],
)
def test_what_a_function_is_told(function, sentences):
    assert told(TWICE, function) == sentences


KEY = str(np.random.default_rng(0).normal())  # what the question draws
LOOKS_UP = "import numpy, functools\n\ndef looks_up(x):\n    table = {0: 1}\n    return table[float(x)]\n"
INVERTS = LOOKS_UP.replace("table[float(x)]", "numpy.linalg.inv([[x, x], [x, x]])")
WRAPPED = LOOKS_UP.replace("def", "@functools.lru_cache\ndef")


@pytest.mark.parametrize(
    "source, known, sentence, words",
    [
        (LOOKS_UP, True, "It stops with KeyError in line 5, `return table[float(x)]`.", KEY),
        (LOOKS_UP, False, "It stops with KeyError in line 5.", KEY),
        (WRAPPED, False, "It stops with KeyError in line 6.", KEY),
        (INVERTS, False, "It stops with LinAlgError in line 5.", "Singular matrix"),  # raised in the library
    ],
)
def test_where_a_function_stops(source, known, sentence, words, monkeypatch):
    """The kind of error and the student's line come first; Python's words, with the input in them, below."""
    names = {}
    exec(compile(source, "<cell>", "exec"), names)
    if known:  # as a notebook makes its cells known
        monkeypatch.setitem(linecache.cache, "<cell>", (len(source), None, source.splitlines(True), "<cell>"))
    (found,) = told(TWICE, names["looks_up"])
    assert found.splitlines() == [sentence, f'Python says: "{words}"']


def test_a_long_line_is_cut_and_an_object_has_none(monkeypatch):
    source = "def adds(x):\n    return " + "x + " * 60 + "[]\n"
    names = {}
    exec(compile(source, "<cell>", "exec"), names)
    monkeypatch.setitem(linecache.cache, "<cell>", (len(source), None, source.splitlines(True), "<cell>"))
    (found,) = told(TWICE, names["adds"])
    first = found.splitlines()[0]
    assert first.startswith("It stops with TypeError in line 2, `return x + x") and first.endswith(" …`.")
    assert len(first) < 130
    assert told(TWICE, dict) == {"It stops with TypeError.\nPython says: \"'float' object is not iterable\""}


def test_one_of_two_functions_is_missing():
    with pytest.raises(Wrong, match="not there"):
        check(TWICE, "Twice", (abs, None))


def test_a_stub_is_told_so():
    def stub(x):
        raise NotImplementedError

    assert told(TWICE, stub) == {"There is nothing here yet; write the function and run the cell again."}


def test_a_mistake_made_on_one_seed_of_three_is_none():
    calls = []

    def sometimes(x):
        calls.append(x)
        return x**2 if len(calls) <= 3 else 5 * x

    assert typical_mistake(TWICE, sometimes, 0) is None
    assert typical_mistake(TWICE, lambda x: x**2, 0) == "Squared."


def test_a_loop_is_cut_off_and_no_except_catches_it(monkeypatch):
    monkeypatch.setattr(engine, "SECONDS", 0.3)

    def loops(x):
        while True:
            try:
                time.sleep(0.01)
            except Exception:
                return 2 * x

    assert told(TWICE, loops) == {"It has not answered within 0 seconds; look for a loop that does not end."}


def test_nothing_is_raised_after_a_block_that_was_in_time():
    with limited(0.05):
        pass
    time.sleep(0.2)
    assert threading.active_count() < 50
    with pytest.raises(OutOfTime), limited(0.05):
        for _ in range(200):
            time.sleep(0.01)


@pytest.mark.parametrize(
    "a, b, alike",
    [
        ([1, 2], torch.tensor([1.0, 2.00001]), True),
        (torch.tensor(2.0, requires_grad=True), 2, True),
        ([1000, 0], [1000, 0.05], True),  # relative to the largest
        ([1000, 0], [1000, 0.2], False),
        ([1, 2], [[1, 2]], False),
        ([float("nan")], [1.0], False),
        ([0.0], [float("nan")], False),
        ([0, 0], [0, 1e-17], True),
    ],
)
def test_same(a, b, alike):
    assert same(a, b) is alike
