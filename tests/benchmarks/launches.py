"""Launches against the statement that a person would write for the same rows, and against doing it from the client."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any
from uuid import UUID

import httpx
from postgrest.types import ReturnMethod
from supabase import Client, ClientOptions, create_client

from local.loopback import free_port, is_free
from tests.benchmarks.bed import Bed
from tests.benchmarks.editor import Editor
from tests.benchmarks.ratio import Ratio, ratio, timed

MILLION = 1_000_000
QUALIFIES = "c.is_active and c.is_subscribed and c.deleted_at is null"
PAGE, BATCH = 1_000, 500
DELAY_MILLISECONDS = 20
CAMPAIGNS, ORGANIZATIONS, EACH = 1_000, 100, 100

RICH_RULES = {
    "include_tags": [f"in{n}" for n in range(5)],
    "exclude_tags": ["out0", "out1"],
    "exclude_countries": ["AA", "CC", "EE"],
    "exclude_bounced": True,
}
RICH_BY_HAND = """
    insert into public.raw_recipients (campaign_id, contact_id, organization_id, status)
    select %s, c.id, c.organization_id, 'pending'
    from public.contacts c
    where c.organization_id = %s and c.is_active and c.is_subscribed and c.deleted_at is null
        and (c.email is not null or c.mobile is not null)
        and upper(trim(c.country)) <> all ('{AA,CC,EE}')
        and exists (
            select from public.contact_tag_assignments a join public.contact_tags t on t.id = a.tag_id
            where a.contact_id = c.id and t.name in ('in0', 'in1', 'in2', 'in3', 'in4')
        )
        and not exists (
            select from public.contact_tag_assignments a join public.contact_tags t on t.id = a.tag_id
            where a.contact_id = c.id and t.name in ('out0', 'out1')
        )
        and not exists (
            select from public.campaign_recipients r
            where r.organization_id = c.organization_id and r.contact_id = c.id and r.status = 'bounced'
        )
"""
RAW_FOR_MANY = f"""
    with recipients as (
        insert into public.raw_recipients (campaign_id, contact_id, organization_id, status)
        select k.id, c.id, c.organization_id, 'pending'
        from public.contacts c
        join public.campaigns k on k.organization_id = c.organization_id
        where {QUALIFIES}
    )
    update public.campaigns set status = 'sending', updated_at = now()
"""
# Recipients as many a project has them: a surrogate id, a foreign key a column, and five indexes.
RICHER_TABLE = """
    drop table public.campaign_recipients cascade; -- with the view of the sender
    create table public.campaign_recipients (
        id uuid primary key default gen_random_uuid(),
        campaign_id uuid not null references public.campaigns (id) on delete cascade,
        contact_id uuid not null references public.contacts (id) on delete cascade,
        organization_id uuid not null references public.organizations (id) on delete cascade,
        status text not null default 'pending',
        sent_at timestamptz,
        created_at timestamptz not null default now(),
        updated_at timestamptz not null default now(),
        unique (campaign_id, contact_id)
    );
    create index on public.campaign_recipients (contact_id);
    create index on public.campaign_recipients (organization_id, created_at);
    create index on public.campaign_recipients (campaign_id, status);
    grant select, insert, update, delete on public.campaign_recipients to service_role;
    create index campaign_runner_bounced_idx on public.campaign_recipients (organization_id, contact_id)
        where status = 'bounced';
"""


def large_audience(rounds: int) -> Iterator[Ratio]:
    """A million contacts, all of whom qualify."""
    with Bed() as bed:
        organization = bed.organization(MILLION)
        bed.settle("contacts")
        ours, raw, ordered, wait = [], [], [], 0.0
        with bed.function() as function:
            for _ in range(rounds):
                raw.append(insert_raw(bed, organization))
                ordered.append(insert_raw(bed, organization, order="order by c.id"))
                bed.clear()
                campaign = bed.campaign(organization)
                ours.append(timed(bed.launch, function, [campaign], MILLION))
            bed.clear()
            campaign = bed.campaign(organization)
            with Editor(bed, [campaign]) as editor:
                bed.launch(function, [campaign], MILLION)
            wait = editor.longest_wait
        yield ratio(
            "one audience of 1,000,000",
            "one raw unordered insert … select",
            1.0,
            0.85,
            ours,
            raw,
            aside=f"the ordered insert … select: {_ratio(ordered, raw)} of the unordered one",
            facts={"longest_statement": bed.longest_statement(), "longest_wait_of_an_editor": wait},
        )


def rich_audience(rounds: int) -> Iterator[Ratio]:
    """A million contacts, of whom tags, countries and bounces leave some two fifths."""
    with Bed() as bed:
        organization = bed.organization(MILLION)
        for name, share in ((tag, 15) for tag in RICH_RULES["include_tags"]):  # type: ignore[attr-defined]
            _tag(bed, organization, name, share)
        for name in ("out0", "out1"):
            _tag(bed, organization, name, 5)
        bed.settle("contacts", "contact_tags", "contact_tag_assignments")
        ours, raw, counts = [], [], []
        with bed.function() as function:
            for _ in range(rounds):
                bed.clear()
                _bounce(bed, organization)
                bed.raw_table()
                draft = bed.campaign(organization, is_due=False)
                bed.settle("campaign_recipients")
                raw.append(timed(bed.execute, RICH_BY_HAND, draft, organization))
                [(count,)] = bed.execute("select count(*) from public.raw_recipients")
                bed.clear()
                _bounce(bed, organization)
                campaign = bed.campaign(organization, rules=RICH_RULES)
                bed.settle("campaign_recipients")
                ours.append(timed(bed.launch, function, [campaign], count))
                counts.append(count)
        yield ratio(
            "5 tags in, 2 out, 3 countries, bounced, of 1,000,000",
            "one raw insert … select with the rules by hand",
            1.2,
            1.0,
            ours,
            raw,
            aside=f"{counts[-1]:,} recipients",
            facts={"longest_statement": bed.longest_statement()},
        )


def many_campaigns(rounds: int) -> Iterator[Ratio]:
    """A thousand small campaigns, all due at once."""
    with Bed() as bed:
        organizations = [bed.organization(EACH) for _ in range(ORGANIZATIONS)]
        bed.settle("contacts", "organizations", "organization_members")

        def schedule(*, is_due: bool) -> list[UUID]:
            bed.clear()
            campaigns = [
                bed.campaign(o, is_due=is_due) for o in organizations for _ in range(CAMPAIGNS // ORGANIZATIONS)
            ]
            bed.settle("campaigns")
            return campaigns

        ours, raw = [], []
        with bed.function() as function:
            bed.launch(function, schedule(is_due=True), CAMPAIGNS * EACH)
            for _ in range(rounds):
                schedule(is_due=False)
                bed.raw_table()
                raw.append(timed(bed.execute, RAW_FOR_MANY))
                campaigns = schedule(is_due=True)
                ours.append(timed(bed.launch, function, campaigns, CAMPAIGNS * EACH))
            campaigns = schedule(is_due=True)
            with Editor(bed, campaigns) as editor:
                bed.launch(function, campaigns, CAMPAIGNS * EACH)
        yield ratio(
            "1,000 due campaigns of 100, in 100 organizations",
            "one raw statement for all rows and statuses",
            2.0,
            1.3,
            ours,
            raw,
            facts={
                "longest_statement": bed.longest_statement(),
                "longest_wait_of_an_editor": editor.longest_wait,
            },
        )


def existing_table(rounds: int) -> Iterator[Ratio]:
    """The recipients' table of a project that had campaigns before."""
    contacts = 300_000
    with Bed() as bed:
        bed.execute(RICHER_TABLE)
        organization = bed.organization(contacts)
        bed.settle("contacts")
        ours, raw = [], []
        with bed.function() as function:
            for _ in range(rounds):
                raw.append(insert_raw(bed, organization))
                bed.clear()
                campaign = bed.campaign(organization)
                ours.append(timed(bed.launch, function, [campaign], contacts))
        yield ratio(
            "one audience of 300,000 in a richer table",
            "one raw unordered insert … select into it",
            1.0,
            0.85,
            ours,
            raw,
            aside="a surrogate id, three foreign keys, five indexes",
            facts={"longest_statement": bed.longest_statement()},
        )


def client_side(rounds: int) -> Iterator[Ratio]:
    """A hundred thousand contacts: read in pages, inserted in batches, as a careful client does it."""
    contacts = 100_000
    with Bed() as bed:
        organization = bed.organization(contacts)
        bed.settle("contacts")
        for name, reach, aim, network in (
            ("one audience of 100,000, loopback", 4, 6, _no_delay),
            (f"the same with {DELAY_MILLISECONDS} ms a round trip", 8, 12, _delayed),
        ):
            ours, theirs = [], []
            with network(bed) as url, bed.function(url=url) as function:
                client = client_of(bed, url)
                for _ in range(1 + rounds):  # the first for both to warm up
                    bed.clear()
                    draft = bed.campaign(organization, is_due=False)
                    theirs.append(timed(launch_from_client, client, organization, draft))
                    [(count,)] = bed.execute("select count(*) from public.campaign_recipients")
                    if count != contacts:
                        raise RuntimeError(f"the client made {count} recipients")
                    bed.clear()
                    campaign = bed.campaign(organization)
                    ours.append(timed(bed.launch, function, [campaign], contacts))
            against = "pages of 1,000 read, batches of 500 inserted, over REST"
            yield ratio(name, against, reach, aim, ours[1:], theirs[1:], faster=True)


def insert_raw(bed: Bed, organization: UUID, *, order: str = "", alter: str = "") -> float:
    """The one statement, into a table of its own, which may be altered first. Returns the seconds."""
    bed.clear()
    bed.raw_table()
    if alter:
        bed.execute(alter)
    campaign = bed.campaign(organization, is_due=False)
    statement = f"""
        insert into public.raw_recipients (campaign_id, contact_id, organization_id, status)
        select %s, c.id, c.organization_id, 'pending'
        from public.contacts c where c.organization_id = %s and {QUALIFIES} {order}
    """
    return timed(bed.execute, statement, campaign, organization)


def launch_from_client(client: Client, organization: UUID, campaign: UUID) -> None:
    """Read the audience by keyset pages, judge what the server cannot, insert in batches, and set the status."""
    last: str | None = None
    addresses: set[str] = set()
    while True:
        query = client.table("contacts").select("id,email,mobile,country").eq("organization_id", str(organization))
        query = query.is_("is_active", True).is_("is_subscribed", True).is_("deleted_at", None)
        query = query.gt("id", last) if last else query
        page: list[Any] = query.order("id").limit(PAGE).execute().data
        rows: list[Any] = []
        for contact in page:
            address = (contact["email"] or "").strip().lower()
            if address not in addresses and (address or contact["mobile"]):
                addresses |= {address} if address else set()
                ids = {"campaign_id": campaign, "contact_id": contact["id"], "organization_id": organization}
                rows.append({name: str(value) for name, value in ids.items()})
        for start in range(0, len(rows), BATCH):
            batch = rows[start : start + BATCH]
            client.table("campaign_recipients").insert(batch, returning=ReturnMethod.minimal).execute()
        if len(page) < PAGE:
            break
        last = page[-1]["id"]
    client.table("campaigns").update({"status": "sending"}).eq("id", str(campaign)).execute()


def client_of(bed: Bed, url: str) -> Client:
    http = httpx.Client(timeout=60)
    return create_client(url, bed.stack.project.secret_key, ClientOptions(httpx_client=http))


@contextmanager
def _no_delay(bed: Bed) -> Iterator[str]:
    yield bed.stack.project.url


@contextmanager
def _delayed(bed: Bed) -> Iterator[str]:
    port = free_port()
    command = [sys.executable, "-m", "tests.benchmarks.delay", str(port), str(bed.stack.rest.port)]
    proxy = subprocess.Popen([*command, str(DELAY_MILLISECONDS)])
    try:
        while is_free(port):
            if proxy.poll() is not None:
                raise RuntimeError("the proxy ended")
        yield f"http://127.0.0.1:{port}"
    finally:
        proxy.terminate()
        proxy.wait()


def _tag(bed: Bed, organization: UUID, name: str, percent: int) -> None:
    tag = bed.factory.tag(organization, name)
    bed.execute(
        "insert into public.contact_tag_assignments (tag_id, contact_id, organization_id)"
        " select %s, id, organization_id from public.contacts where organization_id = %s"
        " and uuid_hash_extended(id, hashtext(%s)) %% 100 between 0 and %s - 1",
        *(tag, organization, name, percent),
    )


def _bounce(bed: Bed, organization: UUID) -> None:
    sent = bed.factory.campaign(organization, status="sent", due_in=None)
    bed.execute(
        "insert into public.campaign_recipients (campaign_id, contact_id, organization_id, status)"
        " select %s, id, organization_id, 'bounced' from public.contacts"
        " where organization_id = %s and uuid_hash_extended(id, 1) %% 50 = 0",
        *(sent, organization),
    )


def _ratio(ours: list[float], theirs: list[float]) -> str:
    values = sorted(a / b for a, b in zip(ours, theirs, strict=True))
    return f"{values[len(values) // 2]:.2f}"


BENCHMARKS: dict[str, Callable[[int], Iterator[Ratio]]] = {
    "large": large_audience,
    "client": client_side,
    "many": many_campaigns,
    "rich": rich_audience,
    "existing": existing_table,
}
