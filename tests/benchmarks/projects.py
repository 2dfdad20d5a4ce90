"""The projects that people have: no statistics, more indexes, tables of their own, and people who work beside us."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from uuid import UUID

from tests.benchmarks.bed import Bed
from tests.benchmarks.deleter import Deleter
from tests.benchmarks.launches import insert_raw
from tests.benchmarks.ratio import Ratio, ratio, timed
from tests.support.plans import SINGLE

CONTACTS = 300_000
MILLION = 1_000_000
OTHERS = 10  # times as many contacts as the new tenant has
PAGES = 20  # of a sample
PAGE = """
    select contact_id, email from public.campaign_runner_sendable
    where campaign_id = %s and contact_id > '80000000-0000-0000-0000-000000000000' order by contact_id limit 500
"""
CRM = Path(__file__).parent.parent / "database" / "crm.sql"


def never_analyzed(rounds: int) -> Iterator[Ratio]:
    """Two projects with the same contacts, one of them without statistics."""
    with Bed() as bare, Bed() as analyzed:
        organizations = {bed: bed.organization(CONTACTS) for bed in (bare, analyzed)}
        analyzed.settle("contacts")
        samples: dict[Bed, list[float]] = {bare: [], analyzed: []}
        with bare.function() as on_bare, analyzed.function() as on_analyzed:
            for _ in range(1 + rounds):  # the first for both to warm up
                for bed, function in ((analyzed, on_analyzed), (bare, on_bare)):
                    bed.clear(analyzes=bed is analyzed)
                    campaign = bed.campaign(organizations[bed])
                    samples[bed].append(timed(bed.launch, function, [campaign], CONTACTS))
        yield ratio(
            f"one audience of {CONTACTS:,}, tables never analyzed",
            "the same, analyzed",
            1.1,
            1.0,
            samples[bare][1:],
            samples[analyzed][1:],
            facts={"longest_statement": bare.longest_statement()},
        )


def new_tenant(rounds: int) -> Iterator[Ratio]:
    """Each round imports a tenant, launches, analyzes, and launches again."""
    with Bed() as bed:
        bed.organization(OTHERS * CONTACTS, checked=False)
        bed.settle("contacts")
        ours, theirs = [], []
        with bed.function() as function:
            for _ in range(rounds):
                tenant = bed.organization(CONTACTS, checked=False)
                bed.clear()
                ours.append(timed(bed.launch, function, [bed.campaign(tenant)], CONTACTS))
                bed.settle("contacts")
                bed.clear()
                theirs.append(timed(bed.launch, function, [bed.campaign(tenant)], CONTACTS))
        yield ratio(
            f"a new tenant of {CONTACTS:,} beside {OTHERS} times as many, statistics old",
            "the same after analyze",
            1.1,
            1.0,
            ours,
            theirs,
            facts={"longest_statement": bed.longest_statement()},
        )


def more_indexes(rounds: int) -> Iterator[Ratio]:
    """An index on each foreign key, as the platform advises."""
    with Bed() as bed:
        bed.execute(SINGLE)
        yield _against_raw(bed, rounds, "with an index on each foreign key")


def crm(rounds: int) -> Iterator[Ratio]:
    """A CRM that was there before us."""
    with Bed(tables=CRM.read_text() + "alter table public.organizations alter slug drop not null;") as bed:
        yield _against_raw(bed, rounds, "in the tables of a CRM")


def next_page(rounds: int) -> Iterator[Ratio]:
    """The sender's next 500, in the middle of a large campaign and of a small one."""
    with Bed() as bed:
        campaigns: dict[int, UUID] = {}
        for contacts in (MILLION, 1_000):
            organization = bed.organization(contacts, checked=False)
            campaigns[contacts] = bed.campaign(organization, is_due=False)
            with bed.without_checks() as superuser:
                superuser.execute(
                    "insert into public.campaign_recipients (campaign_id, contact_id, organization_id)"
                    " select %s, id, organization_id from public.contacts where organization_id = %s",
                    (campaigns[contacts], organization),
                )
        bed.execute("update public.campaigns set status = 'sending'")
        bed.settle("contacts", "campaigns", "campaign_recipients")
        samples: dict[int, list[float]] = {contacts: [] for contacts in campaigns}
        for _ in range(1 + rounds):  # the first fills the caches
            seconds = dict.fromkeys(campaigns, 0.0)
            for _ in range(PAGES):
                for contacts, campaign in campaigns.items():
                    seconds[contacts] += timed(bed.execute, PAGE, campaign)
            for contacts, total in seconds.items():
                samples[contacts].append(1000 * total / PAGES)
        ours, theirs = (samples[contacts][1:] for contacts in campaigns)
        name = f"a sender's next 500 of {MILLION:,} recipients"
        yield ratio(name, "500 of 1,000", 1.1, 1.0, ours, theirs, unit="ms")


def deletes(rounds: int) -> Iterator[Ratio]:
    """People who delete contacts while these are made recipients."""
    with Bed() as bed:
        organization = bed.organization(CONTACTS)
        bed.settle("contacts")
        calm, disturbed, deleted = [], [], 0
        with bed.function() as function:

            def launch() -> None:
                bed.clear()
                bed.campaign(organization)
                [launched] = bed.post(function)["campaigns"]
                [(contacts,)] = bed.execute(
                    "select count(*) from public.contacts where organization_id = %s", organization
                )
                if not contacts <= launched["recipient_count"] <= CONTACTS:
                    raise RuntimeError(f"{launched['recipient_count']} recipients of {contacts} contacts")

            for _ in range(rounds):
                calm.append(timed(launch))
                with Deleter(bed, organization) as deleter:
                    disturbed.append(timed(launch))
                deleted += deleter.deleted
        yield ratio(
            f"one audience of {CONTACTS:,} while five contacts a second are deleted",
            "the same, none is deleted",
            1.2,
            1.0,
            disturbed,
            calm,
            aside=f"{deleted} contacts were deleted",
            facts={"longest_statement": bed.longest_statement()},
        )


def _against_raw(bed: Bed, rounds: int, where: str) -> Ratio:
    organization = bed.organization(CONTACTS)
    bed.settle("contacts")
    ours, raw = [], []
    with bed.function() as function:
        for _ in range(rounds):
            raw.append(insert_raw(bed, organization))
            bed.clear()
            campaign = bed.campaign(organization)
            ours.append(timed(bed.launch, function, [campaign], CONTACTS))
    return ratio(
        f"one audience of {CONTACTS:,} {where}",
        "one raw unordered insert … select into it",
        1.0,
        0.85,
        ours,
        raw,
        facts={"longest_statement": bed.longest_statement()},
    )


BENCHMARKS: dict[str, Callable[[int], Iterator[Ratio]]] = {
    "unanalyzed": never_analyzed,
    "tenant": new_tenant,
    "indexes": more_indexes,
    "crm": crm,
    "sender": next_page,
    "deletes": deletes,
}
