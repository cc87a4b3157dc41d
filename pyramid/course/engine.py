"""What an assignment is, and how a student's function is tried: on inputs drawn by seed, for ten seconds at most.

A question draws its own inputs and raises `Wrong` where an answer is not right. Then the function is compared with
the assignment's typical mistakes: where it answers everywhere as one of them does, that mistake's sentence is what
the student reads.
"""

import ctypes
import inspect
import textwrap
import threading
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import numpy as np

SECONDS = 10.0  # that one check may take
TRACES = 3  # seeds on which a function has to answer as a mistake does, to be taken for it
TOLERANCE = 1e-4  # relative to the largest number of an answer

Function = Callable[..., object] | tuple[Callable[..., object], ...]  # several where an assignment asks for several
Trace = list[np.ndarray]  # answers, one array each


class Wrong(AssertionError):
    """A sentence for the student: what is not right, and where to look."""

    def __str__(self) -> str:
        return str(self.args[0])


class OutOfTime(BaseException):
    """Raised inside a function that has used up its time; a student's `except Exception` does not catch it."""


@dataclass(frozen=True)
class Assignment:
    """One assignment.

    name: of the notebook, as "a1_receptive_fields".
    questions: title -> question(function, rng), which raises `Wrong` where an answer is not right.
    mistakes: sentence -> the function as somebody writes it who makes that mistake, or a list of ways to write it.
    trace: answers of a function to inputs drawn with rng, for comparing it with the mistakes.
    """

    name: str
    questions: dict[str, Callable[[Function, np.random.Generator], None]]
    mistakes: dict[str, Function | list[Function]]
    trace: Callable[[Function, np.random.Generator], Trace]


def check(assignment: Assignment, question: str, function: Function, seed: int = 0) -> None:
    """Try a function on one question. Raises `Wrong` with one sentence, and nothing else.

    Where the function stops, lines below the sentence hold Python's own words, in which there may be its inputs.
    """
    if not all(callable(f) for f in (function if isinstance(function, tuple) else (function,))):
        raise Wrong("The function is not there; run the cell that defines it, and keep its name.")
    try:
        with limited(SECONDS):
            assignment.questions[question](function, np.random.default_rng(seed))
        return
    except OutOfTime:
        raise Wrong(f"It has not answered within {SECONDS:.0f} seconds; look for a loop that does not end.") from None
    except Wrong as wrong:
        problem = str(wrong)
    except NotImplementedError:
        raise Wrong("There is nothing here yet; write the function and run the cell again.") from None
    except Exception as error:
        problem = stops(function, error)
    raise Wrong(typical_mistake(assignment, function, seed) or problem) from None


def stops(function: Function, error: Exception) -> str:
    """Says with what kind of error a function stops and in which of its lines; below that, in Python's own words."""
    functions = function if isinstance(function, tuple) else (function,)
    codes = [getattr(inspect.unwrap(f), "__code__", None) for f in functions]
    files = {code.co_filename for code in codes if code}
    theirs = [frame for frame in traceback.extract_tb(error.__traceback__) if frame.filename in files]
    sentence = f"It stops with {type(error).__name__}"
    for frame in theirs[-1:]:
        line = textwrap.shorten(frame.line or "", 80, placeholder=" …")
        sentence += f" in line {frame.lineno}" + f", `{line}`" * bool(line)
    return f'{sentence}.\nPython says: "{error}"' if str(error) else f"{sentence}."


def typical_mistake(assignment: Assignment, function: Function, seed: int) -> str | None:
    """The sentence of the mistake that a function makes, or None where it makes none of them."""
    seeds = range(seed, seed + TRACES)
    try:
        with limited(SECONDS):
            answers = [assignment.trace(function, np.random.default_rng(s)) for s in seeds]
    except (OutOfTime, Exception):  # it stops, as no typical mistake does
        return None
    for sentence, mistaken in assignment.mistakes.items():
        for way in mistaken if isinstance(mistaken, list) else [mistaken]:
            if all(
                _alike(a, assignment.trace(way, np.random.default_rng(s))) for a, s in zip(answers, seeds, strict=True)
            ):
                return sentence
    return None


def _alike(one: Trace, other: Trace) -> bool:
    """Whether two traces hold the same answers."""
    return len(one) == len(other) and all(same(a, b) for a, b in zip(one, other, strict=True))


def same(a: object, b: object, tolerance: float = TOLERANCE) -> bool:
    """Whether two arrays (numbers, tensors, lists) have one shape and, relative to the largest number, equal values."""
    one, other = (np.asarray(getattr(x, "detach", lambda x=x: x)(), dtype=np.float64) for x in (a, b))
    if one.shape != other.shape:
        return False
    largest = np.abs(other).max(initial=1e-12)
    return bool(np.all(np.abs(one - other) <= tolerance * largest))  # false where either is no number


@contextmanager
def limited(seconds: float) -> Iterator[None]:
    """Raise OutOfTime in this thread when the block has run for so long.

    It is raised between two steps of Python; one long call into a library ends first.
    """
    thread = ctypes.c_ulong(threading.get_ident())
    lock, over = threading.Lock(), False

    def stop() -> None:
        with lock:
            if not over:
                ctypes.pythonapi.PyThreadState_SetAsyncExc(thread, ctypes.py_object(OutOfTime))

    timer = threading.Timer(seconds, stop)
    timer.daemon = True
    timer.start()
    try:
        yield
    finally:
        with lock:
            over = True
        timer.cancel()
