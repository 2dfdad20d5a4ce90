"""What docs/operations.md says is true: its triggers reach the function, its queries show what they should."""

from __future__ import annotations

import json
import os
import re
import shlex
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest

from local.function import Function
from tests.support import records
from tests.support.documentation import ROOT, Page, shell
from tests.support.eventually import eventually
from tests.support.gcloud_parser import parse_by_gcloud
from tests.support.google_cloud import DEPLOY, Cloud
from tests.support.programs import miss, need
from tests.support.refusal import let_it_pass, refuse
from tests.support.service import Service
from tests.support.timeshift import before_a_minute

pytestmark = pytest.mark.slow

PAGE = Page("docs/operations.md")
README = Page("README.md")
HEADER_FILE = "/etc/campaign-runner"
PLACE = "https://RUNNER"


@pytest.fixture
def header_file(service: Service, tmp_path: Path) -> Path:
    """Made as the page says."""
    file = tmp_path / "header"
    [block] = PAGE.blocks("sh", "install -m 600")
    shell(block.replace(HEADER_FILE, str(file)), {"RUNNER_TOKEN": service.token}, tmp_path)
    assert file.stat().st_mode & 0o777 == 0o600
    return file


class Cron:
    """A real cron, for which a minute begins soon, with one crontab in a mount namespace of its own."""

    def __init__(self, crontab: str, directory: Path) -> None:
        if os.geteuid() != 0:
            miss("a cron of one's own takes root")
        cron, unshare = need("cron", of="cron"), need("unshare", of="util-linux")
        self.mail = directory / "mail"
        (directory / "crontab").write_text(crontab)
        (directory / "sendmail").write_text(f"#!/bin/sh\ncat > {self.mail}.$$ && mv {self.mail}.$$ {self.mail}\n")
        shutil.copy(cron, directory / "cron")
        clock = " ".join(f"{name}={shlex.quote(value)}" for name, value in before_a_minute(2).items())
        script = f"""
            set -eu
            for place in /var/spool/cron /etc/cron.d /run /usr/sbin; do mount -t tmpfs none $place; done
            mount --bind /dev/null /etc/crontab
            mkdir /var/spool/cron/crontabs
            install -m 600 {directory}/crontab /var/spool/cron/crontabs/root
            install -m 755 {directory}/sendmail /usr/sbin/sendmail
            exec env {clock} {directory}/cron -f
        """
        self.process = subprocess.Popen([unshare, "--mount", "--propagation", "private", "/bin/sh", "-c", script])

    def stop(self) -> None:
        self.process.terminate()
        self.process.wait(60)


@pytest.fixture
def cron(service: Service, header_file: Path, tmp_path: Path) -> Iterator[Cron]:
    """With the line of the page twice: once as it is, once with a token that is not accepted."""
    [block] = PAGE.blocks("crontab")
    wrong = tmp_path / "wrong"
    wrong.write_text(f"Authorization: Bearer {'x' * 40}\n")
    here = block.replace(PLACE, service.url)
    mailto, line = here.splitlines()
    lines = [mailto, line.replace(HEADER_FILE, str(header_file)), line.replace(HEADER_FILE, str(wrong)), ""]
    cron = Cron("\n".join(lines), tmp_path)
    yield cron
    cron.stop()


def test_the_crontab_line_launches_what_is_due_and_mails_failures_alone(service: Service, cron: Cron) -> None:
    campaign = service.due_campaign()
    eventually(lambda: records.status(service.database, campaign) == "sending", 75)
    eventually(cron.mail.exists, 75)
    mail = cron.mail.read_text()
    assert "To: ops@example.org" in mail
    assert "401" in mail
    assert "A valid bearer token is required." in mail
    assert "processed_count" not in mail


def test_the_systemd_units_are_valid_and_their_command_launches_what_is_due(
    service: Service, header_file: Path, tmp_path: Path
) -> None:
    campaign = service.due_campaign()
    units = {"service": PAGE.blocks("ini", "[Service]")[0], "timer": PAGE.blocks("ini", "[Timer]")[0]}
    for kind, unit in units.items():
        (tmp_path / f"campaign-runner.{kind}").write_text(unit.replace(HEADER_FILE, str(header_file)))
    files = [str(tmp_path / f"campaign-runner.{kind}") for kind in units]
    analyze = need("systemd-analyze", of="systemd")
    verified = subprocess.run([analyze, "verify", "--man=no", *files], capture_output=True, text=True)
    assert (verified.returncode, verified.stderr) == (0, "")

    [command] = re.findall(r"^ExecStart=(.*)", units["service"], re.MULTILINE)
    command = command.replace("%d/header", str(header_file)).replace(PLACE, service.url)
    assert subprocess.run(shlex.split(command), capture_output=True, timeout=60).returncode == 0
    assert records.status(service.database, campaign) == "sending"
    header_file.write_text(f"Authorization: Bearer {'x' * 40}\n")
    failed = subprocess.run(shlex.split(command), capture_output=True, text=True, timeout=60)
    assert failed.returncode == 22
    assert "401" in failed.stdout + failed.stderr


def test_the_call_by_hand_shows_what_is_due(service: Service, header_file: Path, tmp_path: Path) -> None:
    campaign = service.due_campaign()
    [block] = PAGE.blocks("sh", '"$RUNNER_URL/?dry_run=true"')
    answer = shell(block.replace(HEADER_FILE, str(header_file)), {"RUNNER_URL": service.url}, tmp_path)
    assert [outcome["campaign_id"] for outcome in json.loads(answer)["campaigns"]] == [str(campaign)]
    assert records.status(service.database, campaign) == "scheduled"


def test_the_health_is_asked_for_as_the_page_says(service: Service, header_file: Path) -> None:
    [block] = PAGE.blocks("sh", '"$RUNNER_URL/health"')

    def ask() -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            ["/bin/sh", "-eu", "-c", block.replace(HEADER_FILE, str(header_file))],
            env={"PATH": os.environ["PATH"], "RUNNER_URL": service.url},
            capture_output=True,
            text=True,
            timeout=60,
        )

    assert ask().returncode == 0
    campaign = service.due_campaign()
    service.execute("update campaigns set scheduled_at = now() - interval '11 minutes'")
    late = ask()
    assert late.returncode == 22  # curl's, for an answer of 400 or more
    assert json.loads(late.stdout)["oldest_due"]["campaign_id"] == str(campaign)


def test_status_ends_as_the_page_says(service: Service, environment: dict[str, str]) -> None:
    [block] = PAGE.blocks("sh", "python -m runner status")

    def ask(**changes: str) -> subprocess.CompletedProcess[str]:
        path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
        settings = {**environment, **changes, "PATH": path, "PYTHONPATH": str(ROOT)}
        return subprocess.run(["/bin/sh", "-eu", "-c", block], env=settings, capture_output=True, text=True, timeout=60)

    with refused(service):
        service.run()
        assert ask().returncode == 1  # it is tried again by itself, and not launched
    service.execute("update campaign_runner.launches set waiting = 'needs_attention', next_attempt_at = null")
    attention = ask()
    assert attention.returncode == 1
    assert "Need attention: 1" in attention.stdout
    assert ask(SUPABASE_SECRET_KEY="sb_secret_nobody").returncode == 3


@contextmanager
def refused(service: Service) -> Iterator[UUID]:
    """A campaign that a trigger of the project refuses."""
    organization = service.organization()
    service.factory.contact(organization)
    campaign = service.factory.campaign(organization, name="failing")
    refuse(service.database, campaign)
    try:
        yield campaign
    finally:
        let_it_pass(service.database)


def test_every_shell_block_parses() -> None:
    for block in [*PAGE.blocks("sh"), *README.blocks("sh")]:
        subprocess.run(["bash", "-n"], input=block, text=True, check=True)


def test_every_call_of_deploy_does_what_the_page_says(tmp_path: Path) -> None:
    """Run as they stand, but for --dry-run."""
    cloud = Cloud(tmp_path / "cloud", "")
    for name in ("deploy.sh", "deploy", "runner"):
        (cloud.directory / name).symlink_to(DEPLOY.with_name(name))
    (cloud.directory / ".env").write_text("\n".join(f"{name}={value}" for name, value in cloud.settings.items()))
    text = PAGE.text + README.text
    calls = set(re.findall(r"^ *((?:PROJECT_ID=.*)?\./deploy\.sh.*)$", text, re.MULTILINE))
    inline = set(re.findall(r"`(\./deploy\.sh[^`]*)`", text))
    assert len(calls) >= 3
    assert {"./deploy.sh", "./deploy.sh start", "./deploy.sh --destroy"} <= inline
    assert any(call.endswith("rotate-token") for call in calls)
    for call in calls | inline:
        result = subprocess.run(
            ["bash", "-c", f"{call} --dry-run"],
            cwd=cloud.directory,
            env={"PATH": str(cloud.programs), **cloud.settings},
            capture_output=True,
            text=True,
            timeout=60,
        )
        assert result.returncode == 0, result.stderr


def test_gcloud_understands_every_command_of_the_page(tmp_path: Path) -> None:
    lines = [line.strip() for line in "\n".join(PAGE.blocks("sh")).splitlines()] + re.findall(
        r"`(gcloud [^`]*)`", PAGE.text
    )
    commands = [shlex.split(line)[1:] for line in lines if line.startswith("gcloud ")]
    assert len(commands) > 5
    parse_by_gcloud(commands, tmp_path)


class TestWhenNoCampaignStarts:
    def shown(self, service: Service) -> dict[str, dict[str, Any]]:
        [block] = PAGE.blocks("sql", "next_attempt_at")
        query = f"select to_jsonb(shown) from ({block.rstrip().rstrip(';')}) as shown"  # Python has no infinite time
        return {row["name"]: row for (row,) in service.database.execute(query.encode()).fetchall()}

    def test_each_reason_shows_as_the_table_says(self, service: Service, environment: dict[str, str]) -> None:
        organization = service.organization()
        service.factory.campaign(organization, name="no time", due_in=None)
        service.factory.campaign(organization, name="too late", due_in=timedelta(days=-1))
        service.factory.campaign(organization, name="tomorrow", due_in=timedelta(days=1))
        service.factory.campaign(organization, name="draft", status="draft")
        with refused(service) as failing, Function({**environment, "MAX_LATENESS_MINUTES": "60"}) as strict:
            replace(service, url=strict.url).run()
            shown = self.shown(service)
            # Ten attempts take hours: the ledger is told that there were nine.
            service.execute(
                "update campaign_runner.launches set attempts = 9, next_attempt_at = now() where campaign_id = %s",
                failing,
            )
            service.run()
            attention = self.shown(service)["failing"]

        assert list(shown) == ["no time", "too late", "failing", "tomorrow"]
        assert (shown["no time"]["scheduled_at"], shown["no time"]["is_due"]) == (None, None)
        assert shown["tomorrow"]["is_due"] is False
        assert "held" in shown["too late"]["last_error"]
        assert "P0001" in shown["failing"]["last_error"]
        assert (shown["failing"]["waiting"], attention["waiting"]) == ("backoff", "needs_attention")
        assert shown["failing"]["next_attempt_at"] is not None
        assert (attention["attempts"], attention["next_attempt_at"]) == (10, None)

    def test_the_last_call_is_shown(self, service: Service) -> None:
        service.run()
        [block] = PAGE.blocks("sql", "last_call")
        [(_, ago)] = service.database.execute(block.encode()).fetchall()
        assert 0 <= ago.total_seconds() < 60

    def test_what_the_log_is_said_to_hold_is_there(self, service: Service, function: Function) -> None:
        service.post(headers={"Authorization": f"Bearer {'x' * 40}"})
        assert "Answered with 401" in function.log.read_text()
        assert "Answered with 401" in PAGE.text


class TestDeployment:
    """deploy.sh in front of the running function: it launches nothing, whatever is answered."""

    @pytest.mark.parametrize(("answers", "code"), [("n\n", 3), ("y\n", 0)])
    def test_it_lists_what_is_due_and_leaves_it_alone(
        self, service: Service, tmp_path: Path, answers: str, code: int
    ) -> None:
        campaign = service.due_campaign()
        before = records.everything(service.database, with_last_call=False)
        cloud = Cloud(tmp_path / "cloud", service.url)
        result = cloud.deploy(answers=answers, RUNNER_TOKENS=service.token)
        assert result.returncode == code, result.stderr
        assert str(campaign) in result.stderr
        assert records.everything(service.database, with_last_call=False) == before
        assert service.token not in result.stdout + result.stderr
        assert (cloud.state["job"] is None) == (code == 3)


def test_every_file_that_the_page_names_exists() -> None:
    for name in re.findall(r"`((?:supabase|runner|docs)/[\w./-]+)`", PAGE.text):
        assert (ROOT / name).exists(), name
