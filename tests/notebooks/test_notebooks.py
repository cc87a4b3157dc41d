"""Notebooks render, start alike, and have been run from top to bottom."""

import json
from pathlib import Path

import pytest

NOTEBOOKS = sorted((Path(__file__).resolve().parents[2] / "notebooks").glob("*.ipynb"))


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda p: p.name)
def test_notebooks_render_and_start_alike(path):
    notebook = json.loads(path.read_text(encoding="utf-8"))
    widgets = notebook["metadata"].get("widgets", {})
    assert all("state" in value for value in widgets.values())  # else the notebook site refuses to render it
    code = ["".join(cell["source"]) for cell in notebook["cells"] if cell["cell_type"] == "code"]
    first = json.loads(NOTEBOOKS[0].read_text(encoding="utf-8"))
    setup = next("".join(cell["source"]) for cell in first["cells"] if cell["cell_type"] == "code")
    assert code[0] == setup and "google.colab" in setup
    assert all("pip install" not in cell for cell in code[1:])


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda p: p.name)
def test_notebooks_were_run_in_one_go_and_show_pictures(path):
    cells = json.loads(path.read_text(encoding="utf-8"))["cells"]
    code = [cell for cell in cells if cell["cell_type"] == "code"]
    assert [cell["execution_count"] for cell in code] == list(range(1, len(code) + 1))
    outputs = [output for cell in code for output in cell["outputs"]]
    assert not any(output["output_type"] == "error" for output in outputs)
    assert any({"image/png", "image/jpeg"} & output.get("data", {}).keys() for output in outputs)
