"""A notebook's session: where it works, and on Colab what is missing and where files are kept.

Every notebook's first cell finds the project, or fetches it, and calls `start`.
"""

import importlib
import os
import shutil
import subprocess
import sys
from importlib.metadata import distributions
from pathlib import Path

import torch
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from pyramid.errors import InputError

MADE = ("outputs", "runs")  # folders of a session's files: pictures and study answers, checkpoints
NOT_ON_COLAB = ("jupyterlab", "nbval")  # Colab is the notebooks' server; nbval compares them in CI


def start(project: Path) -> None:
    """Work in the project's `notebooks`, where `python -m pyramid …` finds it too; on Colab get ready.

    A working folder inside `notebooks` stays. Raises InputError where Colab cannot install what is missing.
    """
    notebooks, here = (project / "notebooks").resolve(), Path.cwd().resolve()
    if not here.is_relative_to(notebooks):
        os.chdir(notebooks)
    _put_first("PYTHONPATH", str(project))
    _put_first("PATH", str(Path(sys.executable).parent))  # the shell's `python` is this notebook's own
    if "google.colab" in sys.modules:
        _on_colab(project)


def _put_first(variable: str, folder: str) -> None:
    """Put a folder first in a list of folders of the environment, once."""
    others = [other for other in os.environ.get(variable, "").split(os.pathsep) if other not in ("", folder)]
    os.environ[variable] = os.pathsep.join([folder, *others])


def _on_colab(project: Path) -> None:
    install(project)
    from google.colab import output  # there on Colab only

    output.enable_custom_widget_manager()  # canvases to paint on
    drive = project.parent / "drive" / "MyDrive"  # where Colab mounts it, beside the project
    if drive.is_dir():
        print("What you make is kept in your Google Drive, folder", keep(project, drive / project.name).name)
    else:
        print("What you make is lost with this session. To keep it, mount Google Drive and run this cell again.")
    if not torch.cuda.is_available():
        print("No GPU: Runtime > Change runtime type. All of this runs on the CPU too.")


def requirements(project: Path) -> list[str]:
    """What the notebooks need on Colab, as pyproject.toml states it: "ipycanvas>=0.13", …"""
    import tomllib  # Python 3.11, which Colab is past; the project itself runs on 3.10

    declared = tomllib.loads((project / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    wanted = declared["dependencies"] + declared["optional-dependencies"]["course"]
    return [line for line in wanted if Requirement(line).name not in NOT_ON_COLAB]


def missing(wanted: list[str], installed: set[str]) -> list[str]:
    """Those requirements of which no version is installed: one that Colab brings is never replaced.

    installed: canonical names, as "pytorch-fid".
    """
    return [line for line in wanted if canonicalize_name(Requirement(line).name) not in installed]


def install(project: Path) -> None:
    """Install what is missing, and nothing that it depends on, in the versions of the lock file."""
    installed = {canonicalize_name(found.name) for found in distributions()}
    lacking = missing(requirements(project), installed)
    if not lacking:
        return
    lock = str(project / "requirements-lock.txt")
    command = [sys.executable, "-m", "pip", "install", "-q", "--no-deps", "-c", lock, *lacking]
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode:
        said = (done.stderr.strip().splitlines() or ["nothing"])[-1]
        raise InputError(f"pip could not install {', '.join(lacking)} (it said: {said}); is there a network?")
    importlib.invalidate_caches()


def keep(project: Path, kept: Path) -> Path:
    """Make `outputs` and `runs` links into the folder `kept`; what they held moves there. Returns `kept`.

    A name that is taken there stays, and the session's gets a number: "study-1".
    """
    for made in (place / name for place in (project, project / "notebooks") for name in MADE):
        target = kept / made.name
        target.mkdir(parents=True, exist_ok=True)
        if made.is_symlink():
            continue
        if made.is_dir():
            for path in sorted(made.iterdir()):
                shutil.move(path, _free(target / path.name))
            made.rmdir()
        made.symlink_to(target, target_is_directory=True)
    return kept


def _free(path: Path) -> Path:
    """The path, or the first with a number behind its name that is not taken."""
    number, free = 0, path
    while free.exists():
        number += 1
        free = path.with_name(f"{path.stem}-{number}{path.suffix}")
    return free
