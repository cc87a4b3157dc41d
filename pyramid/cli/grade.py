"""Commands for a course: grade, assign."""

import argparse
from pathlib import Path

from pyramid.cli.options import OUTPUTS, positive
from pyramid.errors import InputError


def grade(args: argparse.Namespace) -> None:
    from pyramid.course import grading  # with otter, which only a course installs

    folder = Path(args.folder)
    if not folder.is_dir():
        raise InputError(f"There is no folder {folder}; give one with a folder of notebooks for each student.")

    def report(done: grading.Grade) -> None:
        print(f"{done.student}, {done.assignment}: {done.total:g}", flush=True)

    grades = grading.grade(folder, args.seconds, args.megabytes, report)
    table, *feedback = grading.write(grades, Path(args.out))
    print(f"\nWrote {table}, and {len(feedback)} files of feedback beside it.")


def assign(args: argparse.Namespace) -> None:
    from pyramid.course import assignments

    for path in assignments.make_student_versions():
        print(f"Wrote {path}")


def add_commands(add) -> None:
    """Register this group. add: function and summary -> its parser."""
    c = add(grade, "grade a folder of submitted assignments, hidden checks included")
    c.add_argument("folder", help="holds a folder for each student, with notebooks in it")
    c.add_argument(
        "--out", default=OUTPUTS / "grades", help="folder for grades.csv and feedback (default: %(default)s)"
    )
    c.add_argument("--seconds", type=positive, default=120, help="of processor time, a notebook (default: %(default)s)")
    c.add_argument("--megabytes", type=positive, default=4096, help="of memory, a notebook (default: %(default)s)")

    add(assign, "make the students' notebooks of the assignments anew, from their masters")
