"""The doctor on a real stack: its command, and what the servers answer where the database cannot be asked."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from local.loopback import free_port
from local.migration import MIGRATIONS
from tests.support.service import Service

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parents[2]
INDEX = "campaign_runner_bounced_idx"


def examine(service: Service, **changes: str) -> tuple[int, dict[str, Any], list[dict[str, Any]]]:
    """The exit code of the command, what it prints, and those of the findings that are not ok."""
    settings = {**service.settings, "RUNNER_TOKENS": service.token, **changes}
    done = subprocess.run(
        [sys.executable, "-m", "runner", "doctor", "--json"],
        cwd=ROOT,
        env={"PATH": os.environ["PATH"], **settings},
        capture_output=True,
        text=True,
        timeout=60,
    )
    printed = json.loads(done.stdout)
    assert settings["SUPABASE_SECRET_KEY"] not in done.stdout + done.stderr
    return done.returncode, printed, [each for each in printed["findings"] if each["severity"] != "ok"]


def test_what_the_doctor_finds_is_mended_by_its_remedy(service: Service) -> None:
    service.run()
    [(command,)] = service.execute("select indexdef from pg_indexes where indexname = %s", INDEX)
    service.database.execute(f"drop index {INDEX}".encode())
    try:
        code, printed, [finding] = examine(service)
        assert (code, printed["complete"], finding["check"]) == (1, True, "indexes")
        service.database.execute(finding["remedy"].encode())
        code, printed, bad = examine(service)
        assert (code, printed["complete"], bad) == (0, True, [])
    finally:
        service.database.execute(f"drop index if exists {INDEX}; {command}".encode())


def test_a_database_without_the_functions_is_named(service: Service) -> None:
    service.execute("drop function public.campaign_runner_doctor(uuid, text[])")
    try:
        code, printed, [finding] = examine(service)
    finally:
        [file] = MIGRATIONS.glob("*_create_functions.sql")
        service.database.execute(file.read_bytes())
    assert (code, printed["complete"], finding["check"]) == (3, False, "migrations")


def test_a_wrong_key_is_named(service: Service) -> None:
    code, printed, [finding] = examine(service, SUPABASE_SECRET_KEY="sb_secret_CANARY")
    assert (code, printed["complete"], finding["check"]) == (3, False, "key")


@pytest.mark.parametrize("url", ["http://127.0.0.1:{port}", "{url}/nowhere"])
def test_a_wrong_url_is_named(url: str, service: Service) -> None:
    code, printed, [finding] = examine(service, SUPABASE_URL=url.format(port=free_port(), url=service.project.url))
    assert (code, printed["complete"], finding["check"]) == (3, False, "database")
