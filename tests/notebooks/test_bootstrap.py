"""The set-up cell: from one text in all notebooks, and on a stand-in for Colab whatever state its folder is in."""

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

pytest.importorskip("tomllib", reason="pyproject.toml is read with tomllib, of Python 3.11")

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from pyramid.course import session
from pyramid.errors import InputError
from tests import bootstrap

ROOT = bootstrap.ROOT
ADDRESS = bootstrap.address((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
ON_COLAB = {  # what its image has of these, with Python 3.12
    "torch": "2.8.0", "torchvision": "0.23.0", "numpy": "2.0.2", "scipy": "1.16.3", "pillow": "11.3.0",
    "matplotlib": "3.10.0", "tqdm": "4.67.1", "safetensors": "0.6.2", "packaging": "25.0", "ipywidgets": "7.7.1",
    "ipython": "7.34.0", "ipykernel": "6.17.1", "opencv-python-headless": "4.12.0.88", "psutil": "5.9.5",
}  # fmt: skip
STAND_IN = """
import sys, types
colab = types.ModuleType("google.colab")
colab.output = types.SimpleNamespace(enable_custom_widget_manager=lambda: print("widgets on"))
sys.modules["google"], sys.modules["google.colab"] = types.ModuleType("google"), colab
"""
SHOW = "\nimport os, pyramid; print('works in', os.getcwd(), 'imports', pyramid.__file__)"
like_colab = pytest.mark.skipif(sys.platform == "win32" or not shutil.which("git"), reason="Colab is Linux with git")


def git(*arguments, cwd: Path) -> None:
    who = ["-c", "user.name=nobody", "-c", "user.email=nobody@localhost", "-c", "init.defaultBranch=main"]
    subprocess.run(["git", *who, *arguments], cwd=cwd, check=True, capture_output=True)


@pytest.fixture(scope="module")
def remote(tmp_path_factory) -> str:
    """Address of a repository with this project's code in it, committed as it is now."""
    work = tmp_path_factory.mktemp("remote") / "work"
    shutil.copytree(ROOT / "pyramid", work / "pyramid", ignore=shutil.ignore_patterns("__pycache__"))
    (work / "notebooks").mkdir()
    (work / "notebooks" / "01.ipynb").write_text("{}")
    for name in ("pyproject.toml", "requirements-lock.txt"):
        shutil.copy(ROOT / name, work)
    git("init", "-q", cwd=work)
    git("add", "-A", cwd=work)
    git("commit", "-q", "-m", "all", cwd=work)
    return f"file://{work}"


def on_colab(content: Path, address: str, then: str = SHOW) -> subprocess.CompletedProcess:
    """Run the cell as Colab would, with another folder for /content."""
    cell = bootstrap.CELL.replace("{address}", address)
    assert cell.count('"/content/pyramid"') == 1
    cell = cell.replace('"/content/pyramid"', repr(str(content / "pyramid")))
    return subprocess.run(
        [sys.executable, "-c", STAND_IN + cell + then], cwd=content, capture_output=True, text=True, timeout=240,
        env={**os.environ, "PYTHONPATH": ""},
    )  # fmt: skip


def assert_works(done: subprocess.CompletedProcess, content: Path) -> None:
    assert done.returncode == 0, done.stderr
    project = content / "pyramid"
    assert f"works in {project}/notebooks imports {project}/pyramid/__init__.py" in done.stdout
    assert "widgets on" in done.stdout


@pytest.mark.parametrize("path", bootstrap.notebooks(), ids=lambda p: p.name)
def test_every_notebook_has_the_cell_and_the_badge(path):
    assert bootstrap.renewed(path, ADDRESS) == path.read_text(encoding="utf-8"), "run python -m tests.bootstrap"


def test_another_address_changes_the_badge_and_the_cell_alone():
    path = bootstrap.notebooks()[0]
    old, new = (json.loads(text) for text in (path.read_text(encoding="utf-8"), bootstrap.renewed(path, "https://b/c")))
    changed = [i for i, (a, b) in enumerate(zip(old["cells"], new["cells"], strict=True)) if a != b]
    assert changed == [0, 1] and old["metadata"] == new["metadata"]
    assert "".join(old["cells"][0]["source"]).split("\n")[2:] == "".join(new["cells"][0]["source"]).split("\n")[2:]
    assert new["cells"][1]["source"][2].startswith('REPOSITORY = "https://b/c"')  # line 3, as the sentence says
    assert [old["cells"][1][key] for key in ("outputs", "id")] == [new["cells"][1][key] for key in ("outputs", "id")]
    assert ADDRESS not in "".join(new["cells"][0]["source"] + new["cells"][1]["source"])


def test_a_masters_badge_opens_the_students_version():
    badge = bootstrap.badge(ROOT / "notebooks/assignments/master/a1.ipynb", "https://github.com/uni/course")
    opened = "https://colab.research.google.com/github/uni/course/blob/main/notebooks/assignments/a1.ipynb"
    assert badge.endswith(f"]({opened})")


@pytest.mark.parametrize("found", ["", "https://example.org/a/b", "https://github.com/a", "git@github.com:a/b"])
def test_an_address_that_colab_cannot_open_is_refused_in_a_sentence(found):
    with pytest.raises(SystemExit) as error:
        bootstrap.address(
            f'[project]\nname = "x"\n[project.urls]\nRepository = "{found}"\n' if found else "[project]\n"
        )
    assert "[project.urls]" in str(error.value) and repr(found) in str(error.value)


@like_colab
def test_a_missing_clone_is_made_and_the_command_found_from_anywhere(remote, tmp_path):
    shell = "cd / && python -c 'import pyramid; print(pyramid.__file__)' && python -m pyramid --help"
    then = SHOW + f"\nimport subprocess; subprocess.run({shell!r}, shell=True, check=True)"
    done = on_colab(tmp_path, remote, then)
    assert_works(done, tmp_path)
    assert f"\n{tmp_path}/pyramid/pyramid/__init__.py\nusage: pyramid" in done.stdout
    assert_works(on_colab(tmp_path, "file:///nowhere"), tmp_path)  # the next notebook fetches nothing


@like_colab
@pytest.mark.parametrize("state", ["empty", "a student's own", "not fetched", "not checked out"])
def test_half_a_clone_is_made_whole_and_nothing_deleted(remote, tmp_path, state):
    half = tmp_path / "pyramid"
    if state == "not checked out":  # killed between the files and git's index
        git("clone", "-q", remote, str(half), cwd=tmp_path)
        (half / ".git" / "index").unlink()
        (half / "pyramid" / "losses.py").unlink()
    elif state == "not fetched":  # killed while the objects came in
        half.mkdir()
        git("init", "-q", cwd=half)
    else:
        half.mkdir()
    if state != "empty":
        (half / "mine.txt").write_text("mine")
    done = on_colab(tmp_path, remote)
    assert_works(done, tmp_path)
    assert (half / "pyramid" / "losses.py").is_file() and (half / ".git" / "index").is_file()
    aside = Path(re.search(r"was not whole; it lies in (.+)", done.stdout)[1])
    assert (aside / "mine.txt").is_file() == (state != "empty")
    shutil.rmtree(aside)


@like_colab
def test_an_uploaded_folder_is_used_as_it_is(tmp_path):
    shutil.copytree(ROOT / "pyramid", tmp_path / "pyramid" / "pyramid")
    (tmp_path / "pyramid" / "notebooks").mkdir()
    for name in ("pyproject.toml", "requirements-lock.txt"):
        shutil.copy(ROOT / name, tmp_path / "pyramid")
    with (tmp_path / "pyramid" / "pyramid" / "__init__.py").open("a") as file:
        file.write("\nMINE = 'changed by a student'\n")
    done = on_colab(tmp_path, "file:///nowhere", SHOW + "; print(pyramid.MINE)")
    assert_works(done, tmp_path)
    assert "changed by a student" in done.stdout


@like_colab
@pytest.mark.parametrize("address", ["file:///nowhere", "another project", bootstrap.PLACEHOLDER])
def test_a_wrong_address_is_answered_in_one_sentence(address, tmp_path):
    if address == "another project":
        (tmp_path / "other").mkdir()
        (tmp_path / "other" / "README.md").write_text("another")
        git("init", "-q", cwd=tmp_path / "other")
        git("add", "-A", cwd=tmp_path / "other")
        git("commit", "-q", "-m", "all", cwd=tmp_path / "other")
        address = f"file://{tmp_path}/other"
    (tmp_path / "pyramid").mkdir()
    (tmp_path / "pyramid" / "mine.txt").write_text("mine")
    done = on_colab(tmp_path, address)
    last = done.stderr.strip().splitlines()[-1]
    assert done.returncode and last.startswith(f"ImportError: Nothing came from {address}: "), done.stderr
    assert "line 3 of this cell" in last and "CONTRIBUTING.md" in last
    assert (tmp_path / "pyramid" / "mine.txt").is_file()  # what was there stays until there is something better


@like_colab
def test_outputs_answers_and_checkpoints_are_kept_on_drive(remote, tmp_path):
    write = (
        SHOW
        + """
from pathlib import Path
for name in ("outputs/study/anna.jsonl", "outputs/picture.png", "runs/scenes32/state", "../runs/tiny32/state"):
    Path(name).parent.mkdir(parents=True, exist_ok=True)
    Path(name).write_text(sys.argv[0] + name)
"""
    )
    done = on_colab(tmp_path, remote, write)
    assert_works(done, tmp_path)
    assert "lost with this session" in done.stdout
    drive = tmp_path / "drive" / "MyDrive" / "pyramid"
    (drive / "outputs").mkdir(parents=True)  # mounted now, with a picture of another day
    (drive / "outputs" / "picture.png").write_text("of another day")
    for _ in range(2):  # moved once, written through the links then
        done = on_colab(tmp_path, remote, write.replace("picture.png", "later.png"))
        assert_works(done, tmp_path)
        assert "Google Drive, folder pyramid" in done.stdout
    files = sorted(path.relative_to(drive).as_posix() for path in drive.rglob("*") if path.is_file())
    assert files == ["outputs/later.png", "outputs/picture-1.png", "outputs/picture.png", "outputs/study/anna.jsonl",
                     "runs/scenes32/state", "runs/tiny32/state"]  # fmt: skip
    assert (drive / "outputs" / "picture.png").read_text() == "of another day"


def test_colab_is_asked_for_nothing_that_it_has():
    lacking = {Requirement(line).name for line in session.missing(session.requirements(ROOT), set(ON_COLAB))}
    assert not lacking & set(ON_COLAB) and not lacking & {"jupyterlab", "nbval"}
    assert lacking >= {"ai-benchmark", "efficientnet-lite-pytorch", "pytorch-fid", "ipycanvas"}
    wanted = {Requirement(line).name: Requirement(line).specifier for line in session.requirements(ROOT)}
    assert all(version in wanted[name] for name, version in ON_COLAB.items() if name in wanted)


def test_what_pip_is_told_on_colab(monkeypatch):
    told = []
    monkeypatch.setattr(session, "distributions", lambda: [type("Found", (), {"name": name}) for name in ON_COLAB])
    failed = subprocess.CompletedProcess([], 1, "", "Looking …\nERROR: No matching distribution found for ipycanvas\n")
    monkeypatch.setattr(session.subprocess, "run", lambda command, **_: told.append(command) or failed)
    with pytest.raises(InputError, match="could not install .*ipycanvas.*No matching distribution.*network"):
        session.install(ROOT)
    assert "--no-deps" in told[0] and told[0][told[0].index("-c") + 1] == str(ROOT / "requirements-lock.txt")


def test_installing_on_colab_changes_nothing_that_it_has(tmp_path):
    """pip's own plan, as it would be where none of these is installed; on the registry, so skipped without."""
    lacking = session.missing(session.requirements(ROOT), set(ON_COLAB))
    command = [sys.executable, "-m", "pip", "install", "-q", "--dry-run", "--ignore-installed", "--no-deps",
               "--report", str(tmp_path / "plan.json"), "-c", str(ROOT / "requirements-lock.txt"),
               "--retries", "0", "--timeout", "20", *lacking]  # fmt: skip
    done = subprocess.run(command, capture_output=True, text=True, timeout=300)
    if done.returncode and re.search(r"connection|No matching distribution found|resolution", done.stderr, re.I):
        pytest.skip("the registry cannot be reached")
    assert done.returncode == 0, done.stderr
    planned = json.loads((tmp_path / "plan.json").read_text(encoding="utf-8"))["install"]
    found = {canonicalize_name(item["metadata"]["name"]): item["metadata"]["version"] for item in planned}
    assert len(found) == len(lacking) and not set(found) & set(ON_COLAB)
    assert all(found[Requirement(line).name] in Requirement(line).specifier for line in lacking)
