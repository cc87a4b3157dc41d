"""One submission in a process of its own: otter runs the notebook and then all tests; the outcome is a JSON file.

`python -m pyramid.course.runner NOTEBOOK TESTS RESULT`, as `grading` starts it, within its limits.
"""

import json
import sys
from pathlib import Path

from nbclient.exceptions import DeadKernelError
from otter.execute import grade_notebook

from pyramid.course.assignments import said


def run(notebook: Path, tests: Path) -> dict:
    """Outcome of a notebook under the test files of a folder.

    Returns: questions: name -> [points, sentences], sentences for what went wrong, without Python's own words, which
    may hold a hidden input; reason: why a cell or the whole did not run, or "".
    """
    files = [str(path) for path in sorted(tests.glob("*.py"))]
    try:
        results = grade_notebook(str(notebook), tests_glob=files, test_dir=str(tests), ignore_errors=True)
    except DeadKernelError:
        return {"questions": {}, "reason": "The notebook ended its own Python process, and nothing could be checked."}
    if results.catastrophic_error:
        return {"questions": {}, "reason": f"otter could not finish: {results.catastrophic_error}."}
    questions = {}
    for name, file in results.results.items():
        sentences = [said(case.message).partition("\n")[0] for case in file.test_case_results if not case.passed]
        questions[name] = [float(file.score), list(dict.fromkeys(sentences))]
    return {"questions": questions, "reason": stopped(results.notebook.cells)}


def stopped(cells: list) -> str:
    """Says where the first cell of an executed notebook stopped with an error; "" where none did."""
    for cell in [cell for cell in cells if cell.cell_type == "code"]:
        for output in cell.outputs:
            if output.output_type == "error":
                first = cell.source.strip().splitlines()[0]
                return f"The cell that begins with `{first}` stops with {output.ename}: {output.evalue}"
    return ""


def main(notebook: str, tests: str, result: str) -> None:
    Path(result).write_text(json.dumps(run(Path(notebook), Path(tests))), encoding="utf-8")


if __name__ == "__main__":
    main(*sys.argv[1:])
