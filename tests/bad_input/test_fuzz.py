"""A small part of `python -m tests.fuzz`, from a seed of its own."""

import sys

import pytest

if sys.platform == "win32":
    pytest.skip("its clock is a Unix signal", allow_module_level=True)

from tests.fuzz import KINDS, fuzz_apart  # noqa: E402

SOME = {"images": 120, "safetensors": 8, "cards": 25, "checkpoints": 12, "metrics": 12, "answers": 20}


@pytest.mark.parametrize("kind", KINDS)
def test_broken_files_are_read_or_refused_in_a_sentence(kind):
    result = fuzz_apart(kind, SOME[kind], seed=1)
    assert not result["failed"], result["failed"]
    assert result["read"] + result["refused"] == SOME[kind]
    assert bool(result["refused"]) == (kind != "metrics")  # of a log, what is no line is passed over
