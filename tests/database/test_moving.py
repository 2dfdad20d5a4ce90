"""docs/operations.md: a restore of the schema public alone, and tables that change later."""

from __future__ import annotations

from collections.abc import Callable
from uuid import UUID

import pytest

from local.migration import MIGRATIONS
from tests.conftest import Connection
from tests.support import records
from tests.support.automation import Automation
from tests.support.documentation import Page
from tests.support.factory import Factory

PAGE = Page("docs/operations.md")
STATUS_AS_ENUM = """
    create type campaign_status as enum ('draft', 'scheduled', 'sending', 'sent', 'failed', 'paused');
    alter table campaigns drop constraint campaigns_status_is_known, alter status drop default;
    alter table campaigns alter status type campaign_status using status::campaign_status;
    alter table campaigns alter status set default 'draft'
"""


def test_a_restored_launch_in_the_middle_is_found_and_launched_whole(
    organization: UUID, factory: Factory, automation: Callable[..., Automation], database: Connection
) -> None:
    contacts = factory.contacts(organization, 6)
    campaign = factory.campaign(organization)
    run = automation(max_rows=2)
    run.step()
    run.step()
    factory.empty_ledger()  # as after a restore of the schema public alone
    [find] = PAGE.blocks("sql", "as recipients")
    [end] = PAGE.blocks("sql", "where campaign_id = $1")

    [found] = records.rows(database, find.rstrip().rstrip(";"))
    assert (found["id"], found["recipients"]) == (campaign, len(records.recipients(database, campaign)))
    database.execute(end.split(";")[1].replace("$1", "%s").encode(), (campaign,))
    automation().launch()

    assert set(records.recipients(database, campaign)) == set(contacts)


@pytest.mark.every_version
def test_the_status_becomes_an_enum_as_the_page_says(
    organization: UUID, factory: Factory, automation: Callable[..., Automation], database: Connection
) -> None:
    contacts = factory.contacts(organization, 3)
    campaign = factory.campaign(organization)
    [away] = PAGE.blocks("sql", "drop index public.campaign_runner_due_idx")

    with database.transaction():
        database.execute(away.encode())
        database.execute(STATUS_AS_ENUM)
    for name in ("create_indexes", "create_functions"):
        [file] = MIGRATIONS.glob(f"*_{name}.sql")
        database.execute(file.read_bytes())
    automation().launch()

    assert set(records.recipients(database, campaign)) == set(contacts)
    assert automation().doctor()["facts"]["requirements"] == []
