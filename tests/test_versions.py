"""The semester's lock file, the changelog and CI agree with pyproject.toml and with what is here."""

import os
import re
from pathlib import Path

import pytest
import yaml
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

tomllib = pytest.importorskip("tomllib", reason="pyproject.toml is read with tomllib, of Python 3.11")

ROOT = Path(__file__).resolve().parent.parent
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]


def test_the_lock_file_holds_a_version_of_each_requirement_that_fits():
    lines = (ROOT / "requirements-lock.txt").read_text(encoding="utf-8").splitlines()
    locked = dict(re.fullmatch(r"([\w.-]+)==(\S+)", line).groups() for line in lines)
    locked = {canonicalize_name(name): version for name, version in locked.items()}
    extras = PROJECT["optional-dependencies"]
    for line in PROJECT["dependencies"] + extras["course"] + extras["dev"]:
        wanted = Requirement(line)
        assert locked[canonicalize_name(wanted.name)] in wanted.specifier, line


def test_the_lock_file_leaves_the_choice_of_cuda_to_torch():
    names = re.findall(r"^[\w-]+", (ROOT / "requirements-lock.txt").read_text(encoding="utf-8"), re.M)
    assert not [name for name in names if name.startswith(("nvidia", "cuda", "triton"))]


def test_the_changelog_begins_with_the_version_of_the_project():
    headings = re.findall(r"^## \[(.+?)\] - (.+)$", (ROOT / "CHANGELOG.md").read_text(encoding="utf-8"), re.M)
    assert headings[0][0] == PROJECT["version"]
    assert all(re.fullmatch(r"unreleased|\d{4}-\d\d-\d\d", date) for _, date in headings)


def test_ci_runs_the_command_of_the_readme_and_nothing_hidden():
    jobs = yaml.safe_load((ROOT / ".github" / "workflows" / "ci.yml").read_text(encoding="utf-8"))["jobs"]
    assert [step["run"] for job in jobs.values() for step in job["steps"] if "run" in step] == [".ci/run"]
    assert os.access(ROOT / ".ci" / "run", os.X_OK)
