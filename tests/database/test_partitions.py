"""A project whose recipients are natively partitioned."""

from __future__ import annotations

from collections.abc import Iterator
from uuid import UUID

import psycopg
import pytest

from local.migration import apply_migrations
from tests.conftest import Connection
from tests.support import oracle, records
from tests.support.automation import Automation
from tests.support.factory import Factory

pytestmark = pytest.mark.slow

PARTITIONS = 4
TABLE = """
    drop view public.campaign_runner_sendable;
    drop table public.campaign_recipients;
    create table public.campaign_recipients (
        campaign_id uuid not null references public.campaigns (id) on delete cascade,
        contact_id uuid not null references public.contacts (id) on delete cascade,
        organization_id uuid not null,
        status text not null default 'pending',
        created_at timestamptz not null default now(),
        primary key (campaign_id, contact_id)
    ) partition by hash (campaign_id);
"""
PARTITION = """
    create table public.campaign_recipients_{n} partition of public.campaign_recipients
        for values with (modulus {of}, remainder {n});
"""


@pytest.fixture
def partitioned(empty_database_url: str) -> Iterator[Connection]:
    """A project with partitioned recipients, to which the migrations came afterwards."""
    apply_migrations(empty_database_url)
    with psycopg.connect(empty_database_url, autocommit=True) as connection:
        connection.execute(TABLE.encode())
        for n in range(PARTITIONS):
            connection.execute(PARTITION.format(n=n, of=PARTITIONS).encode())
        connection.execute("truncate supabase_migrations.schema_migrations")
        apply_migrations(empty_database_url)
        yield connection


@pytest.mark.every_version
def test_campaigns_are_launched_whole_into_partitions(partitioned: Connection) -> None:
    factory = Factory(partitioned)
    system_user = factory.user()
    organization = factory.organization(system_user)
    contacts = factory.contacts(organization, 100)
    factory.update("contacts", contacts[50], is_subscribed=False)
    campaigns = [factory.campaign(organization) for _ in range(8)]
    resumed = factory.campaign(organization, rules={"exclude_bounced": True})
    factory.recipient(factory.campaign(organization, status="sent"), contacts[3], status="bounced")
    audiences = {
        campaign: oracle.recipients(oracle.audience(oracle.read(partitioned), campaign))
        for campaign in [*campaigns, resumed]
    }

    report = Automation(partitioned, system_user, max_rows=7).launch()

    assert report["errors"] == []
    assert {UUID(outcome["campaign_id"]) for outcome in report["campaigns"]} == audiences.keys()
    for campaign, audience in audiences.items():
        assert set(records.recipients(partitioned, campaign)) == audience
    query = "select contact_id from public.campaign_runner_sendable where campaign_id = %s"
    assert {row["contact_id"] for row in records.rows(partitioned, query, resumed)} == audiences[resumed]
    used = "select distinct tableoid from public.campaign_recipients"
    assert len(records.rows(partitioned, used)) > 1
    assert Automation(partitioned, system_user).launch()["processed_count"] == 0
