"""The preview from end to end: what the command shows is what a launch then gives, and what docs/operations.md says."""

from __future__ import annotations

import json
import os
import pty
import re
import subprocess
import sys
from pathlib import Path
from typing import IO, Any

import pytest

from tests.support.service import Service

ROOT = Path(__file__).parents[2]


@pytest.fixture
def campaign(service: Service) -> str:
    organization = service.add_organization()
    service.add_contacts(organization, 40)
    service.execute("update contacts set is_subscribed = false where id in (select id from contacts limit 7)")
    return service.add_campaign(organization, status="draft")


def run(environment: dict[str, str], *arguments: str, stderr: int | IO[str] = subprocess.PIPE) -> Any:
    return subprocess.run(
        [sys.executable, "-m", "runner", *arguments],
        cwd=ROOT,
        env={"PATH": os.environ["PATH"], **environment, "STEP_ROWS": "10"},
        stdout=subprocess.PIPE,
        stderr=stderr,
        text=True,
        timeout=60,
    )


def test_an_immediate_launch_gives_what_the_preview_of_a_draft_says(
    service: Service, environment: dict[str, str], campaign: str
) -> None:
    before = service.snapshot()
    done = run(environment, "preview", campaign, "--json")
    preview = json.loads(done.stdout)
    assert (done.returncode, done.stderr) == (0, "")
    assert service.snapshot() == before
    assert preview["excluded"] == {"unsubscribed": 7}
    assert preview["contacts"] == preview["recipient_count"] + 7 == 40

    service.execute("update campaigns set status = 'scheduled'")
    [launched] = service.run()["campaigns"]

    assert launched["recipient_count"] == preview["recipient_count"]
    lowest = "select email from contacts join campaign_recipients on contact_id = contacts.id order by id limit 10"
    assert preview["sample"] == [email for (email,) in service.execute(lowest)]


def test_the_page_shows_the_keys_that_the_command_prints(
    environment: dict[str, str], service: Service, campaign: str
) -> None:
    page = (ROOT / "docs" / "operations.md").read_text()
    [block] = [json.loads(block) for block in re.findall(r"```json\n(.*?)```", page, re.DOTALL) if "unmatched" in block]
    printed = json.loads(run(environment, "preview", campaign, "--json").stdout)
    assert list(printed) == list(block)
    assert list(printed["unmatched"]) == list(block["unmatched"])
    assert block["contacts"] == block["recipient_count"] + sum(block["excluded"].values())


def test_on_a_terminal_there_is_progress_and_in_the_end_none_of_it(
    service: Service, environment: dict[str, str], campaign: str
) -> None:
    ours, theirs = pty.openpty()
    try:
        done = run(environment, "preview", campaign, stderr=theirs)
        shown = os.read(ours, 65536).decode()
    finally:
        os.close(ours)
        os.close(theirs)
    assert "33 recipients, of 40 contacts." in done.stdout
    assert "contacts judged" in shown
    assert "contacts judged" not in done.stdout
    assert shown.endswith("\r\x1b[K")


def test_a_campaign_that_there_is_not_is_exit_code_1(service: Service, environment: dict[str, str]) -> None:
    done = run(environment, "preview", "5f0c2f1e-8a39-4a0c-9c53-0d8f6a6c5b11")
    assert (done.returncode, done.stdout, done.stderr) == (1, "", "Error: There is no campaign with this id.\n")
