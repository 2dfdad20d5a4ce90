"""What the planner makes of the statements where it knows nothing of the tables, or the wrong things."""

from __future__ import annotations

from collections.abc import Callable
from uuid import UUID

import pytest

from tests import records
from tests.automation import Automation
from tests.conftest import Connect, Connection
from tests.factory import Factory

CONTACTS = 20_000


@pytest.fixture
def never_analyzed(database: Connection) -> None:
    for table in ("contacts", "contact_tags", "contact_tag_assignments", "campaigns", "campaign_recipients"):
        database.execute(f"alter table {table} set (autovacuum_enabled = off)".encode())


@pytest.mark.parametrize("is_analyzed_while_empty", [False, True])
def test_tables_without_statistics_make_no_plan_that_the_statement_timeout_ends(
    is_analyzed_while_empty: bool,
    never_analyzed: None,
    organization: UUID,
    factory: Factory,
    automation: Callable[..., Automation],
    database: Connection,
) -> None:
    """Nested loops over such an audience took 24 s, 50 times as long as what they are kept from."""
    if is_analyzed_while_empty:
        database.execute("analyze")
    contacts = factory.contacts(organization, CONTACTS)
    tag = factory.tag(organization, "vip")
    database.execute(
        "insert into contact_tag_assignments (tag_id, contact_id) select %s, id from contacts where id <= %s",
        (tag, contacts[CONTACTS // 2 - 1]),
    )
    sent = factory.campaign(organization, status="sent")
    database.execute(
        "insert into campaign_recipients (campaign_id, contact_id, status) select %s, id, 'bounced' from contacts"
        " where id <= %s",
        (sent, contacts[99]),
    )
    rules = {"include_tags": ["vip"], "exclude_bounced": True, "exclude_countries": ["de"]}
    campaign = factory.campaign(organization, rules=rules)
    run = automation(max_rows=CONTACTS // 2)
    assert run.step()["timed_out"] is False
    database.execute("update campaign_target_rules set exclude_bounced = false")

    answers = [run.step()]
    while answers[-1]["work_left"]:
        answers.append(run.step())

    assert not any(answer["timed_out"] or answer["failed"] for answer in answers)
    assert len(answers) <= 4
    assert len(records.recipients(database, campaign)) == CONTACTS // 2
    assert records.status(database, campaign) == "sending"


def test_a_slice_reads_only_its_own_part_of_the_contacts(
    never_analyzed: None, organization: UUID, factory: Factory, connect_as: Connect
) -> None:
    contacts = factory.contacts(organization, 5_000)
    factory.contacts(factory.organization(), 5_000)
    campaign = factory.campaign(organization)
    service = connect_as("service_role")

    with service.transaction():
        query = "select contact_id from campaign_runner.audience(%s, %s, %s)"
        judged = records.rows(service, query, campaign, UUID(int=0), contacts[500])
        query = "select seq_tup_read + idx_tup_fetch as n from pg_stat_xact_user_tables where relname = 'contacts'"
        [read] = records.rows(service, query)

    assert len(judged) == 500
    assert 500 <= read["n"] <= 1_500
