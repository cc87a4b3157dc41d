"""What README and docs say of the code is so: names, files, functions, links, shapes."""

import json
import re
from dataclasses import fields
from functools import cache
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
import pytest

from pyramid.checkpoints import read_card, released
from pyramid.cli import parser
from pyramid.levels import LEVELS
from pyramid.model import open_release
from pyramid.presets import TERMS, Preset

ROOT = Path(__file__).resolve().parent.parent
DOCS = [
    ROOT / "README.md",
    *sorted((ROOT / "docs").glob("*.md")),
    ROOT / "CONTRIBUTING.md",
    ROOT / "data" / "README.md",
]
LEDGER, ARCHITECTURE, RESULTS, EQUATIONS = (
    ROOT / "docs" / f"{name}.md" for name in ("replication", "architecture", "results", "equations")
)


@cache
def read(path: Path) -> str:
    return path.read_text(encoding="utf-8")


def table_rows(text: str) -> list[list[str]]:
    """The cells of every row of every Markdown table, without the lines between head and body."""
    lines = [line for line in text.splitlines() if line.startswith("|") and not re.fullmatch(r"[|\s:-]+", line)]
    return [[cell.strip() for cell in re.split(r"(?<!\\)\|", line)[1:-1]] for line in lines]


def rows_with_functions(text: str) -> list[tuple[Path, str]]:
    """(file, function) for every function that stands in the cell after a cell with exactly one file of the module."""
    found = []
    for row in table_rows(text):
        for cell, following in zip(row, row[1:], strict=False):
            if file := re.fullmatch(r"`(pyramid/[\w/]+\.py)`", cell):
                found += [(ROOT / file[1], name) for name in re.findall(r"`([A-Za-z][\w.]*)`", following)]
    return found


def headings(path: Path) -> set[str]:
    """The anchors GitHub gives to a page's headings."""
    titles = re.findall(r"^#+ (.+)$", read(path), re.M)
    return {re.sub(r"[^\w\- ]", "", title.lower()).replace(" ", "-") for title in titles}


def test_the_readme_is_a_door_and_not_the_house():
    assert len(re.findall(r"\w+", read(ROOT / "README.md"))) <= 900


def test_the_readme_lists_every_notebook():
    for notebook in (ROOT / "notebooks").glob("*.ipynb"):
        assert f"(notebooks/{notebook.name})" in read(ROOT / "README.md"), notebook.name


def test_the_readmes_metrics_are_those_of_the_card():
    """Each row of the README's small table is made of cells of the card's row of that level."""
    card = {row[0]: row for row in table_rows(read_card(ROOT / "data/models/photos64")["tables"]["levels"]["markdown"])}
    rows = [row for row in table_rows(read(ROOT / "README.md")) if row[0] in {f"`{name}`" for name in LEVELS}]
    assert len(rows) >= 3
    for name, distance, judge, psnr in rows:
        columns = dict(zip(card["open level"], card[name], strict=True))
        assert columns["Fréchet distance (EfficientNet-lite0)"].split(" ±")[0] == distance
        assert (judge, psnr) == (columns["class agreement (judge)"], columns["RGB PSNR, dB"])


def test_the_seeds_of_the_recipe_are_those_of_their_runs():
    seeds = json.loads(read(ROOT / "data/runs/photos32-seeds.json"))["seeds"]
    rows = {row[0]: row[1:] for row in table_rows(read(ROOT / "docs/results.md")) if row[0].startswith("seed ")}
    assert rows == {f"seed {seed}": [f"{v:.0f}" for v in row["lite0"].values()] for seed, row in seeds.items()}
    distances = np.array([list(row["lite0"].values()) for row in seeds.values()])  # (4, 8)
    of_two, of_all = (100 * (d.max(0) / d.min(0) - 1) for d in (distances[:2], distances))
    of_all = dict(zip(seeds["0"]["lite0"], of_all, strict=True))
    text = " ".join(read(ROOT / "docs/results.md").split())
    said = f"at most {max(of_two[:-1]):.1f} % apart, and {of_two[-1]:.1f} % with everything closed"
    assert said == "at most 9.7 % apart, and 1.8 % with everything closed" and said in text
    fc7, closed = of_all.pop("fc7"), of_all.pop("closed")
    most = f"beyond the nearest by at most {max(of_all.values()):.1f} %, but by {fc7:.1f} % at `fc7`"
    said = f"{most} and {closed:.1f} % with everything closed"
    assert said.endswith("at most 6.4 %, but by 17.8 % at `fc7` and 11.0 % with everything closed") and said in text
    trial = next(row for row in table_rows(read(ROOT / "docs/results.md")) if row[0].startswith("**the same with"))
    assert trial[2:10] == [", ".join(pair) for pair in zip(rows["seed 0"], rows["seed 1"], strict=True)]


def test_what_the_features_hold_is_what_was_read():
    rows = [row for row in table_rows(read(ROOT / "docs/results.md")) if "dB," in row[1]]
    for row, name in zip(rows[-2:], ("vgg16", "photos64"), strict=True):
        found = json.loads(read(ROOT / f"data/runs/{name}-readout.json"))["rows"]
        assert row[1:] == [f"{v['psnr']:.1f} dB, {100 * v['chroma']:.0f} %" for v in found.values()]


def test_a_term_has_one_name_everywhere():
    """Preset field, choice of --without, and exactly one row of the ledger."""
    named = [row[0] for row in table_rows(read(LEDGER))]
    train = parser()._subparsers._group_actions[0].choices["train"]
    choices = next(action.choices for action in train._actions if "--without" in action.option_strings)
    assert set(choices) == set(TERMS)
    for term in TERMS:
        assert named.count(f"`{term}`") == 1, term
        assert term in {field.name for field in fields(Preset)}


def test_the_ledger_names_no_term_that_is_gone():
    start = read(LEDGER).index("| term |")
    described = [row[0] for row in table_rows(read(LEDGER)[start:])[1:]]
    assert described == [f"`{term}`" for term in TERMS]


@pytest.mark.parametrize("path", DOCS, ids=lambda p: str(p.relative_to(ROOT)))
def test_relative_links_lead_somewhere(path):
    links = re.findall(r"\]\(([^)\s]+)\)", read(path))
    for link in links:
        if re.match(r"[a-z]+:", link):
            continue
        file, _, anchor = link.partition("#")
        target = path.parent / file if file else path
        assert target.exists(), link
        assert not anchor or anchor in headings(target), link


@pytest.mark.parametrize("path", DOCS, ids=lambda p: str(p.relative_to(ROOT)))
def test_paths_of_the_module_exist(path):
    named = re.findall(r"`((?:pyramid|data|docs|tests/\w+)/[\w/]*(?:\.(?:py|md|svg))?)`", read(path))
    missing = [name for name in named if not (ROOT / name).exists() and not name.startswith("data/cache")]
    assert not missing


def test_every_file_of_the_module_has_its_place_in_the_architecture():
    files = [p for p in (ROOT / "pyramid").rglob("*.py") if p.stem not in ("__init__", "__main__")]
    named = {
        cell for row in table_rows(read(ARCHITECTURE)) for cell in re.findall(r"`(pyramid/[\w/]+\.py)`", " ".join(row))
    }
    shown = {p.relative_to(ROOT).as_posix() for p in files}
    assert shown <= named, sorted(shown - named)


@pytest.mark.parametrize("path", [ARCHITECTURE, LEDGER, EQUATIONS], ids=lambda p: p.name)
def test_functions_are_in_the_files_that_are_named(path):
    pairs = rows_with_functions(read(path))
    assert len(pairs) >= 15
    for file, name in pairs:
        source = read(file)
        for part in name.split("."):
            assert re.search(rf"^\s*(?:def|class) {part}\b|^{part}\b.* = ", source, re.M), f"{name} in {file.name}"


def test_the_architecture_names_a_notebook_that_exists():
    numbers = {path.name[:2] for path in (ROOT / "notebooks").glob("*.ipynb")}
    rows = [row for row in table_rows(read(ARCHITECTURE)) if len(row) == 4 and re.fullmatch(r"[\d, ]+", row[3])]
    assert len(rows) >= 20
    assert {number for row in rows for number in row[3].split(", ")} <= numbers


def test_every_equation_is_derived_in_the_cell_that_is_named():
    rows = [row for row in table_rows(read(EQUATIONS)) if len(row) == 5 and row[0] != "equation"]
    assert len(rows) >= 20
    for equation, _, _, number, words in rows:
        (path,) = (ROOT / "notebooks").glob(f"{number}_*.ipynb")
        texts = ["".join(c["source"]) for c in json.loads(read(path))["cells"] if c["cell_type"] == "markdown"]
        found = [text for text in texts if words in text]
        assert len(found) == 1, f"{equation}: {words!r} stands in {len(found)} cells of {path.name}"


def test_the_results_have_a_part_for_every_released_model():
    assert all(f"### {name}" in read(RESULTS) or f"`{name}`" in read(RESULTS) for name in released())


def test_the_diagram_names_every_level_with_its_shape():
    picture = ElementTree.parse(ROOT / "docs" / "networks.svg")
    release = open_release("photos64")
    preset, classes = release.preset, len(release.classes)
    groups = {group.get("id"): group for group in picture.iter("{http://www.w3.org/2000/svg}g")}
    for name, shape in preset.shapes(classes).items():
        words = ["".join(text.itertext()) for text in groups[name].iter("{http://www.w3.org/2000/svg}text")]
        assert {name, " × ".join(map(str, shape))} == set(words)
