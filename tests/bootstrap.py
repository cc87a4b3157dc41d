"""The first cell and the badge of every notebook, from one text: `python -m tests.bootstrap` writes them anew.

The project's address stands in pyproject.toml, [project.urls], and comes from there into each notebook.
"""

import json
import re
import sys
from pathlib import Path

import tomllib

ROOT = Path(__file__).resolve().parent.parent
PLACEHOLDER = "https://github.com/your-account/pyramid"
MARK = "REPOSITORY = "  # in the set-up cell and in no other
BADGE = "[![Open in Colab]("

CELL = """\
import shutil, subprocess, sys, tempfile
from pathlib import Path
REPOSITORY = "{address}"  # from pyproject.toml, by `python -m tests.bootstrap`
here = Path.cwd()
if "google.colab" in sys.modules:
    here = Path("/content/pyramid")
    half = (here / ".git").exists() and not (here / ".git" / "index").exists()  # git writes its index last
    if half or not (here / "pyramid" / "levels.py").is_file():  # a whole folder, uploaded perhaps, is used as it is
        new = Path(tempfile.mkdtemp(), "pyramid")
        git = ["env", "GIT_TERMINAL_PROMPT=0", "git", "clone", "-q", "--depth", "1", REPOSITORY, new]
        if "/your-account/" not in REPOSITORY:
            subprocess.run(git, capture_output=True)
        if not (new / "pyramid" / "levels.py").is_file():
            raise ImportError(f"Nothing came from {REPOSITORY}: are you online, and is that the address? If not, write "
                              "the right one into line 3 of this cell (for all notebooks: CONTRIBUTING.md, Colab).")
        if here.exists():
            print(here, "was not whole; it lies in", shutil.move(here, tempfile.mkdtemp()))
        shutil.move(new, here)
here = next((place for place in (here, *here.parents) if (place / "pyramid" / "levels.py").is_file()), None)
if here is None:
    raise ImportError("No project around here: open this notebook from the project's own folder `notebooks`.")
sys.path.insert(0, str(here))
try:
    from pyramid.course import session
except ModuleNotFoundError as error:
    raise ImportError(f"{error}: choose the kernel of the project's .venv, or install requirements.txt.") from None
session.start(here)"""


def address(pyproject: str) -> str:
    """The address in the text of pyproject.toml. Ends with a sentence where it is no repository of GitHub."""
    found = tomllib.loads(pyproject)["project"].get("urls", {}).get("Repository", "")
    if not re.fullmatch(r"https://github\.com/[\w-]+/[\w.-]+", found):
        sys.exit(
            f"Colab opens notebooks from GitHub, so `Repository` in pyproject.toml, [project.urls], must read "
            f"https://github.com/ACCOUNT/NAME, not {found!r}."
        )
    return found


def badge(notebook: Path, repository: str) -> str:
    """The line of Markdown that opens a notebook on Colab; a master's opens the version for students."""
    place = notebook.relative_to(ROOT).as_posix().replace("/master/", "/")
    opened = repository.replace("https://github.com", "https://colab.research.google.com/github")
    return f"{BADGE}https://colab.research.google.com/assets/colab-badge.svg)]({opened}/blob/main/{place})"


def renewed(notebook: Path, repository: str) -> str:
    """The text that a notebook's file should have: nothing differs but the badge and the set-up cell."""
    text = notebook.read_text(encoding="utf-8")
    content = json.loads(text)
    title = next(cell for cell in content["cells"] if cell["cell_type"] == "markdown")
    lines = "".join(title["source"]).split("\n")
    body = lines[2:] if lines[0].startswith(BADGE) else lines
    code = [cell for cell in content["cells"] if cell["cell_type"] == "code"]
    setup = next((cell for cell in code if MARK in "".join(cell["source"])), None)
    if setup is None:
        sys.exit(f'{notebook} has no set-up cell: give it a code cell that says {MARK}"", and run this again.')
    before = (title["source"], setup["source"])
    title["source"] = "\n".join([badge(notebook, repository), "", *body]).splitlines(keepends=True)
    setup["source"] = CELL.replace("{address}", repository).splitlines(keepends=True)
    same = before == (title["source"], setup["source"])
    return text if same else json.dumps(content, indent=1, ensure_ascii=False) + "\n"


def notebooks() -> list[Path]:
    """Those of the course, the assignments and their masters."""
    found = (ROOT / "notebooks").rglob("*.ipynb")
    return sorted(path for path in found if ".ipynb_checkpoints" not in path.parts)


def main() -> None:
    repository = address((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    for path in notebooks():
        text = renewed(path, repository)
        if text != path.read_text(encoding="utf-8"):
            path.write_text(text, encoding="utf-8", newline="\n")
            print("renewed", path.relative_to(ROOT))
    if repository == PLACEHOLDER:
        print(f"{PLACEHOLDER} is a placeholder: put your own into pyproject.toml, [project.urls], and run this again.")


if __name__ == "__main__":
    main()
