"""The preview from end to end: what the command shows is what a launch then gives, and what docs/operations.md says."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path
from uuid import UUID

import pytest

from tests.support import records
from tests.support.service import Service

ROOT = Path(__file__).parents[2]


@pytest.fixture
def campaign(service: Service) -> UUID:
    organization = service.organization()
    service.factory.crowd(organization, 40, is_subscribed="i > 7")
    return service.factory.campaign(organization, status="draft")


def run(environment: dict[str, str], *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "runner", *arguments],
        cwd=ROOT,
        env={"PATH": os.environ["PATH"], **environment, "STEP_ROWS": "10"},
        capture_output=True,
        text=True,
        timeout=60,
    )


def test_an_immediate_launch_gives_what_the_preview_of_a_draft_says(
    service: Service, environment: dict[str, str], campaign: UUID
) -> None:
    before = records.everything(service.database, with_last_call=False)
    done = run(environment, "preview", str(campaign), "--json")
    preview = json.loads(done.stdout)
    assert (done.returncode, done.stderr) == (0, "")
    assert records.everything(service.database, with_last_call=False) == before
    assert preview["excluded"] == {"unsubscribed": 7}
    assert preview["contacts"] == preview["recipient_count"] + 7 == 40

    service.execute("update campaigns set status = 'scheduled'")
    [launched] = service.run()["campaigns"]

    assert launched["recipient_count"] == preview["recipient_count"]
    lowest = "select email from contacts join campaign_recipients on contact_id = contacts.id order by id limit 10"
    assert preview["sample"] == [email for (email,) in service.execute(lowest)]


def test_the_page_shows_the_keys_that_the_command_prints(
    environment: dict[str, str], service: Service, campaign: UUID
) -> None:
    page = (ROOT / "docs" / "operations.md").read_text()
    [block] = [json.loads(block) for block in re.findall(r"```json\n(.*?)```", page, re.DOTALL) if "unmatched" in block]
    printed = json.loads(run(environment, "preview", str(campaign), "--json").stdout)
    assert list(printed) == list(block)
    assert list(printed["unmatched"]) == list(block["unmatched"])
    assert block["contacts"] == block["recipient_count"] + sum(block["excluded"].values())
