"""People edit, contacts come and go, runs step, crash and overlap, in the orders that Hypothesis thinks of."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from typing import Any
from uuid import UUID, uuid4

import psycopg
import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    Bundle,
    RuleBasedStateMachine,
    consumes,
    initialize,
    multiple,
    precondition,
    rule,
    run_state_machine_as_test,
)

from tests.support import oracle, records
from tests.support.automation import Automation
from tests.support.factory import Factory

Connection = psycopg.Connection[Any]
Row = dict[str, Any]
Range = tuple[UUID, UUID | None]  # from, and up to but without; None: to the end

EXAMPLES = (15, pytest.param(int(os.environ.get("MACHINE_EXAMPLES", "30")), marks=pytest.mark.slow))
ORGANIZATIONS = (UUID(int=1), UUID(int=2))
LAST = UUID(int=2**128 - 1)

CONTACTS = st.fixed_dictionaries(
    {"email": st.sampled_from(["a@example.org", " A@example.org", "b@example.org", "c@example.org", None])},
    optional={
        "country": st.sampled_from(["DE", " de", "FR", None]),
        "is_active": st.sampled_from([True, False, None]),
        "is_subscribed": st.sampled_from([True, False, None]),
        "deleted_at": st.sampled_from([None, "2026-01-01"]),
        "mobile": st.just("+49 30 1234567"),
    },
)
RULES = st.none() | st.fixed_dictionaries(
    {},
    optional={
        "include_tags": st.just(["vip"]),
        "exclude_tags": st.just(["vip"]),
        "include_emails": st.just(["a@example.org", "b@example.org"]),
        "exclude_countries": st.just(["DE"]),
        "exclude_unsubscribed": st.booleans(),
        "exclude_bounced": st.booleans(),
    },
)
PEOPLE = st.lists(st.tuples(st.uuids(allow_nil=True), CONTACTS), min_size=6, max_size=14)
WORKERS = st.sampled_from([0, 1, 2])
STEP_ROWS = st.sampled_from([1, 1, 1, 2, 50])


@dataclass
class Step:
    """What a step did, for when it is committed."""

    run_id: UUID
    launched: list[UUID] = field(default_factory=list)
    covered: dict[int, dict[UUID, str | None]] = field(default_factory=dict)
    sent_back: dict[int, set[UUID]] = field(default_factory=dict)


class Machine(RuleBasedStateMachine):
    """Two organizations, and three workers: the first two belong to one run, the third to a rival.

    The model knows, for each open launch, with which verdict each contact was covered: the oracle's, over the tables as
    they were when the step was called. That is what the final update must find, and not a contact more or less.
    """

    contacts = Bundle("contacts")
    campaigns = Bundle("campaigns")

    def __init__(self, database: Connection, system_user: UUID, workers: Sequence[Automation]) -> None:
        super().__init__()
        self.database = database
        self.factory = Factory(database)
        self.system_user = system_user
        self.workers = workers
        self.open: dict[int, Step] = {}
        self.covered: dict[int, dict[UUID, str | None]] = {}
        self.launches: Counter[UUID] = Counter()
        self.launched_by: dict[UUID, list[UUID]] = {}
        self.excused: set[UUID] = set()  # may fail: the system user was no member, or rows were changed by hand
        for worker in workers:
            worker.rollback()
        self.factory.empty()
        for organization in ORGANIZATIONS:
            self.factory.organization(self.system_user, id=organization)
            self.factory.tag(organization, "vip", id=organization)

    # What people do. Nobody waits for a lock for longer than a moment: then the edit is not made.

    @initialize(target=contacts, people=PEOPLE, others=PEOPLE)
    def begin_with_contacts(self, people: list[tuple[UUID, Row]], others: list[tuple[UUID, Row]]) -> Any:
        for organization, crowd in zip(ORGANIZATIONS, (people, others), strict=True):
            for contact, fields in crowd:
                self._add(self.factory.contact, organization, id=contact, **fields)
        return multiple(*[contact for contact, _ in people + others])

    @initialize(target=campaigns, campaigns=st.lists(st.tuples(st.uuids(), RULES), min_size=1, max_size=3))
    def begin_with_campaigns(self, campaigns: list[tuple[UUID, Row | None]]) -> Any:
        for campaign, rules in campaigns:
            self.schedule_campaign(ORGANIZATIONS[0], campaign, rules)
        return multiple(*[campaign for campaign, _ in campaigns])

    @rule(target=contacts, organization=st.sampled_from(ORGANIZATIONS), contact=st.uuids(), fields=CONTACTS)
    def add_contact(self, organization: UUID, contact: UUID, fields: Row) -> UUID:
        self._add(self.factory.contact, organization, id=contact, **fields)
        return contact

    @rule(contact=contacts, fields=CONTACTS)
    def edit_contact(self, contact: UUID, fields: Row) -> None:
        assignments = ", ".join(f"{column} = %s" for column in fields)
        self._edit(f"update contacts set {assignments} where id = %s", *fields.values(), contact)

    @rule(target=contacts, contact=consumes(contacts))
    def delete_contact(self, contact: UUID) -> Any:
        return multiple() if self._edit("delete from contacts where id = %s", contact) else contact

    @rule(contact=contacts)
    def tag(self, contact: UUID) -> None:
        self._edit(
            "insert into contact_tag_assignments (contact_id, tag_id)"
            " select id, organization_id from contacts where id = %s on conflict do nothing",
            contact,
        )

    @rule(contact=contacts)
    def untag(self, contact: UUID) -> None:
        self._edit("delete from contact_tag_assignments where contact_id = %s", contact)

    @rule(target=campaigns, organization=st.sampled_from(ORGANIZATIONS), campaign=st.uuids(), rules=RULES)
    def schedule_campaign(self, organization: UUID, campaign: UUID, rules: Row | None) -> UUID:
        self._add(self.factory.campaign, organization, id=campaign)
        self.edit_rules(campaign, rules)
        return campaign

    @rule(campaign=campaigns, rules=RULES)
    def edit_rules(self, campaign: UUID, rules: Row | None) -> None:
        if not self._edit("delete from campaign_target_rules where campaign_id = %s", campaign) or rules is None:
            return
        self._edit(
            f"insert into campaign_target_rules ({', '.join(['campaign_id', 'organization_id', *rules])})"
            f" select {', '.join(['id', 'organization_id', *['%s'] * len(rules)])} from campaigns where id = %s",
            *(*rules.values(), campaign),
        )

    @rule(campaign=campaigns)
    def pause(self, campaign: UUID) -> None:
        self._edit("update campaigns set status = 'paused' where id = %s", campaign)

    @rule(campaign=campaigns)
    def schedule_again(self, campaign: UUID) -> None:
        self._edit("update campaigns set status = 'scheduled', scheduled_at = now() where id = %s", campaign)

    @rule(campaign=campaigns)
    def postpone(self, campaign: UUID) -> None:
        self._edit("update campaigns set scheduled_at = now() + interval '1 day' where id = %s", campaign)

    @rule(target=campaigns, campaign=consumes(campaigns))
    def delete_campaign(self, campaign: UUID) -> Any:
        return multiple() if self._edit("delete from campaigns where id = %s", campaign) else campaign

    @rule(campaign=campaigns, contact=contacts)
    def add_recipient_by_hand(self, campaign: UUID, contact: UUID) -> None:
        self.excused.add(campaign)
        self._edit(
            "insert into campaign_recipients (campaign_id, contact_id, organization_id)"
            " select k.id, c.id, k.organization_id from campaigns k join contacts c using (organization_id)"
            " where (k.id, c.id) = (%s, %s) on conflict do nothing",
            *(campaign, contact),
        )

    @rule(campaign=campaigns, contact=contacts)
    def delete_recipient_by_hand(self, campaign: UUID, contact: UUID) -> None:
        self.excused.add(campaign)
        self._edit("delete from campaign_recipients where (campaign_id, contact_id) = (%s, %s)", *(campaign, contact))

    @rule(contact=contacts)
    def bounce(self, contact: UUID) -> None:
        self._edit(
            "update campaign_recipients r set status = 'bounced' from campaigns k"
            " where k.id = r.campaign_id and k.status = 'sending' and r.contact_id = %s",
            contact,
        )

    @rule(organization=st.sampled_from(ORGANIZATIONS))
    def end_membership(self, organization: UUID) -> None:
        self._edit("delete from organization_members where organization_id = %s", organization)

    @rule(organization=st.sampled_from(ORGANIZATIONS))
    def renew_membership(self, organization: UUID) -> None:
        self._join(organization)

    # What runs do.

    @rule(worker=WORKERS, max_rows=STEP_ROWS, times=st.integers(1, 25))
    def step(self, worker: int, max_rows: int, times: int) -> None:
        if worker not in self.open:
            for _ in range(times):
                self._begin_step(worker, max_rows)
                self._commit(worker)

    @rule(worker=WORKERS, max_rows=STEP_ROWS, times=st.integers(0, 25))
    def begin_step(self, worker: int, max_rows: int, times: int) -> None:
        self.step(worker, max_rows, times)
        if worker not in self.open:
            self._begin_step(worker, max_rows)

    @precondition(lambda self: self.open)
    @rule(data=st.data(), crashes=st.booleans())
    def end_step(self, data: st.DataObject, crashes: bool) -> None:
        worker = data.draw(st.sampled_from(sorted(self.open)))
        if crashes:
            del self.open[worker]
            self.workers[worker].rollback()
        else:
            self._commit(worker)

    @rule(worker=st.sampled_from([0, 2]))
    def report(self, worker: int) -> None:
        run = self.workers[worker]
        if any(step.run_id == run.run_id for step in self.open.values()):
            return
        report = run.report()
        assert report == run.report()
        reported = sorted(UUID(campaign["campaign_id"]) for campaign in report["campaigns"])
        assert reported == sorted(self.launched_by.get(run.run_id, []))
        assert {UUID(error["campaign_id"]) for error in report["errors"]} <= self.excused
        closed, run_id = run.run_id, uuid4()
        for each in self.workers:
            if each.run_id == closed:
                each.run_id = run_id

    def teardown(self) -> None:
        """Nobody edits any more, and the calls go on: everything due is launched, once."""
        for worker in list(self.open):
            self._commit(worker)
        for organization in ORGANIZATIONS:
            self._join(organization)
        self.workers[0].retry()
        # Generated and reconciled, a contact at a time; and as much again for what is sent back.
        [(steps,)] = self.database.execute(
            "select 4 * (select count(*) from campaigns) * (select count(*) + 1 from contacts)"
        ).fetchall()
        for _ in range(steps + 1):
            answer = self._begin_step(0, 1)
            self._commit(0)
            if not answer["work_left"] and not answer["busy"]:
                break
        for worker in (0, 2):
            self.report(worker)
        due = "select id from campaigns where status = 'scheduled' and scheduled_at <= now()"
        assert records.rows(self.database, due) == []
        for counted in (
            "select campaign_id as id from campaign_runner.launches where state = 'launched'",
            "select (payload ->> 'campaign_id')::uuid as id from activity_events",
        ):
            assert Counter(row["id"] for row in records.rows(self.database, counted)) == self.launches

    def _begin_step(self, worker: int, max_rows: int) -> dict[str, Any]:
        run = self.workers[worker]
        tables = oracle.read(self.database)
        members = {row["organization_id"] for row in records.rows(self.database, "select * from organization_members")}
        self.excused |= {k["id"] for k in tables["campaigns"] if k["organization_id"] not in members}
        campaigns = {campaign["id"] for campaign in tables["campaigns"]}
        before = self._launches(run.connection)
        answer = run.step(max_rows=max_rows, commit=False)
        step = Step(run.run_id)
        for id, launch in self._launches(run.connection).items():
            earlier = before.get(id)
            if launch["state"] == "launched" and (earlier is None or earlier["state"] != "launched"):
                assert launch["run_id"] == run.run_id
                self._check_launch(run, tables, launch, earlier)
                assert launch["organization_id"] in members
                step.launched.append(launch["campaign_id"])
            elif launch["state"] in ("generating", "reconciling") and launch["campaign_id"] in campaigns:
                self._note_cover(step, tables, launch, earlier["ranges"] if earlier else [])
        assert answer["launched"] == len(step.launched)
        self.open[worker] = step
        return answer

    def _check_launch(self, run: Automation, tables: oracle.Tables, launch: Row, earlier: Row | None) -> None:
        campaign_id = launch["campaign_id"]
        [campaign] = [k for k in tables["campaigns"] if k["id"] == campaign_id]
        assert campaign["status"] == "scheduled"
        assert launch["scheduled_at"] == campaign["scheduled_at"]
        made_before = {r["contact_id"] for r in tables["campaign_recipients"] if r["campaign_id"] == campaign_id}
        if earlier is None or earlier["state"] == "opened":
            assert launch["generates"] == (not made_before)
        verdicts = oracle.audience(tables, campaign_id)
        if not launch["generates"]:
            expected = made_before
        else:
            ranges = earlier["ranges"] if earlier else []
            covered = self.covered.get(launch["id"], {})
            expected = oracle.recipients(covered) & verdicts.keys()
            expected |= {c for c in oracle.recipients(verdicts) if not _lies_in(c, ranges)}
            if not ranges:
                assert (launch["contacts"], launch["excluded"]) == (len(verdicts), oracle.counts(verdicts))
        [(there,)] = run.connection.execute(
            "select coalesce(array_agg(contact_id), '{}') from campaign_recipients where campaign_id = %s",
            (campaign_id,),
        ).fetchall()
        assert set(there) == expected
        assert launch["recipient_count"] == len(there)

    def _note_cover(self, step: Step, tables: oracle.Tables, launch: Row, ranges: list[Range]) -> None:
        id = launch["id"]
        step.sent_back[id] = {c for c in self.covered.get(id, {}) if not _lies_in(c, launch["ranges"])}
        step.covered[id] = {
            contact: verdict
            for contact, verdict in oracle.audience(tables, launch["campaign_id"]).items()
            if _lies_in(contact, launch["ranges"]) and not _lies_in(contact, ranges)
        }

    def _commit(self, worker: int) -> None:
        step = self.open.pop(worker)
        self.workers[worker].commit()
        for campaign in step.launched:
            self.launches[campaign] += 1
            self.launched_by.setdefault(step.run_id, []).append(campaign)
        for launch, contacts in step.sent_back.items():
            for contact in contacts:
                del self.covered[launch][contact]
        for launch, verdicts in step.covered.items():
            self.covered.setdefault(launch, {}).update(verdicts)

    def _launches(self, connection: Connection) -> dict[int, Row]:
        launches = records.rows(connection, "select * from campaign_runner.launches")
        chunks = records.rows(connection, "select * from campaign_runner.launch_chunks")
        for launch in launches:
            launch["ranges"] = [
                (each["lo"], each["cursor"] or (None if each["hi"] == LAST else each["hi"]))
                for each in chunks
                if each["launch_id"] == launch["id"] and each["cursor"] != each["lo"]
            ]
        return {launch["id"]: launch for launch in launches}

    def _join(self, organization: UUID) -> None:
        self._add(self.factory.member, organization, self.system_user)

    def _add(self, insert: Callable[..., object], *values: Any, **fields: Any) -> None:
        """Insert a row that is not there yet."""
        with suppress(psycopg.errors.UniqueViolation, psycopg.errors.LockNotAvailable), self._moment():
            insert(*values, **fields)

    def _edit(self, statement: str, *values: Any) -> bool:
        try:
            with self._moment():
                self.database.execute(statement.encode(), values)
        except psycopg.errors.LockNotAvailable:
            return False
        return True

    @contextmanager
    def _moment(self) -> Iterator[None]:
        """A transaction that hardly waits. Reads do not fail where autovacuum holds a catalog."""
        with self.database.transaction():
            self.database.execute("set local lock_timeout = '1ms'")
            yield


def _lies_in(contact: UUID, ranges: Sequence[Range]) -> bool:
    return any(lo <= contact and (end is None or contact < end) for lo, end in ranges)


@pytest.mark.parametrize("examples", EXAMPLES)
def test_no_order_of_edits_steps_crashes_and_overlaps_breaks_a_promise(
    examples: int, database: Connection, system_user: UUID, new_run: Callable[..., Automation]
) -> None:
    run = new_run()
    workers = [run, new_run(run), new_run()]
    run_state_machine_as_test(
        lambda: Machine(database, system_user, workers),  # type: ignore[arg-type]  # any callable that makes one
        settings=settings(
            max_examples=examples,
            stateful_step_count=50,
            deadline=None,
            report_multiple_bugs=False,
            derandomize="MACHINE_EXAMPLES" not in os.environ,
            suppress_health_check=list(HealthCheck),
        ),
    )
