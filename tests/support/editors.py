"""People who edit contacts, rules and schedules while runs are at work and are harmed."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from random import Random
from threading import Event, Lock
from typing import Any
from uuid import UUID, uuid4

import psycopg

from tests.support import records
from tests.support.edits import Edits
from tests.support.factory import Factory
from tests.support.rig import Rig, Scene

Connection = psycopg.Connection[Any]
Edit = Callable[[Connection, Random], None]

PACE_SECONDS = 0.03  # between two edits of one editor
CHANGES_OF_RULES = 6  # each sends a launch back to the start of its reconcile: with more, no run would end
SHARE_OF_CHANGES = 0.1  # of the edits of rules
SHARE_LEFT_PAUSED = 0.5  # of the pauses of long campaigns, most of which come in the middle of a launch
LOST_CONNECTION = ("08", "57P")  # classes of SQLSTATE; a connection that breaks has none

# For the tag and the countries of the scene. None excludes the contact at which a step may be held up.
RULES: tuple[Mapping[str, Any], ...] = (
    {},
    {"exclude_countries": ["AT"]},
    {"exclude_countries": ["AT", "CH"], "exclude_tags": ["VIP"]},
    {"exclude_inactive": False},
    {"exclude_unsubscribed": False, "exclude_tags": ["VIP"]},
)


@contextmanager
def editors(rig: Rig, scene: Scene, random: Random) -> Iterator[Edits]:
    """People edit until the block ends. Then what is paused is scheduled again.

    The block begins when each of them has edited once. Their connections do not pass the proxy; one that breaks is made
    again. The contact in the middle, and the first campaign's status, stay as they are.
    """
    edits = Edits()
    crowd = _Crowd(scene, edits)
    over = Event()
    begun = [Event() for _ in crowd.edits()]
    with ThreadPoolExecutor(len(begun)) as threads:
        try:
            working = [
                threads.submit(_edit, rig, edit, edits, Random(random.random()), begins, over)
                for edit, begins in zip(crowd.edits(), begun, strict=True)
            ]
            for begins in begun:
                begins.wait()
            yield edits
        finally:
            over.set()
    for each in working:
        each.result()
    with rig.connect() as database:
        edits.rescheduled.update(crowd.schedule_again(database))


def _edit(rig: Rig, edit: Edit, edits: Edits, random: Random, begins: Event, over: Event) -> None:
    """One editor: the same kind of edit, again and again."""
    try:
        while not over.is_set():
            try:
                with rig.connect() as database:
                    while not over.is_set():
                        edit(database, random)
                        begins.set()
                        over.wait(PACE_SECONDS)
            except psycopg.OperationalError as error:
                if error.sqlstate is not None and not error.sqlstate.startswith(LOST_CONNECTION):
                    edits.refused.append(f"an edit was refused: {error}")
                over.wait(PACE_SECONDS)
    finally:
        begins.set()  # an editor who fails keeps nobody waiting


class _Crowd:
    """What editors do. Each edit is for a thread of its own."""

    def __init__(self, scene: Scene, edits: Edits) -> None:
        self._record = edits
        spared = {scene.middle, *(contact for kept in scene.kept.values() for contact in kept)}
        self._contacts = [contact for contact in scene.contacts if contact not in spared]
        self._lock = Lock()
        self._spared = spared
        self._due = list(scene.due)
        self._with_rules = [campaign for campaign in scene.due if campaign not in scene.kept]
        self._changes_of_rules = 0
        self._pausable = self._due[1:]
        self._long = scene.more
        self._paused: UUID | None = None  # for a moment
        self._left_paused: set[UUID] = set()

    def edits(self) -> tuple[Edit, ...]:
        """Each kind of edit."""
        return (
            self.delete_contact,
            self.delete_recipient,
            self.insert_contact,
            self.unsubscribe_contact,
            self.correct_contact,
            self.save_rules,
            self.pause_campaign,
        )

    def delete_contact(self, database: Connection, random: Random) -> None:
        self._delete(database, self._contact(random))

    def delete_recipient(self, database: Connection, random: Random) -> None:
        query = """
            select contact_id from campaign_recipients where campaign_id = %s and contact_id >= %s
            order by campaign_id, contact_id limit 1
        """
        for row in records.rows(database, query, random.choice(self._due), uuid4()):
            if row["contact_id"] not in self._spared:
                self._delete(database, row["contact_id"])

    def insert_contact(self, database: Connection, random: Random) -> None:
        """Of two inserted contacts, one is a twin."""
        query = "select organization_id, email from contacts where id = %s"
        for other in records.rows(database, query, self._contact(random)):
            contact = uuid4()
            address = f" {other['email']}".upper() if random.random() < 0.5 else f"{contact}@example.org"
            self._record.touch(contact, address)
            country = random.choice((None, "AT", "DE"))
            Factory(database).contact(other["organization_id"], id=contact, email=address, country=country)
            with self._lock:
                self._contacts.append(contact)

    def unsubscribe_contact(self, database: Connection, random: Random) -> None:
        """Or subscribe it again, which counts for all its twins."""
        self._update(database, self._contact(random), "is_subscribed = not is_subscribed")

    def correct_contact(self, database: Connection, random: Random) -> None:
        """None makes a contact eligible again: of twins in two chunks, each could then be the only one in its turn."""
        contact = self._contact(random)
        address = f"{uuid4()}@example.org"
        self._record.touch(contact, address)
        changes = ("country = 'AT'", "first_name = 'Ann'", "is_active = false", "deleted_at = now()")
        self._update(database, contact, random.choice((*changes, f"email = '{address}'")))

    def save_rules(self, database: Connection, random: Random) -> None:
        """As an app saves them, every time the page is left: mostly the same values, now and then others.

        Like an app, the editor changes no rules of a launched campaign, so that the last rules are those of the launch.
        """
        campaign = random.choice(self._with_rules)
        with database.transaction():
            if random.random() < SHARE_OF_CHANGES and self._changes_of_rules < CHANGES_OF_RULES:
                query = "select from campaigns where id = %s and status in ('scheduled', 'paused') for share"
                if database.execute(query, (campaign,)).fetchall():
                    self._changes_of_rules += 1
                    self._replace_rules(database, campaign, random.choice(RULES))
            elif random.random() < 0.5:
                [rules] = records.rows(database, "select * from campaign_target_rules where campaign_id = %s", campaign)
                self._replace_rules(database, campaign, rules)
            else:
                query = "update campaign_target_rules set exclude_tags = exclude_tags, updated_at = now()"
                database.execute(f"{query} where campaign_id = %s".encode(), (campaign,))

    def pause_campaign(self, database: Connection, random: Random) -> None:
        """And schedule it again by the next edit, or leave it paused."""
        if self._paused is not None:
            campaign, self._paused = self._paused, None
            again = "update campaigns set status = 'scheduled' where id = %s and status = 'paused'"
            if not database.execute(again, (campaign,)).rowcount:
                self._record.overruled.append(f"{campaign} did not stay paused")
        elif self._pausable:
            campaign = random.choice(self._pausable)
            pause = "update campaigns set status = 'paused' where id = %s and status = 'scheduled'"
            if not database.execute(pause, (campaign,)).rowcount:
                return
            if campaign in self._long and random.random() < SHARE_LEFT_PAUSED:
                self._pausable.remove(campaign)
                self._left_paused.add(campaign)
            else:
                self._paused = campaign

    def schedule_again(self, database: Connection) -> set[UUID]:
        """Schedule all that is paused. Returns these campaigns, each of which gets its exact audience.

        A launch in the middle of its reconcile reads no contact again, unless it gets a new schedule.
        """
        rows = records.rows(
            database,
            """
            update campaigns c set
                status = 'scheduled',
                scheduled_at = case when exists (
                    select from campaign_runner.launches l where l.campaign_id = c.id and l.state = 'reconciling'
                ) then now() else c.scheduled_at end
            where c.status = 'paused' and c.id = any (%s)
            returning c.id
            """,
            self._due,
        )
        campaigns = {row["id"] for row in rows}
        for campaign in self._left_paused - campaigns:
            self._record.overruled.append(f"{campaign} did not stay paused")
        return campaigns

    def _contact(self, random: Random) -> UUID:
        with self._lock:
            return random.choice(self._contacts)

    def _delete(self, database: Connection, contact: UUID) -> None:
        self._touch(database, contact)
        Factory(database).delete("contacts", [contact])
        with self._lock, suppress(ValueError):  # another editor was faster
            self._contacts.remove(contact)

    def _update(self, database: Connection, contact: UUID, assignment: str) -> None:
        self._touch(database, contact)
        database.execute(f"update contacts set {assignment} where id = %s".encode(), (contact,))

    def _touch(self, database: Connection, contact: UUID) -> None:
        addresses = records.rows(database, "select email from contacts where id = %s", contact)
        self._record.touch(contact, *(row["email"] for row in addresses))

    def _replace_rules(self, database: Connection, campaign: UUID, rules: Mapping[str, Any]) -> None:
        database.execute("delete from campaign_target_rules where campaign_id = %s", (campaign,))
        Factory(database).rules(campaign, **rules)
