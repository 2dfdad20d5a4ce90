"""The pages: whatever no other test runs is parsed, links lead somewhere, and the pictures show what is."""

from __future__ import annotations

import ast
import configparser
import json
import re
import shlex
import subprocess
import tomllib
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from uuid import UUID, uuid4

import psycopg
import pytest

from local.migration import MIGRATIONS
from runner.commands import cli
from tests.conftest import Connect, Connection
from tests.support import records
from tests.support.automation import Automation
from tests.support.factory import Factory

ROOT = Path(__file__).parents[2]
UNINSTALL = (ROOT / "supabase" / "uninstall.sql").read_bytes()
EXISTING_PROJECT = Path(__file__).with_name("existing_project.sql").read_bytes()
PAGES = [*sorted(ROOT.glob("*.md")), *sorted((ROOT / "docs").glob("*.md")), ROOT / "supabase" / "schemas" / "README.md"]
BLOCK = re.compile(r"^( *)```(\w*)\n(.*?)^\1```$", re.DOTALL | re.MULTILINE)
# Lines of the two kinds of diagrams, as far as the pages use them.
MERMAID = {
    "sequenceDiagram": re.compile(
        r"(participant|actor) \w+ as .+|\w+-?->>\w+: .+|Note over \w+: .+|loop .+|end",
    ),
    "stateDiagram-v2": re.compile(r"(\[\*\]|\w+) --> (\[\*\]|\w+)(: .+)?|\w+: .+"),
}

pages = pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.name))


def blocks(page: Path, language: str | None = None) -> list[str]:
    found = BLOCK.findall(page.read_text())
    return [text for _, name, text in found if language in (None, name)]


@pages
def test_every_block_is_in_a_language_that_is_parsed(page: Path) -> None:
    languages = {name for _, name, _ in BLOCK.findall(page.read_text())}
    assert languages <= {"", "sh", "python", "json", "sql", "ini", "toml", "crontab", "mermaid"}


@pages
def test_every_block_parses(page: Path) -> None:
    for text in blocks(page, "sh"):
        subprocess.run(["bash", "-n"], input=text, text=True, check=True)
    for text in blocks(page, "python"):
        ast.parse(text)
    for text in blocks(page, "json"):
        json.loads(text)
    for text in blocks(page, "toml"):
        tomllib.loads(text)
    for text in blocks(page, "ini"):
        configparser.ConfigParser(interpolation=None).read_string(text)
    for text in blocks(page, "mermaid"):
        kind, *lines = [line.strip() for line in text.splitlines()]
        assert [line for line in lines if not MERMAID[kind].fullmatch(line)] == []


def test_every_sql_block_parses(database: Connection) -> None:
    """By the database, which reads the body of a function and does not run it."""
    for text in [text for page in PAGES for text in blocks(page, "sql")]:
        database.execute(
            f"do $parsed$ begin if false then {text.rstrip().rstrip(';')}\n; end if; end $parsed$".encode()
        )


@pages
def test_every_link_and_every_file_that_is_named_leads_somewhere(page: Path) -> None:
    text = BLOCK.sub("", page.read_text())
    links = [link.partition("#")[0] for link in re.findall(r"\]\((?!https?:)([^)]+)\)", text)]
    assert [link for link in links if not (page.parent / link).exists()] == []
    named = re.findall(r"`((?:docs|local|runner|supabase|tests)/[\w./*-]*)`", text)
    assert [name for name in named if not list(ROOT.glob(name))] == []


@pages
def test_every_name_of_the_database_that_is_used_exists(page: Path) -> None:
    migrations = "".join(
        file.read_text() for file in [*MIGRATIONS.glob("*.sql"), MIGRATIONS.with_name("uninstall.sql")]
    )
    names = set(re.findall(r"\bcampaign_runner[._]\w+", page.read_text()))
    own = set(re.findall(r"function (campaign_runner\.\w+)", page.read_text()))  # what the page itself creates
    assert {name for name in names - own if not re.search(rf"\b{re.escape(name)}\b", migrations)} == set()


@pages
def test_every_command_of_the_shell_and_every_target_of_make_exists(page: Path) -> None:
    text = page.read_text()
    for command in re.findall(r"(?<!Usage: )python -m runner ([a-z][^`|#)\n]*)", text):
        name, *arguments = shlex.split(re.sub(r"\$?\b(CAMPAIGN_)?ID\b", str(UUID(int=0)), command))
        program = cli.make_context("campaign-runner", [], resilient_parsing=True)
        command = cli.get_command(program, name)
        assert command is not None, name
        command.make_context(name, arguments, parent=program)  # parses, and does not run
    targets = set(re.findall(r"^([a-z]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    assert set(re.findall(r"(?:`|^)make ([a-z]+)", text, re.MULTILINE)) <= targets


def make_system_user(database: Connection, block: str) -> list[tuple[UUID]]:
    """What the last statement of the block shows."""
    cursor = database.execute(block.encode())
    while cursor.nextset():
        pass
    return cursor.fetchall()


def test_the_block_for_the_system_user_makes_it_a_member_of_every_organization(
    database: Connection, factory: Factory, connect_as: Connect
) -> None:
    [block] = [text for text in blocks(ROOT / "docs" / "installing.md", "sql") if "SYSTEM_USER_ID" in text]
    assert make_system_user(database, block) == []  # no user has this address
    user = factory.user()
    database.execute("update auth.users set email = 'campaigns@example.org' where id = %s", (user,))
    campaigns = [factory.campaign(factory.organization()) for _ in range(2)]
    assert make_system_user(database, block) == [(user,)]
    assert make_system_user(database, block) == [(user,)]  # again, which adds nothing
    result = Automation(connect_as("service_role"), user).launch()
    assert {UUID(str(outcome["campaign_id"])) for outcome in result["campaigns"]} == set(campaigns)


def test_the_block_for_the_system_user_fits_a_project_with_roles_of_its_own(empty_database_url: str) -> None:
    [block] = [text for text in blocks(ROOT / "docs" / "installing.md", "sql") if "SYSTEM_USER_ID" in text]
    with psycopg.connect(empty_database_url, autocommit=True) as database:
        database.execute(EXISTING_PROJECT)
        user = uuid4()
        database.execute("insert into auth.users values (%s, 'campaigns@example.org')", (user,))
        database.execute("insert into organizations (name) values ('First'), ('Second')")
        for _ in range(2):
            assert make_system_user(database, block.replace("'member'", "'admin'")) == [(user,)]
        members = database.execute("select user_id, role::text from organization_members").fetchall()
        assert members == [(user, "admin")] * 2


def arrows(containing: str) -> set[tuple[str, str]]:
    """Of the state diagram of docs/design.md, less those that stay where they are."""
    [picture] = [text for text in blocks(ROOT / "docs" / "design.md", "mermaid") if containing in text]
    found = re.findall(r"(\[\*\]|\w+) --> (\[\*\]|\w+)", picture)
    assert found
    return {(before, after) for before, after in found if before != after}


def test_the_page_of_the_audience_and_the_comment_name_each_reason_in_its_order(database: Connection) -> None:
    [judging] = records.rows(database, "select pg_get_functiondef('campaign_runner.judge_contacts'::regproc) as body")
    [evaluating] = records.rows(
        database, "select obj_description('campaign_runner.evaluate_contacts'::regproc, 'pg_proc') as comment"
    )
    reasons = [*re.findall(r"then '(\w+)'", judging["body"]), "project:…", "duplicate_address"]
    assert len(reasons) == 10
    page = (ROOT / "docs" / "audience.md").read_text(encoding="utf-8")
    assert re.findall(r"^\| `([^`]+)` \|", page, re.MULTILINE)[: len(reasons)] == reasons
    told = evaluating["comment"].partition("the first reason against it: ")[2].partition(".")[0]
    assert told.replace(" (with the country)", "").split(", ") == reasons


def test_the_states_of_the_picture_are_those_of_the_ledger(database: Connection) -> None:
    shown = {state for arrow in arrows("reconciling") for state in arrow} - {"[*]"}
    query = "select pg_get_constraintdef(oid) from pg_constraint where conname = 'state_is_known'"
    [(constraint,)] = database.execute(query).fetchall()
    assert shown == set(re.findall(r"'(\w+)'", constraint))


def test_launches_take_just_the_ways_that_the_picture_shows(
    organization: UUID, factory: Factory, automation: Callable[..., Automation], database: Connection, system_user: UUID
) -> None:
    database.execute(
        """
        create table ways (before text, after text);
        grant insert on ways to service_role;
        create function note() returns trigger language plpgsql as $$ begin
            insert into public.ways values (case when tg_op = 'UPDATE' then old.state else '[*]' end, new.state);
            return null;
        end $$;
        create trigger note after insert or update on campaign_runner.launches for each row execute function note();
        """
    )
    contacts = factory.contacts(organization, 6)

    def delete_after(steps: int, organization: UUID = organization) -> None:
        campaign, run = factory.campaign(organization), automation(max_rows=1)
        for _ in range(steps):
            run.step()
        factory.delete("campaigns", [campaign])
        automation().launch()

    factory.campaign(organization)  # in one step
    automation().launch()
    factory.recipient(factory.campaign(organization), contacts[0])  # chosen beforehand
    automation().launch()
    factory.campaign(organization)  # in several
    automation(max_rows=2).launch()
    edited = factory.campaign(organization, rules={})  # edited on the way
    run = automation(max_rows=2)
    run.step()
    database.execute("update campaign_target_rules set exclude_inactive = false where campaign_id = %s", (edited,))
    run.launch()
    delete_after(1, factory.organization())  # where the system user may do nothing
    closed = factory.organization()
    factory.campaign(closed)
    automation().launch()
    factory.member(closed, system_user)  # and then may
    automation().launch()
    delete_after(2)
    delete_after(8)

    taken = set(database.execute("select before, after from ways where before <> after").fetchall())
    ends = {("launched", "[*]"), ("abandoned", "[*]")}
    assert taken | ends == arrows("reconciling")


def test_uninstalling_is_refused_while_launches_are_half_done_until_they_are_ended_as_the_page_says(
    organization: UUID, factory: Factory, automation: Callable[..., Automation], database: Connection
) -> None:
    factory.contacts(organization, 6)
    campaigns = [factory.campaign(organization) for _ in range(6)]
    run = automation(max_rows=2)
    for _ in range(2 * len(campaigns)):  # each is cut into chunks, and then begun
        run.step()

    with pytest.raises(psycopg.errors.RaiseException) as refused:
        database.execute(UNINSTALL)

    assert len([campaign for campaign in campaigns if str(campaign) in str(refused.value)]) == 5
    assert "and others" in str(refused.value)
    assert database.execute("select to_regclass('public.campaign_runner_sendable') is not null").fetchone() == (True,)
    [block] = [text for text in blocks(ROOT / "docs" / "operations.md", "sql") if "'paused' where id" in text]
    for campaign in campaigns:
        for statement in filter(str.strip, block.replace("$1", "%s").split(";")):
            database.execute(statement.encode(), (campaign,))
    database.execute(UNINSTALL)
    assert database.execute("select to_regnamespace('campaign_runner') is null").fetchone() == (True,)


def half_done(
    organization: UUID, factory: Factory, automation: Callable[..., Automation], contacts: int = 6
) -> tuple[UUID, int]:
    """A campaign whose launch has written a part of its recipients. Returns the campaign and their number."""
    factory.contacts(organization, contacts)
    campaign = factory.campaign(organization)
    automation(max_rows=2).first_chunk()
    written = len(records.recipients(factory.database, campaign))
    assert 0 < written < contacts
    return campaign, written


def test_uninstalling_goes_on_anyway_where_the_owner_says_so_as_the_refusal_and_the_page_say(
    organization: UUID, factory: Factory, automation: Callable[..., Automation], database: Connection
) -> None:
    campaign, written = half_done(organization, factory, automation)
    [statement] = [text for text in blocks(ROOT / "docs" / "operations.md", "sql") if "'anyway'" in text]
    database.execute("set campaign_runner.uninstall = 'yes'")
    with pytest.raises(psycopg.errors.RaiseException) as refused:
        database.execute(UNINSTALL)
    assert statement.strip() in str(refused.value.diag.message_hint)

    database.execute(statement.encode())
    database.execute(UNINSTALL)

    assert database.execute("select to_regnamespace('campaign_runner') is null").fetchone() == (True,)
    assert list(records.recipients(database, campaign).values()) == ["pending"] * written
    assert records.status(database, campaign) == "scheduled"


def test_a_new_ledger_launches_a_half_done_campaign_to_the_written_recipients_alone_as_the_page_warns(
    organization: UUID, factory: Factory, automation: Callable[..., Automation], database: Connection
) -> None:
    campaign, written = half_done(organization, factory, automation)
    factory.empty_ledger()  # as after a restore of the schema public alone
    [launched] = automation().launch()["campaigns"]
    assert (launched["campaign_id"], launched["recipient_count"]) == (str(campaign), written)
    [entry] = automation().history(campaign)["launches"]
    assert entry["recipients_before"] == written


def test_a_copy_for_staging_has_nothing_to_launch_and_nobody_to_mail_as_the_page_says(
    organization: UUID, factory: Factory, automation: Callable[..., Automation], database: Connection
) -> None:
    factory.contacts(organization, 3)
    factory.campaign(organization)
    automation().launch()
    half_done(organization, factory, automation)
    factory.campaign(organization, due_in=timedelta(days=1))
    [block] = [text for text in blocks(ROOT / "docs" / "operations.md", "sql") if "in ('scheduled', 'sending')" in text]

    database.execute(block.encode())

    assert automation().launch()["campaigns"] == []
    statuses = "select from campaigns where status in ('scheduled', 'sending')"
    assert records.rows(database, statuses) == []
    assert records.rows(database, "select from campaign_recipients where status = 'pending'") == []
    assert records.rows(database, "select from campaign_runner_sendable") == []
