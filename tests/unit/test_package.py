"""The package: what it needs, what it is called, and that it installs."""

from __future__ import annotations

import re
import subprocess
import sys
import tomllib
from pathlib import Path

from runner import __version__

ROOT = Path(__file__).parents[2]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
LOCK = (ROOT / "requirements.txt").read_text()


def test_the_lock_holds_each_dependency_of_the_package_in_its_version() -> None:
    locked = set(re.findall(r"^([\w.-]+==[\w.+!-]+)", LOCK, re.MULTILINE))
    assert set(PROJECT["dependencies"]) <= locked, "make lock"


def test_each_package_of_the_lock_has_a_hash() -> None:
    packages = re.split(r"^(?=[\w.-]+==)", LOCK, flags=re.MULTILINE)[1:]
    assert packages
    assert [package.split()[0] for package in packages if "--hash=sha256:" not in package] == []


def test_every_folder_of_the_package_is_installed() -> None:
    packages = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["setuptools"]["packages"]
    folders = {".".join(file.parent.relative_to(ROOT).parts) for file in (ROOT / "runner").rglob("*.py")}
    assert folders == set(packages)


def test_the_command_says_its_version() -> None:
    name, _, function = PROJECT["scripts"]["campaign-runner"].partition(":")
    code = f"import sys; sys.argv = ['campaign-runner', '--version']; from {name} import {function}; {function}()"
    printed = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert printed == f"campaign-runner, version {__version__}\n"
