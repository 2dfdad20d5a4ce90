"""The doctor on a real stack: each thing is broken once, and named."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import LiteralString
from uuid import uuid4

import pytest

from local.loopback import free_port
from local.migration import MIGRATIONS
from runner import database, doctor
from runner.doctor import Examination, Finding
from tests.support.service import Service
from tests.support.timeshift import before_a_minute

ROOT = Path(__file__).parents[2]
ADDRESSES = "campaign_runner_addresses_idx"


@pytest.fixture
def clinic(service: Service, environment: dict[str, str], monkeypatch: pytest.MonkeyPatch) -> Iterator[Service]:
    """A project in which all is well, and its settings in the environment."""
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr(database, "_shared", None)
    organization = service.add_organization()
    service.add_contacts(organization, 3)
    service.add_campaign(organization)
    service.run()
    service.add_campaign(organization)
    yield service
    if database._shared is not None:
        database._shared[1].close()


@contextmanager
def broken(service: Service, harm: LiteralString, repair: str) -> Iterator[None]:
    """What the owner of the tables did, until the end of the block."""
    service.execute(harm)
    try:
        yield
    finally:
        service.database.execute(repair.encode())


def migration(name: str) -> str:
    [file] = MIGRATIONS.glob(f"*_{name}.sql")
    return file.read_text()


def bad(examination: Examination) -> list[Finding]:
    return [finding for finding in examination.findings if finding.severity != "ok"]


def only(examination: Examination) -> Finding:
    """The one finding that is not ok; every other thing was looked at, and is well."""
    [finding] = bad(examination)
    assert finding.remedy
    assert examination.complete
    assert examination.exit_code == (1 if finding.severity == "problem" else 0)
    assert len({each.check for each in examination.findings}) >= 13
    return finding


def test_a_healthy_project_has_no_finding(clinic: Service) -> None:
    examination = doctor.examine()
    assert bad(examination) == []
    assert [finding.check for finding in examination.findings] == [
        *("settings", "tokens", "database", "migrations", "tables", "privileges", "indexes", "system user"),
        *("memberships", "schedules", "duplicates", "calls", "clocks"),
    ]
    assert (examination.complete, examination.exit_code) == (True, 0)


def test_a_missing_index_is_named_with_the_command_that_builds_it(clinic: Service) -> None:
    [(command,)] = clinic.execute("select indexdef from pg_indexes where indexname = 'campaign_runner_bounced_idx'")
    with broken(clinic, "drop index campaign_runner_bounced_idx", command):
        finding = only(doctor.examine())
        assert (finding.check, finding.severity) == ("indexes", "problem")
        assert "campaign_runner_bounced_idx is missing" in finding.message
        assert finding.remedy is not None
        clinic.database.execute(finding.remedy.encode())
        assert bad(doctor.examine()) == []
        clinic.execute("drop index campaign_runner_bounced_idx")


def test_an_index_that_a_failed_build_left_is_named(clinic: Service) -> None:
    """Two contacts with one address, in a unique index that is built concurrently: Postgres leaves it, invalid."""
    [(command,)] = clinic.execute("select indexdef from pg_indexes where indexname = 'campaign_runner_addresses_idx'")
    with broken(clinic, "drop index campaign_runner_addresses_idx", f"drop index {ADDRESSES}; {command}"):
        organization = clinic.add_organization()
        clinic.execute(
            "insert into contacts (organization_id, email) values (%s, 'ann@example.org'), (%s, 'ann@example.org')",
            organization,
            organization,
        )
        with pytest.raises(Exception, match="could not create unique index"):
            clinic.execute("create unique index concurrently campaign_runner_addresses_idx on contacts (email)")
        finding, consequence = bad(doctor.examine())
        assert (finding.check, finding.severity) == ("indexes", "problem")
        assert (consequence.check, consequence.severity) == ("duplicates", "warning")
        assert f"{ADDRESSES} is invalid" in finding.message
        assert finding.remedy is not None
        assert finding.remedy.startswith(f"drop index concurrently public.{ADDRESSES}; create index concurrently")


def test_a_membership_that_is_gone_is_named_with_its_organization(clinic: Service) -> None:
    [(organization,)] = clinic.execute("delete from organization_members returning organization_id::text")
    finding = only(doctor.examine())
    assert (finding.check, finding.severity) == ("memberships", "problem")
    assert finding.message.startswith("1 organization ")
    assert organization in finding.message
    assert "owner, admin, member" in str(finding.remedy)


def test_a_system_user_without_a_profile_is_named(clinic: Service, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SYSTEM_USER_ID", str(uuid4()))
    found = bad(doctor.examine())
    assert [finding.check for finding in found] == ["system user", "memberships"]
    assert "is no row of profiles" in found[0].message


@pytest.mark.parametrize(
    ("version", "severity", "sentence", "remedy"),
    [
        ("20260101000000", "problem", "this program needs those up to", "Apply supabase/migrations"),
        ("20990101000000", "warning", "this program knows those up to", "Deploy the newer version"),
    ],
)
def test_functions_of_another_version_are_named(
    version: str, severity: str, sentence: str, remedy: str, clinic: Service
) -> None:
    other = migration("set_version").replace(doctor.MIGRATION, version)
    clinic.database.execute(other.encode())
    with broken(clinic, "select 1", migration("set_version")):
        finding = only(doctor.examine())
        assert (finding.check, finding.severity) == ("migrations", severity)
        assert sentence in finding.message
        assert version in finding.message
        assert remedy in str(finding.remedy)


def test_migrations_that_were_not_applied_to_the_end_are_named(clinic: Service) -> None:
    with broken(clinic, "drop function campaign_runner.schema_version()", migration("set_version")):
        finding = bad(doctor.examine())[0]
        assert (finding.check, finding.severity) == ("migrations", "problem")
        assert "Apply supabase/migrations" in str(finding.remedy)


def test_a_database_without_the_functions_is_named(clinic: Service) -> None:
    with broken(clinic, "drop function public.campaign_runner_doctor(uuid, text[])", migration("create_doctor")):
        examination = doctor.examine()
        [finding] = bad(examination)
        assert (finding.check, examination.complete, examination.exit_code) == ("migrations", False, 3)
        assert "Apply supabase/migrations" in str(finding.remedy)


def test_a_privilege_that_was_taken_away_is_named(clinic: Service) -> None:
    with broken(
        clinic,
        "revoke insert on campaign_recipients from service_role",
        "grant insert on campaign_recipients to service_role",
    ):
        finding = only(doctor.examine())
        assert (finding.check, finding.severity) == ("privileges", "problem")
        assert "insert on public.campaign_recipients" in finding.message


def test_a_table_that_may_not_be_read_hides_nothing_else(clinic: Service) -> None:
    with broken(clinic, "revoke select on profiles from service_role", "grant select on profiles to service_role"):
        privileges, system_user = sorted(bad(doctor.examine()), key=lambda finding: finding.check)
        assert "select on public.profiles" in privileges.message
        assert (system_user.check, system_user.severity) == ("system user", "problem")
        assert "SQLSTATE 42501" in system_user.message


def test_a_column_that_is_missing_is_named(clinic: Service) -> None:
    with broken(clinic, "alter table contacts rename country to land", "alter table contacts rename land to country"):
        finding = only(doctor.examine())
        assert (finding.check, finding.message) == ("tables", "column public.contacts.country is missing.")


def test_a_campaign_without_a_schedule_is_named(clinic: Service) -> None:
    [(campaign,)] = clinic.execute(
        "update campaigns set scheduled_at = null where status = 'scheduled' returning id::text"
    )
    finding = only(doctor.examine())
    assert (finding.check, finding.severity) == ("schedules", "warning")
    assert campaign in finding.message


def test_contacts_with_one_address_are_named(clinic: Service) -> None:
    organization = clinic.add_organization()
    clinic.execute(
        "insert into contacts (organization_id, email) values (%s, 'ann@example.org'), (%s, 'ANN@example.org ')",
        organization,
        organization,
    )
    finding = only(doctor.examine())
    assert (finding.check, finding.severity) == ("duplicates", "warning")
    assert finding.message.startswith("1 address of more than one contact, in all 5 contacts")
    assert organization in finding.message
    assert "ann" not in finding.message


@pytest.mark.parametrize(
    ("last", "is_due", "severity", "sentence"),
    [
        (
            "now() - interval '20 minutes'",
            True,
            "problem",
            "For 20 minutes nothing has called the runner, and campaigns",
        ),
        ("now() - interval '20 minutes'", False, "warning", "For 20 minutes nothing has called the runner."),
        ("'-infinity'", True, "problem", "Nothing has ever called the runner"),
    ],
)
def test_a_runner_that_nobody_calls_is_named(
    last: LiteralString, is_due: bool, severity: str, sentence: str, clinic: Service
) -> None:
    clinic.execute("update campaign_runner.last_tick set at = " + last)
    if not is_due:
        clinic.execute("update campaigns set scheduled_at = now() + interval '1 hour' where status = 'scheduled'")
    finding = only(doctor.examine())
    assert (finding.check, finding.severity) == ("calls", severity)
    assert finding.message.startswith(sentence)


def test_a_wrong_key_is_named(clinic: Service, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SUPABASE_SECRET_KEY", "sb_secret_CANARY")
    examination = doctor.examine()
    [finding] = bad(examination)
    assert (finding.check, examination.complete, examination.exit_code) == ("key", False, 3)
    assert "Copy a secret key" in str(finding.remedy)
    assert "CANARY" not in doctor.as_json(examination)


@pytest.mark.parametrize("url", ["http://127.0.0.1:{port}", "{url}/nowhere"])
def test_a_wrong_url_is_named(url: str, clinic: Service, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(doctor, "PATIENCE_SECONDS", 0.0)
    monkeypatch.setenv("SUPABASE_URL", url.format(port=free_port(), url=clinic.project.url))
    examination = doctor.examine()
    [finding] = bad(examination)
    assert (finding.check, examination.complete, examination.exit_code) == ("database", False, 3)
    assert "See that SUPABASE_URL" in str(finding.remedy)


def test_a_clock_that_is_wrong_is_named(clinic: Service, environment: dict[str, str]) -> None:
    """By a process of its own, whose clock is an hour ahead; so the command works from end to end."""
    shifted = before_a_minute(0) | {"FAKETIME": "+3600s"}
    done = subprocess.run(
        [sys.executable, "-m", "runner", "doctor", "--json"],
        cwd=ROOT,
        env={"PATH": os.environ["PATH"], **environment, **shifted},
        capture_output=True,
        text=True,
        timeout=60,
    )
    answer = json.loads(done.stdout)
    [finding] = [each for each in answer["findings"] if each["severity"] != "ok"]
    assert (finding["check"], finding["severity"]) == ("clocks", "warning")
    assert finding["message"].startswith("This machine's clock is 3600 s ahead of")
    assert (done.returncode, answer["complete"]) == (0, True)
