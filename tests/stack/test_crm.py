"""A real CRM with migrations of its own gets ours by push, launches a campaign, and is as before after uninstalling."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from uuid import UUID, uuid4

import psycopg
import pytest

from local.binaries import available_versions
from local.migration import MIGRATIONS
from local.postgres import Postgres
from tests.support import records
from tests.support.automation import Automation
from tests.support.factory import Connection, Factory
from tests.support.memory import MEMORY
from tests.support.project import Project, execute, schema
from tests.support.supabase_cli import SupabaseCli

CRM = (Path(__file__).parents[1] / "database" / "crm.sql").read_text()
UNINSTALL = MIGRATIONS.with_name("uninstall.sql").read_bytes()

pytestmark = pytest.mark.slow  # each start of the CLI takes two seconds


@pytest.fixture(scope="module", params=[version for version in (15, 17, 18) if version in available_versions()])
def server(request: pytest.FixtureRequest) -> Iterator[Postgres]:
    with Postgres(request.param, data_in=MEMORY) as server:
        yield server


# Older Supabase projects give each new table to their roles by default, newer ones do not.
GIVEN = "alter default privileges in schema public grant all on tables to anon, authenticated, service_role;\n"


def create_crm(server: Postgres, directory: Path, default_privileges: str = "") -> Project:
    """The CRM, pushed without ours."""
    own = directory / "own"
    own.mkdir()
    (own / "20200101000000_create_crm.sql").write_text(default_privileges + CRM)
    clone = directory / "crm"
    clone.mkdir()
    url = server.create_database(f"crm {uuid4().hex}")
    project = Project(clone, SupabaseCli(clone, own), url)
    project.cli.push(url)
    return project


def fill(database: Connection) -> tuple[UUID, UUID, set[UUID]]:
    """Two tenants and a due campaign of the first. Returns the system user, the campaign, and who has to get it."""
    factory = Factory(database)
    user, tenant, other = factory.user(), uuid4(), uuid4()
    for organization in (tenant, other):
        factory.insert("organizations", {"id": organization, "name": "CRM", "slug": str(organization)})
        factory.member(organization, user)
    eligible = {factory.contact(tenant), factory.contact(tenant, email=None, mobile="+43660000000", country="AT")}
    factory.contact(tenant, is_subscribed=False)
    factory.contact(tenant, is_active=False)
    factory.contact(tenant, country="US")
    factory.contact(other)
    tagged = factory.contact(tenant)
    tag = {"id": uuid4(), "organization_id": tenant, "name": "staff"}
    factory.insert("contact_tags", tag)
    factory.insert("contact_tag_assignments", {"contact_id": tagged, "tag_id": tag["id"], "organization_id": tenant})
    gone = factory.contact(tenant)
    factory.update("contacts", gone, deleted_at="2026-01-01")
    campaign = factory.campaign(tenant, rules={"exclude_tags": ["staff"], "exclude_countries": ["us"]})
    factory.campaign(tenant, due_in=timedelta(days=1))
    return user, campaign, eligible


def test_a_crm_gets_the_runner_by_push_launches_and_has_its_own_schema_again_after_uninstalling(
    server: Postgres, tmp_path: Path
) -> None:
    crm = create_crm(server, tmp_path, GIVEN)
    before = schema(crm.url)
    copies = crm.copy()
    assert crm.cli.push(crm.url)["migrations"] == copies
    assert schema(crm.url) != before

    with psycopg.connect(crm.url, autocommit=True) as database:
        user, campaign, eligible = fill(database)
        report = Automation(database, user).launch()
        [launched] = report["campaigns"]
        assert (launched["campaign_id"], launched["recipient_count"]) == (str(campaign), len(eligible))
        assert report["errors"] == []
        assert records.status(database, campaign) == "sending"
        written = database.execute("select campaign_id, contact_id, status from campaign_recipients").fetchall()
        assert sorted(written) == sorted((campaign, contact, "pending") for contact in eligible)

    execute(crm.url, UNINSTALL)
    assert schema(crm.url) == before
    with psycopg.connect(crm.url) as database:
        assert len(records.rows(database, "select from campaign_recipients")) == len(eligible)


def test_where_tables_are_given_to_nobody_the_grants_of_the_service_role_alone_stay_after_uninstalling(
    server: Postgres, tmp_path: Path
) -> None:
    crm = create_crm(server, tmp_path)
    before = schema(crm.url).splitlines()
    crm.copy()
    crm.cli.push(crm.url)
    execute(crm.url, UNINSTALL)
    after = [line for line in schema(crm.url).splitlines() if line and not line.startswith("--")]
    assert {line for line in before if line and not line.startswith("--")} <= set(after)
    more = set(after) - set(before)
    assert more
    assert all(line.startswith("GRANT ") and line.endswith(" TO service_role;") for line in more)
