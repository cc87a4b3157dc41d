"""From where it is started, and consoles that are not UTF-8."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from PIL import Image

ROOT = Path(__file__).resolve().parents[2]
NOTEBOOKS = sorted((ROOT / "notebooks").glob("*.ipynb"))


def set_up() -> str:
    """The first code cell of the notebooks."""
    cells = json.loads(NOTEBOOKS[0].read_text(encoding="utf-8"))["cells"]
    return "".join(next(cell["source"] for cell in cells if cell["cell_type"] == "code"))


def python(code: str, where: Path, **environment) -> subprocess.CompletedProcess:
    """Run code in a folder, without what the virtual environment has installed of this project."""
    blind = "import sys; sys.path[:] = [p for p in sys.path if p != " + repr(str(ROOT)) + "]\n"
    blind += "sys.meta_path[:] = [f for f in sys.meta_path if 'editable' not in type(f).__module__]\n"
    return subprocess.run(
        [sys.executable, "-c", blind + code], cwd=where, capture_output=True, text=True, timeout=120,
        env={**os.environ, **environment}, encoding="utf-8", errors="replace",
    )  # fmt: skip


@pytest.mark.parametrize("where", ["notebooks", "", "pyramid/training", "data/models"])
def test_the_set_up_cell_finds_the_project_from_anywhere_inside(where):
    done = python(set_up() + "\nimport pyramid; print(pyramid.LEVELS[0], Path.cwd())", ROOT / where)
    assert done.stdout.split(maxsplit=1) == ["conv1", f"{ROOT / 'notebooks'}\n"], done.stderr


def test_the_set_up_cell_leaves_a_folder_of_the_notebooks_and_finds_the_command_from_there(tmp_path):
    """In notebooks/assignments, say; and where the shell's python is another, which knows nothing of the project."""
    (tmp_path / "notebooks" / "deeper").mkdir(parents=True)
    (tmp_path / "pyramid").symlink_to(ROOT / "pyramid", target_is_directory=True)
    shell = "\nimport subprocess; subprocess.run('python -m pyramid --help', shell=True, cwd='/')"
    done = python(
        set_up() + "\nprint(Path.cwd().name, flush=True)" + shell, tmp_path / "notebooks" / "deeper", PATH="/"
    )
    assert done.stdout.startswith("deeper\nusage: pyramid"), done.stderr


def test_a_kernel_without_the_requirements_is_told_which_to_choose():
    done = python("sys.modules['torch'] = None\n" + set_up(), ROOT / "notebooks")
    assert done.returncode and "choose the kernel of the project's .venv" in done.stderr.strip().splitlines()[-1]


def test_outside_and_beside_another_pyramid_it_says_what_to_do(tmp_path):
    """An empty folder of that name (a checkout's parent), and the web framework of that name."""
    (tmp_path / "empty" / "pyramid").mkdir(parents=True)
    (tmp_path / "other" / "pyramid").mkdir(parents=True)
    (tmp_path / "other" / "pyramid" / "__init__.py").write_text("")
    for folder in ("empty", "other"):
        done = python(set_up(), tmp_path / folder)
        assert done.returncode and "notebooks" in done.stderr.strip().splitlines()[-1], done.stderr
        assert "ImportError" in done.stderr.strip().splitlines()[-1]


@pytest.mark.parametrize("where", ["notebooks", "docs", "tests"])
def test_the_command_is_found_from_every_folder(where):
    done = subprocess.run(
        [sys.executable, "-m", "pyramid", "models"], cwd=ROOT / where, capture_output=True, text=True, timeout=120
    )
    assert done.returncode == 0 and "photos64" in done.stdout, done.stderr


@pytest.mark.parametrize("encoding", ["cp1252", "ascii", "latin-1"])
def test_a_name_beyond_the_console_s_letters_is_shown_somehow(encoding, tmp_path):
    Image.new("RGB", (80, 80), "green").save(tmp_path / "猫 😀.png")
    (tmp_path / "фото" / "海").mkdir(parents=True)
    main = (
        "import sys; sys.path.insert(0, "
        + repr(str(ROOT))
        + "); from pyramid.cli import main; sys.exit(main(sys.argv[1:]))"
    )
    for arguments, code in (
        (["generate", "猫 😀.png", "--levels", "conv1", "--samples", "1"], 0),
        (["generate", "нет.png"], 2),
        (["evaluate", "--data", "фото", "--against", "фото"], 2),
        (["generate", "猫 😀.png", "--label", "海"], 2),
    ):
        done = subprocess.run(
            [sys.executable, "-c", main, *arguments], cwd=tmp_path, capture_output=True, timeout=240,
            env={**os.environ, "PYTHONIOENCODING": encoding, "PYTHONUTF8": "0"},
        )  # fmt: skip
        assert done.returncode == code and b"Traceback" not in done.stderr, done.stderr.decode(errors="replace")
    assert len(list((tmp_path / "outputs").glob("*.png"))) == 1


def test_a_reader_that_has_gone_is_no_traceback():
    done = subprocess.run(
        f"{sys.executable} -m pyramid models | head -c 1", shell=True, cwd=ROOT, capture_output=True, timeout=120
    )
    assert b"Traceback" not in done.stderr
