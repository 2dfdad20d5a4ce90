"""The one predicate against an oracle that knows nothing of its SQL."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from itertools import pairwise
from typing import Any
from uuid import UUID, uuid4

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.conftest import Connection
from tests.support import oracle, records
from tests.support.automation import Automation
from tests.support.factory import Factory

Row = dict[str, Any]

LOWEST = UUID(int=0)
HIGHEST = UUID(int=2**128 - 1)
# Neighbours and both ends of the range, and some between.
IDS = [
    LOWEST,
    UUID(int=1),
    UUID(int=2),
    *(UUID(int=n << 120) for n in range(8, 256, 24)),
    UUID(int=2**128 - 2),
    HIGHEST,
]

# One database for all examples of a test: each begins with empty tables.
examples = settings(deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])

flags = st.sampled_from([None, True, False])
mostly_true = st.sampled_from([True, True, True, None, False])
tag_names = st.sampled_from(["vip", "VIP", " vip", "lapsed", "new"])


def spellings(*words: str) -> st.SearchStrategy[str | None]:
    """Each word in several cases and between blanks, only blanks, nothing, and NULL."""
    cases = [spelling for word in words for spelling in (word, word.upper(), word.title())]
    return st.sampled_from(
        [None, "", " \t\n", *cases, *(f" {case}" for case in cases), *(f"\t{case}\n " for case in cases)]
    )


emails = spellings("ann@example.org", "bob@example.org", "eve@example.org")
countries = spellings("de", "us")


def lists(entries: st.SearchStrategy[Any]) -> st.SearchStrategy[list[Any] | None]:
    """NULL and the empty list are as likely as a list with entries."""
    return st.none() | st.just([]) | st.lists(entries, min_size=1, max_size=3)


people = st.fixed_dictionaries(
    {
        "email": emails,
        "mobile": st.sampled_from([None, None, " ", "+41 79 000 00 00"]),
        "country": countries,
        "is_active": mostly_true,
        "is_subscribed": mostly_true,
        "deleted_at": st.sampled_from([None, None, None, None, "2026-01-01"]),
    }
)
targets = st.fixed_dictionaries(
    {
        "include_emails": lists(emails),
        "include_tags": lists(tag_names | st.sampled_from(["nobody", "", None])),
        "exclude_tags": lists(tag_names | st.sampled_from(["nobody", "", None])),
        "exclude_countries": lists(countries),
        "exclude_unsubscribed": flags,
        "exclude_inactive": flags,
        "exclude_bounced": flags,
    }
)


@dataclass
class World:
    """The rows of two organizations, and of one campaign whose audience is asked for."""

    organization: UUID
    campaign: UUID
    tables: dict[str, list[Row]]

    def insert(self, factory: Factory) -> None:
        for table, rows in self.tables.items():
            factory.insert(table, *rows)


@st.composite
def worlds(draw: st.DrawFn) -> World:
    ours, foreign = uuid4(), uuid4()
    tags = {
        (organization, name): uuid4()
        for organization in (ours, foreign)
        for name in draw(st.lists(tag_names, unique=True, max_size=3))
    }
    campaigns: list[Row] = [
        {"id": uuid4(), "organization_id": organization, "name": name, "status": status}
        for organization, name, status in [
            (ours, "asked", "draft"),
            (ours, "earlier", "sent"),
            (foreign, "foreign", "sent"),
        ]
    ]
    contacts: list[Row] = []
    assignments: list[Row] = []
    recipients: list[Row] = []
    for id in draw(st.lists(st.sampled_from(IDS), unique=True, max_size=10)):
        contacts.append({"id": id, "organization_id": draw(st.sampled_from([ours] * 4 + [foreign])), **draw(people)})
        # Assignments and bounces cross tenants, as they can in a project whose keys do not forbid it.
        for (organization, _), tag in tags.items():
            if draw(st.sampled_from([False, False, True])):
                assignments.append({"contact_id": id, "tag_id": tag, "organization_id": organization})
        for campaign in campaigns[1:]:
            status = draw(st.sampled_from([None, None, "sent", "bounced"]))
            if status:
                recipients.append(
                    {
                        "campaign_id": campaign["id"],
                        "contact_id": id,
                        "organization_id": campaign["organization_id"],
                        "status": status,
                    }
                )
    rules = {"campaign_id": campaigns[0]["id"], "organization_id": ours, **draw(targets)}
    return World(
        ours,
        campaigns[0]["id"],
        {
            "organizations": [{"id": ours, "name": "Ours"}, {"id": foreign, "name": "Foreign"}],
            "contacts": contacts,
            "contact_tags": [
                {"id": id, "organization_id": organization, "name": name} for (organization, name), id in tags.items()
            ],
            "contact_tag_assignments": assignments,
            "campaigns": campaigns,
            "campaign_target_rules": [rules] if draw(st.sampled_from([True, True, True, True, False])) else [],
            "campaign_recipients": recipients,
        },
    )


@pytest.fixture
def empty(database: Connection) -> Callable[[], None]:
    """Empties the tables. Recipients and tags may cross tenants here, as in a project that is not of our making."""
    database.execute("alter table campaign_recipients drop constraint campaign_recipients_contact_of_tenant")
    database.execute(
        "alter table contact_tag_assignments drop constraint contact_tag_assignments_contact_of_tenant,"
        " drop constraint contact_tag_assignments_tag_of_tenant"
    )

    def empty() -> None:
        database.execute("delete from campaign_recipients")
        database.execute("delete from organizations")
        database.execute("delete from campaign_runner.launches")

    return empty


def judged(
    database: Connection, campaign: UUID, *bounds: UUID, twins_at_most: int = 100
) -> list[tuple[UUID, str | None]]:
    arguments = ", ".join(["%s"] * (1 + len(bounds)))
    query = f"select contact_id, reason from campaign_runner.evaluate_contacts({arguments}, p_twins_at_most => %s)"
    found = records.rows(database, query, campaign, *bounds, twins_at_most)
    return [(row["contact_id"], row["reason"]) for row in found]


@pytest.mark.every_version
@settings(examples, max_examples=150)
@given(world=worlds())
def test_the_audience_is_what_the_oracle_says(
    world: World, empty: Callable[[], None], factory: Factory, database: Connection
) -> None:
    empty()
    world.insert(factory)

    answer = judged(database, world.campaign)

    assert dict(answer) == oracle.audience(oracle.read(database), world.campaign)
    assert len(answer) == len(dict(answer))


@pytest.mark.every_version
@settings(examples, max_examples=80)
@given(
    world=worlds(),
    cuts=st.sets(st.sampled_from(IDS[1:]) | st.uuids(), max_size=6),
    twins_at_most=st.sampled_from([1, 2, 100]),
)
def test_the_audience_of_any_chunks_together_is_the_whole_audience(
    world: World, cuts: set[UUID], twins_at_most: int, empty: Callable[[], None], factory: Factory, database: Connection
) -> None:
    empty()
    world.insert(factory)
    bounds = [LOWEST, *sorted(cuts - {LOWEST, HIGHEST}), HIGHEST]

    answer = [
        verdict
        for start, end in pairwise(bounds)
        for verdict in judged(database, world.campaign, start, end, twins_at_most=twins_at_most)
    ]

    assert dict(answer) == oracle.audience(oracle.read(database), world.campaign)
    assert len(answer) == len(dict(answer))


@settings(examples, max_examples=60)
@given(world=worlds(), max_rows=st.integers(1, 4))
def test_a_launch_in_tiny_steps_has_the_recipients_that_the_oracle_says(
    world: World,
    max_rows: int,
    empty: Callable[[], None],
    factory: Factory,
    database: Connection,
    automation: Callable[..., Automation],
    system_user: UUID,
) -> None:
    empty()
    world.insert(factory)
    factory.member(world.organization, system_user)
    expected = oracle.audience(oracle.read(database), world.campaign)
    database.execute("update campaigns set status = 'scheduled', scheduled_at = now() where id = %s", (world.campaign,))

    report = automation(max_rows=max_rows).launch()

    assert set(records.recipients(database, world.campaign)) == oracle.recipients(expected)
    assert [(c["campaign_id"], c["recipient_count"]) for c in report["campaigns"]] == [
        (str(world.campaign), len(oracle.recipients(expected)))
    ]
    launch = records.launch(database, world.campaign)
    assert launch["excluded"] == oracle.counts(expected)
    assert launch["contacts"] == len(expected)


@settings(examples, max_examples=60)
@given(
    world=worlds(),
    max_rows=st.integers(1, 12),
    steps=st.integers(0, 8),
    is_wide=st.booleans(),
    present=st.just({})
    | st.dictionaries(st.sampled_from(IDS), st.sampled_from(["pending", "sent", "bounced"]), max_size=3),
)
def test_an_immediate_launch_gives_just_what_the_preview_says(
    world: World,
    max_rows: int,
    steps: int,
    is_wide: bool,
    present: dict[UUID, str],
    empty: Callable[[], None],
    factory: Factory,
    database: Connection,
    automation: Callable[..., Automation],
    system_user: UUID,
) -> None:
    """Of a draft, of a launch that is half done, of one that is over, and with recipients from before."""
    empty()
    if is_wide:  # most audiences of these rules are too small to be half done
        for number, contact in enumerate(world.tables["contacts"]):
            contact.update(email=f"contact{number % 7}@example.org", is_active=None, deleted_at=None)
        for rules in world.tables["campaign_target_rules"]:
            rules.update(include_emails=None, include_tags=None)
    world.insert(factory)
    factory.member(world.organization, system_user)
    contacts = {contact["id"]: contact["organization_id"] for contact in world.tables["contacts"]}
    before = {id: status for id, status in present.items() if id in contacts}
    for id, status in before.items():
        factory.recipient(world.campaign, id, status=status)
    schedule = "update campaigns set status = 'scheduled', scheduled_at = now() where id = %s"
    if steps:
        database.execute(schedule, (world.campaign,))
        launch = automation(max_rows=1)
        for _ in range(steps - 1):
            launch.step()

    preview = automation(max_rows=max_rows).preview_campaign(world.campaign)
    database.execute(schedule, (world.campaign,))
    dry_run = automation(max_rows=max_rows).preview()["campaigns"]
    [launched] = automation().launch()["campaigns"]

    assert preview["recipient_count"] == launched["recipient_count"] == dry_run[0]["recipient_count"]
    assert preview["contacts"] == sum(organization == world.organization for organization in contacts.values())
    assert preview["recipient_count"] + sum(preview["excluded"].values()) == preview["contacts"] + preview["outsiders"]
    if before:
        assert not preview["generates"]
    else:
        verdicts = oracle.audience(oracle.read(database), world.campaign)
        assert preview["outsiders"] == 0
        if preview["generates"]:
            assert preview["excluded"] == oracle.counts(verdicts)
        sample = sorted(records.recipients(database, world.campaign), key=lambda id: id.bytes)[:10]
        assert len(preview["sample"]) == len(sample)
