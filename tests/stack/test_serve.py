"""`make serve`, in clones of its own so that it does not meet yours."""

from __future__ import annotations

import fcntl
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import httpx
import psycopg
import pytest
from dotenv import dotenv_values

from local import demo
from local.binaries import available_versions
from tests.support.eventually import eventually

pytestmark = pytest.mark.slow

ORIGINAL = Path(__file__).parent.parent.parent
Serve = Callable[..., subprocess.Popen[str]]


def make_clone(directory: Path) -> Path:
    directory.mkdir()
    for name in ("local", "main.py", "runner", "supabase"):
        (directory / name).symlink_to(ORIGINAL / name)
    return directory


@pytest.fixture
def clone(tmp_path: Path) -> Path:
    return make_clone(tmp_path / "a clone")


@pytest.fixture
def serve() -> Iterator[Serve]:
    """Start `make serve` in a clone, less make, by a shell if one is given."""
    started = []

    def start(clone: Path, *shell: str, **variables: str) -> subprocess.Popen[str]:
        inherited = {name: value for name, value in os.environ.items() if name not in ("POSTGRES", "SEED")}
        process = subprocess.Popen(
            [*shell, sys.executable, "-m", "local", "serve"],
            cwd=clone,
            env={**inherited, **variables},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        started.append(process)
        return process

    yield start
    for process in started:
        process.terminate()
    for process in started:
        process.communicate(timeout=60)


def environment(clone: Path) -> dict[str, str]:
    file = clone / ".local" / "env"
    eventually(file.exists, 60)
    return {name: value or "" for name, value in dotenv_values(file).items()}


def test_it_tells_where_everything_is_when_everything_works_until_it_is_told_to_end(clone: Path, serve: Serve) -> None:
    process = serve(clone)
    told = environment(clone)

    assert list(told) == [
        *("RUNNER_URL", "RUNNER_TOKEN", "SUPABASE_URL", "SUPABASE_SECRET_KEY", "DATABASE_URL", "SYSTEM_USER_ID")
    ]
    assert (clone / ".local" / "env").lstat().st_mode & 0o777 == 0o600
    answer = httpx.post(told["RUNNER_URL"], headers={"Authorization": f"Bearer {told['RUNNER_TOKEN']}"}, timeout=30)
    assert (answer.status_code, answer.json()) == (200, {"processed_count": 0, "campaigns": [], "errors": []})
    key = {"apikey": told["SUPABASE_SECRET_KEY"]}
    profiles = httpx.get(f"{told['SUPABASE_URL']}/rest/v1/profiles?select=id", headers=key).json()
    assert profiles == [{"id": told["SYSTEM_USER_ID"]}]
    with psycopg.connect(told["DATABASE_URL"]) as connection:
        assert connection.execute("select count(*) from campaigns").fetchone() == (0,)

    process.terminate()
    output, _ = process.communicate(timeout=60)

    assert process.returncode == 0
    assert f"Ready: {told['RUNNER_URL']}" in output
    assert not (clone / ".local" / "env").exists()


def test_in_the_background_of_a_shell_it_works_until_an_interrupt_too(clone: Path, serve: Serve) -> None:
    """Where a shell ignores interrupts."""
    process = serve(clone, "/bin/sh", "-c", 'trap "" INT; exec "$@"', "sh")
    environment(clone)

    process.send_signal(signal.SIGINT)
    output, _ = process.communicate(timeout=60)

    assert process.returncode == 0
    assert output.endswith("\nStopped.\n")
    assert not (clone / ".local" / "env").exists()


def test_a_second_one_refuses_in_the_same_clone_and_works_in_another(clone: Path, serve: Serve, tmp_path: Path) -> None:
    other = make_clone(tmp_path / "another")
    first = serve(clone)
    url = environment(clone)["RUNNER_URL"]

    elsewhere, second = serve(other), serve(clone)
    output, _ = second.communicate(timeout=60)

    assert second.returncode == 1
    assert f"runs in this clone already: process {first.pid}, {url}" in output
    assert environment(other)["RUNNER_URL"] != url
    assert (first.poll(), elsewhere.poll()) == (None, None)


def test_a_killed_one_leaves_no_settings_and_does_not_keep_the_clone(clone: Path, serve: Serve) -> None:
    killed = serve(clone)
    environment(clone)

    killed.kill()
    killed.wait(60)

    eventually(lambda: not (clone / ".local" / "env").exists())
    with (clone / ".local" / "lock").open() as lock:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)


@pytest.mark.slow
def test_postgres_chooses_the_version_and_seed_loads_the_demo_data(clone: Path, serve: Serve) -> None:
    version = available_versions()[0]
    serve(clone, POSTGRES=str(version), SEED="1")
    told = environment(clone)

    with psycopg.connect(told["DATABASE_URL"]) as connection:
        assert connection.info.server_version // 10_000 == version
        names = {name for (name,) in connection.execute("select name from campaigns")}
    assert names == demo.EXPECTED.keys()
    answer = httpx.post(told["RUNNER_URL"], headers={"Authorization": f"Bearer {told['RUNNER_TOKEN']}"}, timeout=60)
    launched = {campaign["name"] for campaign in answer.json()["campaigns"]}
    assert launched == {name for name, (status, _) in demo.EXPECTED.items() if status == "sending"}


@pytest.mark.parametrize("target", ["serve", "develop"])
@pytest.mark.parametrize("value", ["14", "abc"])
def test_make_refuses_a_version_that_is_not_there_before_anything_starts(target: str, value: str, clone: Path) -> None:
    (clone / "Makefile").symlink_to(ORIGINAL / "Makefile")
    # Nothing can start in this clone, because a file is where the directory would be.
    (clone / ".local").touch()
    # Make takes what is installed as it is.
    make = ["make", "--silent", "--old-file=.venv/ready", f"VENV={sys.executable}", target]

    for arguments, variables in (([f"POSTGRES={value}"], {}), ([], {"POSTGRES": value})):
        refused = subprocess.run(
            [*make, *arguments],
            cwd=clone,
            env={"PATH": os.environ["PATH"], **variables},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
        )
        assert refused.returncode != 0
        versions = ", ".join(map(str, available_versions()))
        assert refused.stderr.splitlines()[0] == f"Error: POSTGRES must be one of {versions}, not {value}."
        assert refused.stdout == ""
