"""A dump of both schemas, restored by the commands of docs/operations.md, holds the launch that was under way."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import psycopg
import pytest

from local import binaries
from local.migration import apply_migrations
from local.postgres import Postgres
from tests.support import records
from tests.support.automation import Automation
from tests.support.documentation import Page
from tests.support.factory import Factory

PAGE = Page("docs/operations.md")

pytestmark = pytest.mark.slow


def test_a_launch_in_the_middle_goes_on_in_a_restored_database_to_its_whole_audience(
    postgres: Postgres, tmp_path: Path
) -> None:
    old, new = postgres.create_database("old"), postgres.create_database("new")
    apply_migrations(old)
    with psycopg.connect(old, autocommit=True) as database:
        factory = Factory(database)
        user = factory.user()
        organization = factory.organization(user)
        contacts = factory.contacts(organization, 6)
        campaign = factory.campaign(organization)
        Automation(database, user, max_rows=2).first_chunk()
        assert 0 < len(records.recipients(database, campaign)) < 6
    with psycopg.connect(new, autocommit=True) as database:
        Factory(database).insert("auth.users", {"id": user, "email": "system@example.org"})

    [commands] = PAGE.blocks("sh", "pg_dump")
    subprocess.run(
        ["/bin/sh", "-eu", "-c", commands],
        cwd=tmp_path,
        env={
            "PATH": f"{binaries.installation(18) / 'bin'}:{os.defpath}",
            "DATABASE_URL": old,
            "NEW_DATABASE_URL": new,
        },
        capture_output=True,
        check=True,
        timeout=60,
    )

    with psycopg.connect(new, autocommit=True) as database:
        database.execute("set role service_role")
        Automation(database, user).launch()
        database.execute("reset role")
        assert records.status(database, campaign) == "sending"
        assert sorted(records.recipients(database, campaign)) == contacts
