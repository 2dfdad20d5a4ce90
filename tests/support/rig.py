"""A whole installation that a test may harm: Postgres, the REST server, a proxy before it, and the function."""

from __future__ import annotations

import secrets
from collections.abc import Collection, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any
from uuid import UUID, uuid4

import httpx
import psycopg

from local.function import Function
from local.stack import Stack
from tests.support.caller import Caller
from tests.support.edits import Edits
from tests.support.factory import Factory
from tests.support.fault_proxy import FaultProxy, no_fault
from tests.support.invariants import Violations, violations

RUNS_UNTIL_SETTLED = 10
CONTACTS = 2_500  # of the long campaign; small steps make at least six of it


@dataclass(frozen=True)
class Scene:
    """Campaigns in the database. `due` are to be launched; `kept` of them had these recipients before."""

    due: Sequence[UUID]  # the first one is the long one
    kept: Mapping[UUID, Collection[UUID]]
    middle: UUID  # a contact in the middle of the long audience
    contacts: Sequence[UUID]  # of the two organizations with campaigns
    more: Sequence[UUID] = ()  # long ones beside the first one
    run_seconds: float = 0.4  # of a run that nothing disturbs, at most


class Rig:
    """The installation. Its calls keep the answers 200 by the run's id."""

    def __init__(self, stack: Stack, proxy: FaultProxy) -> None:
        self.stack = stack
        self.proxy = proxy
        self.system_user = uuid4()
        self.token = secrets.token_urlsafe(32)
        self.answers: dict[UUID, Any] = {}
        with self.connect() as database:
            Factory(database).user(id=self.system_user)

    def environment(self, **settings: str) -> dict[str, str]:
        """The settings of a function behind the proxy, whose steps are small."""
        return {
            "SUPABASE_URL": self.proxy.url,
            "SUPABASE_SECRET_KEY": self.stack.project.secret_key,
            "SYSTEM_USER_ID": str(self.system_user),
            "RUNNER_TOKENS": self.token,
            "STEP_ROWS": "200",
            "RUN_CONCURRENCY": "2",
            **settings,
        }

    @contextmanager
    def connect(self) -> Iterator[psycopg.Connection[Any]]:
        """A connection of the owner of the tables, in autocommit."""
        with psycopg.connect(self.stack.project.database_url, autocommit=True) as database:
            yield database

    def set_scene(self) -> Scene:
        """Empty the tables, and schedule a long campaign, short ones, one with recipients, and two that are not due."""
        self.proxy.follow(no_fault)
        self.answers.clear()
        with self.connect() as database:
            factory = Factory(database)
            factory.empty()
            long, short = (factory.organization(self.system_user) for _ in range(2))
            contacts = factory.contacts(long, CONTACTS)
            for contact in contacts[::50]:
                factory.update("contacts", contact, is_subscribed=False)
            few = factory.contacts(short, 30)
            due = [factory.campaign(long), *(factory.campaign(short, rules={}) for _ in range(5))]
            made_before = factory.campaign(short)
            factory.recipient(made_before, few[7])
            factory.campaign(short, status="paused")
            factory.campaign(short, due_in=None, status="draft")
        return Scene([*due, made_before], {made_before: few[7:8]}, contacts[CONTACTS // 2 + 1], [*contacts, *few])

    def set_edited_scene(self) -> Scene:
        """The same for editors: with rules, twins, countries, a tag, and more long campaigns, one of them paused."""
        scene = self.set_scene()
        contacts = scene.contacts
        with self.connect() as database:
            factory = Factory(database)
            [(organization,)] = database.execute("select organization_id from contacts where id = %s", (scene.middle,))
            database.execute("update contacts set country = 'AT' where id = any (%s)", (contacts[3::10],))
            database.execute("update contacts set country = 'CH' where id = any (%s)", (contacts[4::10],))
            database.execute("update contacts set is_active = false where id = any (%s)", (contacts[5::100],))
            for number, twin in enumerate(contacts[6:2000:100]):
                for contact in (twin, contacts[-50 - number]):
                    factory.update("contacts", contact, email=f"twin{number}@example.org")
            factory.tag(organization, "VIP", *contacts[7:2000:50])
            more = [factory.campaign(organization, status=status) for status in ("scheduled", "scheduled", "paused")]
            for campaign in (scene.due[0], *more):
                factory.rules(campaign)
        return replace(scene, due=[*scene.due, *more], more=more, run_seconds=1.5)

    def call(self, function: Function) -> httpx.Response:
        """Call the function. Raises httpx.TransportError when it dies."""
        return Caller(url=function.url, token=self.token, answers=self.answers).post()

    @contextmanager
    def calling(self, function: Function) -> Iterator[None]:
        """A call that goes on beside the block, and whose answer may be lost."""
        with ThreadPoolExecutor(1) as caller:
            call = caller.submit(self.call, function)
            yield
            error = call.exception()
        if error is not None and not isinstance(error, httpx.TransportError):
            raise error

    def settle(self, function: Function, scene: Scene, edits: Edits | None = None) -> Violations:
        """Run as the scheduler would, in peace, until everything is launched; then look for violations.

        `edits`: what editors did before.
        """
        self.proxy.follow(no_fault)
        for _ in range(RUNS_UNTIL_SETTLED):
            self.call(function)
            with self.connect() as database:
                open_ones = "select from campaigns where status = 'scheduled' and scheduled_at <= now()"
                if not database.execute(open_ones).fetchall():
                    break
        last = self.call(function)
        with self.connect() as database:
            found = violations(database, due=scene.due, kept=scene.kept, answers=self.answers, edits=edits)
        if last.status_code != 200 or last.json()["processed_count"]:
            found.duplicated.append(f"a run with nothing due answered {last.status_code}: {last.text}")
        return found
