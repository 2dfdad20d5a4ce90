"""What the statements of a launch read, in projects of many shapes."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import astuple, dataclass
from itertools import combinations
from pathlib import Path
from typing import Any, LiteralString, Self
from uuid import UUID

import psycopg
from psycopg import sql
from psycopg.conninfo import make_conninfo

from local.migration import apply_migrations
from local.postgres import SUPERUSER, Postgres
from tests.support.memory import MEMORY

Connection = psycopg.Connection[Any]

VERSIONS = (15, 16, 17, 18)
INDEXES = ("ours", "single", "crm", "partitioned")
STATISTICS = ("fresh", "never", "empty", "new tenant", "deleted")
PLANS = ("now", "kept", "custom", "generic")
IDS = ("random", "time")
TENANTS = (1, 10, 50)

SYSTEM_USER = UUID(int=1)
CALLS_UNTIL_PLANS_ARE_KEPT = 6
SHRUNK_AT_MOST = 3  # tenants whose contacts are mostly deleted
# Where the servers have auto_explain: the statements of a function come with their plans as notices.
EXPLAIN_FUNCTIONS: Mapping[int, LiteralString] = dict.fromkeys(
    (15, 17),
    """
    load 'auto_explain';
    set auto_explain.log_analyze = on;
    set auto_explain.log_timing = off;
    set auto_explain.log_nested_statements = on;
    set auto_explain.log_format = json;
    set auto_explain.log_level = notice;
    """,
)
CRM = Path(__file__).parent.parent / "database" / "crm.sql"

SINGLE: LiteralString = """
    create index on contacts (organization_id);
    create index on contacts (email);
    create index on contact_tags (organization_id);
    create index on contact_tag_assignments (organization_id);
    create index on contact_tag_assignments (contact_id);
    create index on contact_tag_assignments (tag_id);
    create index on campaigns (organization_id);
    create index on campaigns (status);
    create index on campaign_target_rules (organization_id);
    create index on campaign_recipients (organization_id);
    create index on campaign_recipients (campaign_id);
    create index on campaign_recipients (contact_id);
    create index on campaign_recipients (status);
"""
PARTITIONED: LiteralString = """
    create table campaign_recipients (
        campaign_id uuid not null references campaigns on delete cascade,
        contact_id uuid not null references contacts on delete cascade,
        organization_id uuid not null,
        status text not null default 'pending',
        primary key (campaign_id, contact_id)
    ) partition by hash (campaign_id);
    create table campaign_recipients_0 partition of campaign_recipients for values with (modulus 2, remainder 0);
    create table campaign_recipients_1 partition of campaign_recipients for values with (modulus 2, remainder 1);
"""
# The contact i of tenant t. Tenants take turns in time. One contact in ten has a twin,
# whose address ends with a blank: a CRM has a unique index on the addresses in lower case.
ID: Mapping[str, LiteralString] = {
    "random": "md5(t || ' ' || i)::uuid",
    "time": "('01900000-' || lpad(to_hex(i / 4096), 4, '0') || '-7' || lpad(to_hex(i % 4096), 3, '0') || '-8'"
    " || lpad(to_hex(t), 3, '0') || '-' || left(md5(t || ' ' || i), 12))::uuid",
}
LOAD: LiteralString = """
    create temp table tenants as
    select t, md5('tenant ' || t)::uuid as id from generate_series({first}::integer, {last}) t;
    insert into organizations (id, name) select id, 'Tenant ' || t from tenants;
    insert into organization_members (organization_id, user_id, role) select id, {user}, 'member' from tenants;
    create temp table people as
    select {id} as id, tenants.id as tenant, t, i from tenants, generate_series(1, {contacts}::integer) i;
    insert into contacts (id, organization_id, email, country, is_subscribed)
    select
        id, tenant, 'contact' || i - (i % 10 = 4)::integer || '@example.org' || repeat(' ', (i % 10 = 4)::integer),
        case i % 7 when 0 then ' de' else 'FR' end, i % 29 <> 0
    from people order by i;
    insert into contact_tags (id, organization_id, name)
    select md5(n || t)::uuid, id, n from tenants, unnest(array['vip', 'press']) n;
    insert into contact_tag_assignments (tag_id, contact_id, organization_id)
    select md5(case i % 10 when 0 then 'press' else 'vip' end || t)::uuid, id, tenant from people where i % 10 < 5;
    insert into campaigns (id, organization_id, name, status, scheduled_at)
    select md5(n || t)::uuid, id, n, case n when 'sent' then 'sending' else 'scheduled' end, now()
    from tenants, unnest(array['sent', 'plain', 'rich']) n;
    insert into campaign_target_rules
        (campaign_id, organization_id, include_tags, exclude_tags, exclude_countries, exclude_bounced)
    select md5('rich' || t)::uuid, id, array['VIP'], array['press'], array['DE'], true from tenants;
    insert into campaign_recipients (campaign_id, contact_id, organization_id, status)
    select md5('sent' || t)::uuid, id, tenant, case i % 23 when 0 then 'bounced' else 'pending' end from people;
    drop table tenants, people;
"""
# Each by its name. Of the first tenant: its campaigns, a range of its contacts from :lo to :hi, and 20 of all, :ids.
CALLS: Mapping[str, LiteralString] = {
    "find work": "select campaign_runner.find_work(null, :user, '{member}', now())",
    "a range": "select count(*) from campaign_runner.diff_recipients("
    ":plain, campaign_runner.read_rules(:plain), :lo, :hi)",
    "a range with rules": "select count(*) from campaign_runner.diff_recipients("
    ":rich, campaign_runner.read_rules(:rich), :lo, :hi)",
    "a range with recipients": "select count(*) from campaign_runner.diff_recipients("
    ":sent, campaign_runner.read_rules(:sent), :lo, :hi)",
    "a list": "select count(*) from campaign_runner.evaluate_contacts(:rich, p_contact_ids => :ids)",
    "a sender's next": "select count(*) from (select from public.campaign_runner_sendable"
    " where campaign_id = :sent and contact_id >= :lo order by contact_id limit 2) next",
    "preview": "select public.campaign_runner_preview_campaign(:rich, :user, '{member}', 40)",
    "a preview's names": "select campaign_runner.unmatched_names(:rich)",
    "a preview's sample": "select campaign_runner.addresses(:ids)",
    "a preview's end": "select campaign_runner.describe_preview(:rich, '{\"sample\": []}', :user, '{member}', null)",
    "dry run": "select public.campaign_runner_preview(:tenant, :user, '{member}', 40)",
    "health": "select public.campaign_runner_health(null, :user, '{member}')",
    "a total": "select campaign_runner.contact_count(:tenant)",
    "campaigns": "select public.campaign_runner_campaigns(:tenant, null, 20)",
    "history": "select public.campaign_runner_history(:sent, 20)",
    "retry": "select public.campaign_runner_retry(:plain)",
    "a bound": "select campaign_runner.nth_contact(:tenant, :lo, 'ffffffff-ffff-ffff-ffff-ffffffffffff', 100)",
    "a lock": "select campaign_runner.lock_contacts(:tenant, :lo, :hi)",
    "a delete": "select campaign_runner.delete_recipients(:sent, array_agg(d.contact_id), array_agg(d.place))"
    " from campaign_runner.diff_recipients(:sent, campaign_runner.read_rules(:sent), :lo, :hi) d"
    " where d.change = 'keep'",
    "doctor": "select public.campaign_runner_doctor(:user, '{member}')",
    "report": "select public.campaign_runner_report(:user)",
    "a step": "select public.campaign_runner_step(:user, :tenant, :user, '{member}', 5000)",
}


@dataclass(frozen=True)
class Cell:
    """A project: its Postgres, indexes, statistics, plans and ids, and how many tenants of one size it has."""

    version: int = 18
    indexes: str = "ours"
    statistics: str = "fresh"
    plans: str = "now"
    ids: str = "random"
    tenants: int = 10

    def __str__(self) -> str:
        return f"{self.version}, {self.indexes}, {self.statistics}, {self.plans}, {self.ids}, {self.tenants}"


@dataclass(frozen=True)
class Figure:
    """What a call read, and what it came to. `pairs`: rows that a join compared in vain, where the server tells."""

    pages: int
    rows: int
    pairs: int
    result: Any


class Laboratory:
    """Servers of every version, each with a template of every set of indexes. A context manager."""

    def __init__(self) -> None:
        self._exits = ExitStack()
        self._servers: dict[int, Postgres] = {}
        self._templates: set[tuple[int, str]] = set()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._exits.close()

    def measure(
        self, cell: Cell, contacts: int, in_range: int, calls: Mapping[str, LiteralString], *, settled: bool = False
    ) -> dict[str, Figure]:
        """The figures of each call, in a project whose tenants have so many contacts. `settled`: analyzed after all."""
        with self._project(cell) as superuser, _service(superuser, cell) as kept:
            if cell.plans == "kept":
                values = _values(superuser, 0)
                for statement in calls.values():
                    for _ in range(CALLS_UNTIL_PLANS_ARE_KEPT):
                        _result(kept, statement, values)
            _fill(superuser, cell, contacts)
            if settled:
                superuser.execute("analyze")
            with _service(superuser, cell) as fresh:
                session = kept if cell.plans == "kept" else fresh
                values = _values(superuser, in_range)
                return {call: _figure(session, statement, values) for call, statement in calls.items()}

    def functions_that_no_call_reaches(self, contacts: int) -> set[str]:
        """Of those that read a table."""
        cell = Cell()
        with self._project(cell) as superuser:
            _fill(superuser, cell, contacts)
            values = _values(superuser, contacts)
            with _service(superuser, cell) as session:
                for statement in CALLS.values():
                    _result(session, statement, values)
                session.execute("select pg_stat_force_next_flush()")
            rows = superuser.execute(
                "select p.proname from pg_proc p left join pg_stat_user_functions s on s.funcid = p.oid"
                " where p.pronamespace in (to_regnamespace('campaign_runner'), to_regnamespace('public'))"
                " and p.prosrc ~ '(from|join|update|into) (public|campaign_runner)[.][a-z_]+( |$)' and s.calls is null"
            ).fetchall()
            return {name for (name,) in rows}

    @contextmanager
    def _project(self, cell: Cell) -> Iterator[Connection]:
        """A project of its own, in which no foreign key looks at what is filled in."""
        server = self._server(cell.version)
        template = f"template_{cell.indexes}"
        if (cell.version, cell.indexes) not in self._templates:
            _install(server.create_database(template), cell.indexes)
            self._templates.add((cell.version, cell.indexes))
        server.drop_database("project")
        server.clone_database("project", template)
        with psycopg.connect(server.url("project", SUPERUSER), autocommit=True) as superuser:
            superuser.execute("set statement_timeout = '60s'")
            superuser.execute("set session_replication_role = replica")
            yield superuser

    def _server(self, version: int) -> Postgres:
        if version not in self._servers:
            settings = {"autovacuum": "off", "track_functions": "all"}
            server = Postgres(version, data_in=MEMORY, settings=settings)
            self._servers[version] = self._exits.enter_context(server)
        return self._servers[version]


def covering(cells: Sequence[Cell], at_once: int) -> list[Cell]:
    """Fewer cells in which any so many properties still meet in each way that they meet in `cells`."""
    ways = {cell: set(combinations(enumerate(astuple(cell)), at_once)) for cell in cells}
    missing = set().union(*ways.values())
    chosen = []
    while missing:
        best = max(cells, key=lambda cell: len(ways[cell] & missing))
        chosen.append(best)
        missing -= ways[best]
    return chosen


def _install(url: str, indexes: str) -> None:
    with psycopg.connect(url, autocommit=True) as owner:
        if indexes == "crm":
            owner.execute(CRM.read_bytes())
            owner.execute("alter table organizations alter slug drop not null")
        apply_migrations(url)
        if indexes == "partitioned":
            owner.execute("drop view campaign_runner_sendable; drop table campaign_recipients")
            owner.execute(PARTITIONED)
            owner.execute("truncate supabase_migrations.schema_migrations")
            apply_migrations(url)
        if indexes == "single":
            owner.execute(SINGLE)
        owner.execute("insert into auth.users (id) values (%s)", (SYSTEM_USER,))
        owner.execute("insert into profiles (id) values (%s) on conflict do nothing", (SYSTEM_USER,))


def _fill(superuser: Connection, cell: Cell, contacts: int) -> None:
    match cell.statistics:
        case "new tenant":
            _load(superuser, cell, 2, max(cell.tenants, 11), contacts)
            superuser.execute("analyze")
            _load(superuser, cell, 1, 1, contacts)
        case "deleted":
            _load(superuser, cell, 1, min(cell.tenants, SHRUNK_AT_MOST), 10 * contacts)
            _load(superuser, cell, SHRUNK_AT_MOST + 1, cell.tenants, contacts)
            superuser.execute("analyze")
            superuser.execute(
                "create temp table gone as select id from contacts"
                " where substr(email, 8, position('@' in email) - 8)::integer > %s",
                (contacts,),
            )
            for table, column in (
                ("campaign_recipients", "contact_id"),
                ("contact_tag_assignments", "contact_id"),
                ("contacts", "id"),
            ):
                superuser.execute(f"delete from {table} using gone where {table}.{column} = gone.id".encode())
        case statistics:
            if statistics == "empty":
                superuser.execute("analyze")
            _load(superuser, cell, 1, cell.tenants, contacts)
            if statistics == "fresh":
                superuser.execute("analyze")


def _load(superuser: Connection, cell: Cell, first: int, last: int, contacts: int) -> None:
    """Tenants from the first to the last."""
    superuser.execute(
        sql.SQL(LOAD).format(first=first, last=last, contacts=contacts, user=str(SYSTEM_USER), id=sql.SQL(ID[cell.ids]))
    )


def _values(superuser: Connection, in_range: int) -> dict[str, Any]:
    """What the calls name. The range begins in the middle of the contacts."""
    rows = superuser.execute(
        "select id from contacts where organization_id = md5('tenant 1')::uuid order by id"
    ).fetchall()
    ids = [id for (id,) in rows] or [UUID(int=0), UUID(int=1)]
    middle = ids[len(ids) // 2 : len(ids) // 2 + max(in_range, 1) + 1]
    named = superuser.execute(
        "select md5('tenant 1')::uuid, md5('plain1')::uuid, md5('rich1')::uuid, md5('sent1')::uuid"
    ).fetchall()
    return {
        **dict(zip(("tenant", "plain", "rich", "sent"), named[0], strict=True)),
        "user": SYSTEM_USER,
        "lo": middle[0],
        "hi": middle[-1],
        "ids": ids[:: max(len(ids) // 20, 1)][:20],
    }


def _figure(session: Connection, statement: LiteralString, values: Mapping[str, Any]) -> Figure:
    # Twice before: the first call in a session reads the catalog, and hints are set on rows that nobody has read.
    for _ in range(2):
        result = _result(session, statement, values)
    with session.transaction(force_rollback=True):
        before = _rows_read(session)
        [(explained,)] = _execute(session, "explain (analyze, buffers, timing off, format json) " + statement, values)
        rows = _rows_read(session) - before
    plan = explained[0]["Plan"]
    pages = plan["Shared Hit Blocks"] + plan["Shared Read Blocks"]
    return Figure(pages, rows, _pairs_compared(session, statement, values), result)


def _pairs_compared(session: Connection, statement: LiteralString, values: Mapping[str, Any]) -> int:
    if session.info.server_version // 10_000 not in EXPLAIN_FUNCTIONS:
        return 0
    told: list[str] = []

    def listen(notice: psycopg.errors.Diagnostic) -> None:
        told.append(notice.message_primary or "")

    session.add_notice_handler(listen)
    with session.transaction(force_rollback=True):
        session.execute("reset role; set local auto_explain.log_min_duration = 0; set role service_role")
        _execute(session, statement, values)
    session.remove_notice_handler(listen)
    return sum(_pairs(json.loads(each[each.index("{") :])["Plan"]) for each in told if each.startswith("duration: "))


def _pairs(node: Mapping[str, Any]) -> int:
    in_vain = node.get("Rows Removed by Join Filter", 0) * node["Actual Loops"]
    return int(in_vain) + sum(map(_pairs, node.get("Plans", ())))


def _result(session: Connection, statement: LiteralString, values: Mapping[str, Any]) -> Any:
    with session.transaction(force_rollback=True):
        try:
            [(result,)] = _execute(session, statement, values)
        except psycopg.DatabaseError as refusal:
            if not (refusal.sqlstate or "").startswith("CR"):  # an empty project has no campaign to speak of
                raise
            return refusal.sqlstate
    return result


def _execute(session: Connection, statement: str, values: Mapping[str, Any]) -> list[Any]:
    text = statement
    for name in values:
        text = text.replace(f":{name}", f"%({name})s")
    return session.execute(text.encode(), values).fetchall()


def _rows_read(session: Connection) -> int:
    [(rows,)] = session.execute(
        "select coalesce(sum(seq_tup_read + idx_tup_fetch), 0) from pg_stat_xact_user_tables"
    ).fetchall()
    return int(rows)


@contextmanager
def _service(superuser: Connection, cell: Cell) -> Iterator[Connection]:
    """A session of the service role, as the API has them."""
    dsn = make_conninfo(superuser.info.dsn, password=superuser.info.password)
    with psycopg.connect(dsn, autocommit=True, prepare_threshold=None) as session:
        session.execute(EXPLAIN_FUNCTIONS.get(cell.version, ""))
        session.execute("set role service_role")
        session.execute("set statement_timeout = '8s'")
        if cell.plans in ("custom", "generic"):
            session.execute(f"set plan_cache_mode = force_{cell.plans}_plan".encode())
        yield session
