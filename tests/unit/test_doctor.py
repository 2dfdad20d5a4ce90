from __future__ import annotations

import json
import logging
from typing import Any

import pytest

from runner.commands.findings.database import MIGRATION
from tests.support.fake_api import (
    CAMPAIGN,
    KEY,
    ORGANIZATION,
    ROW_DATA,
    TOKEN,
    USER,
    FakeApi,
    FakeClock,
    health,
    listed,
    page,
    refusal,
    stuck,
)
from tests.unit.test_cli import invoke

NO_LACK: dict[str, Any] = {"is_cut": False, "lacking": 0, "named": []}
ID = "77777777-7777-4777-8777-777777777777"
NAMED = {"id": ID, "name": "Contoso"}
TRIGGER = {
    "kind": "trigger",
    "name": "quota",
    "table_name": "public.campaign_recipients",
    "columns": [],
    "function_name": "check_quota",
    "definition": "create trigger quota …",
    "statement": "alter table public.campaign_recipients disable trigger quota;",
}
STATUS_TRIGGER = TRIGGER | {"table_name": "public.campaigns", "name": "keep", "function_name": "keep_status"}
CONSTRAINT = TRIGGER | {
    "kind": "constraint",
    "name": "small",
    "function_name": None,
    "definition": "CHECK (false)",
    "statement": "alter table public.campaign_recipients drop constraint small;",
}
CONSTRAINT_OF_TENANT = CONSTRAINT | {"name": "of_tenant", "columns": ["tenant"]}
RULE = CONSTRAINT | {
    "kind": "rule",
    "name": "keep",
    "table_name": "public.campaigns",
    "definition": "CREATE RULE keep …;",
    "statement": "drop rule keep on public.campaigns;",
}
INDEX_OF_THEIRS = CONSTRAINT | {
    "kind": "unique index",
    "name": "public.one_each",
    "definition": "CREATE UNIQUE INDEX one_each …",
    "statement": "drop index public.one_each;",
}
CONSTRAINT_OF_STATUS = CONSTRAINT | {"name": "of_status", "columns": ["status"]}
DEFAULTS = [
    CONSTRAINT | {"kind": "default", "name": "ticket", "definition": "nextval('public.tickets'::regclass)"},
    CONSTRAINT | {"kind": "default", "name": "status", "definition": "'pending'::text"},
]
DEFAULT = CONSTRAINT | {
    "kind": "default",
    "name": "tenant",
    "definition": "(current_setting('app.tenant'))::uuid",
    "statement": "alter table public.campaign_recipients alter column tenant drop default;",
}
FEW: dict[str, Any] = {"contacts": 3, "is_sample": False, "organizations": []}
INDEX = {"name": "campaign_runner_due_idx", "is_invalid": False, "command": "create index concurrently a on b (c);"}
CALL = {
    "seconds_ago": 12.4,
    "is_any_due": False,
    "passed_over_for": None,
    "system_user_id": USER,
    "system_user_roles": ["owner", "admin", "member"],
    "max_lateness_minutes": None,
}
BLOCKER = {
    "pid": 4711,
    "application": "psql",
    "role": "postgres",
    "state": "idle in transaction",
    "seconds": 720,
    "mode": "RowExclusiveLock",
    "tables": ["public.campaigns"],
}


def answer(errors: dict[str, str] | None = None, **facts: Any) -> dict[str, Any]:
    """What a database in which all is well answers, but for these."""
    well: dict[str, Any] = {
        "version": MIGRATION,
        "objects": [],
        "requirements": [],
        "grants": [],
        "writing": None,
        "locks": [],
        "guards": [
            *(TRIGGER, STATUS_TRIGGER, CONSTRAINT, CONSTRAINT_OF_TENANT, CONSTRAINT_OF_STATUS),
            *(RULE, INDEX_OF_THEIRS, DEFAULT, *DEFAULTS),
        ],
        "indexes": [],
        "system_user": True,
        "memberships": NO_LACK,
        "schedules": NO_LACK,
        "tenants": NO_LACK,
        "closed": NO_LACK | {"columns": None, "statement": None},
        "recipients": NO_LACK,
        "nobody": NO_LACK,
        "dropped": NO_LACK,
        "unmatched": NO_LACK,
        "audiences": FEW,
        "last_call": CALL,
    }
    return {"clock": FakeClock().time(), "facts": well | facts, "errors": errors or {}}


def contacts(**numbers: int) -> dict[str, Any]:
    """A sample with something wrong in one organization."""
    nothing = {"addresses": 0, "mobiles": 0, "malformed": 0, "unknown": 0}
    return {**FEW, "organizations": [{"organization_id": ID, **nothing, **numbers}]}


@pytest.fixture
def project(environ: pytest.MonkeyPatch, api: FakeApi) -> FakeApi:
    """A project in which all is well, and a machine whose clock is right."""
    api.on("doctor", answer())
    api.on("health", health())
    return api


def findings(severity: str) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = json.loads(invoke("doctor", "--json").stdout)["findings"]
    return [finding for finding in found if finding["severity"] == severity]


def test_where_all_is_well_the_doctor_says_so(project: FakeApi) -> None:
    result = invoke("doctor")
    assert result.exit_code == 0
    *lines, blank, total = result.stdout.splitlines()
    assert (blank, total) == ("", "0 problems, 0 warnings.")
    assert all(line.startswith(("ok       ", "         ")) for line in lines)
    assert [finding["check"] for finding in findings("ok")] == [
        *("settings", "tokens", "database", "migrations", "tables", "privileges", "writing", "locks", "indexes"),
        *("system user", "memberships", "schedules", "contacts", "calls", "campaigns", "clocks"),
    ]


def test_a_problem_is_exit_code_1_and_its_remedy_stands_below(project: FakeApi) -> None:
    project.on("doctor", answer(system_user=False, schedules={"is_cut": False, "lacking": 7, "named": [NAMED]}))
    result = invoke("doctor")
    assert result.exit_code == 1
    lines = result.stdout.splitlines()
    [position] = [n for n, line in enumerate(lines) if line.startswith("problem  system user")]
    remedy = next(line for line in lines[position:] if "→" in line)
    assert remedy.endswith(f"→ insert into public.profiles (id) values ('{USER}');")
    assert lines[-1] == "1 problem, 1 warning."
    [schedules] = findings("warning")
    assert schedules["message"] == f"7 campaigns scheduled without a time: Contoso {ID} and 6 more."


@pytest.mark.parametrize(
    ("facts", "severity", "check", "message", "remedy"),
    [
        (
            {"version": "20260101000000"},
            *("problem", "migrations", f"up to 20260101000000, and this program needs those up to {MIGRATION}"),
            "Apply supabase/migrations",
        ),
        (
            {"version": "20990101000000"},
            *("warning", "migrations", f"up to 20990101000000, and this program knows those up to {MIGRATION}"),
            "Deploy the newer version",
        ),
        (
            {"requirements": [{"severity": "error", "lack": "column a.b is missing", "remedy": "alter table a;"}]},
            *("problem", "tables", "column a.b is missing.", "alter table a;"),
        ),
        (
            {"grants": [{"lack": "insert on public.campaign_recipients", "statement": "grant it;"}]},
            *("problem", "privileges", "lacks insert on public.campaign_recipients", "grant it;"),
        ),
        ({"writing": "25006"}, "problem", "writing", "is read-only", "reset default_transaction_read_only"),
        ({"writing": "53100"}, "problem", "writing", "refuses to write (SQLSTATE 53100)", "disk space"),
        (
            {"locks": [BLOCKER]},
            *(
                "problem",
                "locks",
                "program psql, user postgres, idle in transaction) has locked rows of public.campaigns for 12 min.",
            ),
            "select pg_terminate_backend(4711);",
        ),
        (
            {"indexes": [INDEX]},
            *("problem", "indexes", "campaign_runner_due_idx is missing", "create index concurrently"),
        ),
        (
            {"indexes": [INDEX | {"is_invalid": True}]},
            *("problem", "indexes", "campaign_runner_due_idx is invalid"),
            "drop index concurrently public.campaign_runner_due_idx; create index concurrently",
        ),
        ({"audiences": None}, "warning", "contacts", "an index is missing", "campaign_runner_addresses_idx"),
        (
            {"system_user": False},
            "problem",
            "system user",
            f"({USER}) is no row of profiles",
            "insert into public.profiles",
        ),
        (
            {"memberships": {"is_cut": False, "lacking": 1, "named": [NAMED | {"role": None}]}},
            *("problem", "memberships", "1 organization with scheduled campaigns, in which"),
            f"values ('{ID}', '{USER}', 'member');",
        ),
        (
            {"objects": ["function campaign_runner.find_work(uuid) was changed"]},
            *(
                "problem",
                "migrations",
                "The function campaign_runner.find_work(uuid) was changed.",
                "once more in the SQL editor",
            ),
        ),
        (
            {"nobody": {"is_cut": False, "lacking": 1, "named": [NAMED]}},
            *("warning", "launches", f"without a recipient to mail: Contoso {ID}.", f"python -m runner preview {ID}"),
        ),
        *(
            (
                {"nobody": {"is_cut": False, "lacking": 1, "named": [NAMED | {"because": because}]}},
                *("warning", "launches", f"without a recipient to mail: Contoso {ID} ({because}).", advice),
            )
            for because, advice in (
                ("the organization has no contacts", "Import the contacts, or correct the organization_id"),
                ("3 deleted", "Each contact has a deleted_at"),
                ("3 project:no_consent", "'public.campaign_runner_exclusions'::regproc"),
                ("2 unsubscribed, 1 deleted", f"python -m runner preview {ID}"),
            )
        ),
        (
            {"dropped": {"is_cut": False, "lacking": 1, "named": [NAMED]}},
            *("warning", "launches", "with recipients that a trigger dropped", f"{TRIGGER['statement']} To launch"),
        ),
        (
            {"unmatched": {"is_cut": False, "lacking": 1, "named": [NAMED]}},
            *("warning", "launches", "past an exclusion that matched nothing", f"python -m runner history {ID}"),
        ),
        (
            {
                "closed": {
                    "is_cut": False,
                    "lacking": 1,
                    "named": [NAMED],
                    "columns": ["organizations.is_active"],
                    "statement": "update …",
                }
            },
            *(
                "warning",
                "schedules",
                "never due, as a campaign or its organization is deleted, archived or closed (organizations.is_active)",
                "if it shall go out: update …",
            ),
        ),
        (
            {"tenants": {"is_cut": False, "lacking": 1, "named": [NAMED]}},
            *("warning", "schedules", "1 campaign scheduled without an organization", "set organization_id ="),
        ),
        (
            {"recipients": {"is_cut": False, "lacking": 1, "named": [NAMED]}},
            *("warning", "recipients", "with recipients that no launch wrote", f"where campaign_id = '{ID}'"),
        ),
        (
            {"audiences": contacts(addresses=1)},
            *("warning", "contacts", "1 address of more than one contact, in all 3 contacts", "Merge those contacts"),
        ),
        ({"audiences": contacts(mobiles=2)}, "warning", "contacts", "2 mobile numbers of more than one", "Merge"),
        ({"audiences": contacts(malformed=1)}, "warning", "contacts", "1 address malformed", "Correct it"),
        ({"audiences": contacts(unknown=5)}, "warning", "contacts", "5 contacts without is_subscribed", "Set"),
        (
            {"last_call": CALL | {"seconds_ago": 1200, "is_any_due": True}},
            *("problem", "calls", "For 20 min nothing has called the runner, and campaigns are due."),
            "a trigger: ./deploy.sh start",
        ),
        (
            {"last_call": CALL | {"seconds_ago": 1200}},
            *("warning", "calls", "For 20 min nothing has called the runner.", "a trigger: ./deploy.sh start"),
        ),
        (
            {"last_call": CALL | {"seconds_ago": None, "is_any_due": True, "system_user_id": None}},
            *(
                "problem",
                "calls",
                "Nothing has ever called the runner, and campaigns are due.",
                "a trigger: ./deploy.sh start",
            ),
        ),
        (
            {"last_call": CALL | {"passed_over_for": NAMED}},
            *("warning", "calls", f"The last call was for Contoso {ID} alone"),
            "without organization_id",
        ),
        (
            {"last_call": CALL | {"system_user_id": ID, "max_lateness_minutes": 5}},
            *("warning", "calls", "The last call had the MAX_LATENESS_MINUTES 5, and this shell has (not set)."),
            "deploy.sh",
        ),
    ],
)
def test_what_is_wrong_is_one_finding_with_its_remedy(
    facts: dict[str, Any], severity: str, check: str, message: str, remedy: str, project: FakeApi
) -> None:
    project.on("doctor", answer(**facts))
    [finding] = findings("problem") + findings("warning")
    assert (finding["severity"], finding["check"]) == (severity, check)
    assert message in finding["message"]
    assert remedy in finding["remedy"]


def test_a_user_without_a_profile_needs_the_profile_before_a_membership(project: FakeApi) -> None:
    lacking = {"is_cut": False, "lacking": 1, "named": [NAMED | {"role": None}]}
    project.on("doctor", answer(system_user=False, memberships=lacking))
    messages = {finding["check"]: finding["message"] for finding in findings("problem")}
    assert messages["memberships"].endswith("The user needs its profile first (see system user).")


@pytest.mark.parametrize(
    ("condition", "changes", "message", "remedy"),
    [
        (
            "backing_off",
            {},
            "due for 2 min, 10 failed attempts. The database refused.",
            f"{TRIGGER['statement']} {STATUS_TRIGGER['statement']} Then:",
        ),
        (
            "backing_off",
            {"detail": 'null value in column "app"\nin check_quota() line 3 at RAISE'},
            "The trigger quota on public.campaign_recipients runs check_quota().",
            f"for all campaigns: {TRIGGER['statement']} Then: python -m runner retry {CAMPAIGN}",
        ),
        (
            "needs_attention",
            {"failed_with": "CR422", "last_error": "The status: a trigger or a rule on campaigns keeps it."},
            "The rule keep on public.campaigns reads: CREATE RULE keep ….",
            f"take away what refused, for all campaigns: {STATUS_TRIGGER['statement']} {RULE['statement']} Then:",
        ),
        (
            "backing_off",
            {
                "failed_with": "23514",
                "last_error": "A check constraint refused a row (SQLSTATE 23514, constraint small).",
            },
            "The constraint small on public.campaign_recipients reads: CHECK (false).",
            f"correct the constraint. Or take away what refused, for all campaigns: {CONSTRAINT['statement']} Then:",
        ),
        (
            "backing_off",
            {"failed_with": "23505", "last_error": "A constraint refused a row (constraint one_each)."},
            "The unique index public.one_each on public.campaign_recipients reads: CREATE UNIQUE INDEX one_each ….",
            f"correct the unique index. Or take away what refused, for all campaigns: {INDEX_OF_THEIRS['statement']}",
        ),
        (
            "backing_off",
            {"failed_with": "42704", "detail": 'unrecognized configuration parameter "app.tenant"'},
            "The default of public.campaign_recipients.tenant is (current_setting('app.tenant'))::uuid.",
            f"correct the default. Or take away what refused, for all campaigns: {DEFAULT['statement']} Then:",
        ),
        (
            "backing_off",
            {
                "failed_with": "23505",
                "last_error": "Another row has the key (SQLSTATE 23505, constraint one_each). Correct the cause.",
                "detail": "duplicate key …\nKey (tenant, name)=(7, O'Hara) already exists.",
            },
            "A unique index of the project refused the campaign (SQLSTATE 23505, constraint one_each).",
            "See the row that is in the way: "
            "select * from public.campaign_recipients where (tenant, name) = ('7', 'O''Hara'); Change one of",
        ),
        (
            "backing_off",
            {"failed_with": "23505", "detail": "Key (campaign)=(7) already exists.\nin check_quota() line 3"},
            "The trigger quota on public.campaign_recipients runs check_quota().",
            "Correct the trigger, or the rows that the trigger works on. Or take away",
        ),
        (
            "backing_off",
            {"failed_with": "42501", "detail": "permission denied for table budgets\nin check_quota() line 3"},
            "The trigger quota on public.campaign_recipients runs check_quota().",
            "Grant what the trigger needs, as: grant select on budgets to service_role; Or take away",
        ),
        (
            "backing_off",
            {"failed_with": "53100", "last_error": "The disk of the database is full (SQLSTATE 53100)."},
            "The disk of the database is full (SQLSTATE 53100). The trigger quota on",
            "If the database is well, correct the trigger. Or take away",
        ),
        (
            "backing_off",
            {"failed_with": "42501", "detail": "permission denied for sequence tickets"},
            "The default of public.campaign_recipients.ticket is nextval('public.tickets'::regclass).",
            "grant usage on sequence tickets to service_role; Or take away",
        ),
        (
            "backing_off",
            {"failed_with": "23514", "last_error": "A check constraint refused a row (constraint of_status)."},
            "The constraint of_status on public.campaign_recipients reads: CHECK (false).",
            "Do what the constraint asks for, or correct the constraint. Or take away",
        ),
        (
            "backing_off",
            {"failed_with": "3F000", "detail": 'schema "net" does not exist\nin check_quota() line 3'},
            'schema "net" does not exist',
            "create extension if not exists pg_net; Or take away",
        ),
        (
            "backing_off",
            {"failed_with": "57014", "detail": "canceling statement\nin check_quota() line 3"},
            "check_quota",
            "Make the trigger faster. Or take away",
        ),
        (
            "backing_off",
            {"failed_with": "23514", "last_error": "A check constraint refused a row (constraint of_tenant)."},
            "The default of public.campaign_recipients.tenant is (current_setting('app.tenant'))::uuid.",
            "Correct the default of tenant. Or take away what refused",
        ),
        (
            "needs_attention",
            {
                "failed_with": "CR422",
                "last_error": "The status could not be set: a trigger or a rule on campaigns keeps it at scheduled.",
            },
            "The trigger keep on public.campaigns runs keep_status().",
            "See what the trigger asks for: select pg_get_functiondef('keep_status'::regproc); Do so, or correct",
        ),
        ("backing_off", {"failed_with": "55P03"}, "due for 2 min", "End the transaction that holds the lock"),
        ("needs_attention", {}, "10 failed attempts, not tried again by itself.", f"python -m runner retry {CAMPAIGN}"),
        ("needs_attention", {"failed_with": "CR403"}, "Spring sale", f"values ('{ORGANIZATION}', '{USER}', 'member');"),
        (
            "held",
            {"failed_with": "CR002"},
            "due for 2 min, not tried again by itself.",
            f"set scheduled_at = now() where id = '{CAMPAIGN}';",
        ),
        ("taken_over", {"recipients_inserted": 750}, "750 recipients were written", "set status = 'scheduled'"),
    ],
)
def test_a_campaign_that_is_not_launched_is_a_problem(
    condition: str, changes: dict[str, Any], message: str, remedy: str, project: FakeApi
) -> None:
    project.on("health", health(**{condition: stuck(**changes)}))
    assert invoke("doctor").exit_code == 1
    [finding] = findings("problem")
    assert finding["check"] == "campaigns"
    assert CAMPAIGN in finding["message"]
    assert message in finding["message"]
    assert remedy in finding["remedy"]


def test_where_something_else_is_wrong_the_campaigns_are_not_promised_to_the_next_call(project: FakeApi) -> None:
    grant = {"lack": "select on public.campaigns", "statement": "grant select on public.campaigns to service_role;"}
    project.on("doctor", answer(grants=[grant]))
    project.on("health", health(due={"count": 1, "is_capped": False}))
    [campaigns] = [finding for finding in findings("ok") if finding["check"] == "campaigns"]
    assert campaigns["message"].endswith("The next call may launch none: see privileges.")


@pytest.mark.parametrize(("code", "checks"), [("42501", ["privileges"]), ("57014", ["privileges", "campaigns"])])
def test_what_else_keeps_the_campaigns_from_being_looked_at_is_told_beside_a_missing_grant(
    project: FakeApi, code: str, checks: list[str]
) -> None:
    project.on("doctor", answer(grants=[{"lack": "select on public.campaigns", "statement": "grant it;"}]))
    project.on("health", refusal(code))
    assert [finding["check"] for finding in findings("problem")] == checks


def test_a_campaign_that_is_hindered_for_a_moment_is_a_warning(project: FakeApi) -> None:
    words = {
        "failed_with": None,
        "last_error": "Another transaction has locked it.",
        "detail": "in check_quota() line 3",
    }
    project.on("health", health(generating=stuck(**words, attempts=0, next_attempt_at=None)))
    assert invoke("doctor").exit_code == 0
    [finding] = findings("warning")
    assert "due for 2 min. Another transaction has locked it. The trigger quota on" in finding["message"]
    assert "Another transaction has locked it." in invoke("status").stdout


def test_a_failure_by_a_table_whose_remedy_stands_above_refers_to_it(project: FakeApi) -> None:
    lack = {"severity": "error", "lack": "constraint small refuses", "remedy": "alter table …"}
    project.on("doctor", answer(requirements=[lack]))
    project.on("health", health(backing_off=stuck(failed_with="23514", last_error="No (constraint small).")))
    [_, campaign] = findings("problem")
    assert campaign["remedy"] == f"Correct what stands under tables. Then: python -m runner retry {CAMPAIGN}"


def test_a_failure_by_a_column_that_no_one_fills_refers_to_tables(project: FakeApi) -> None:
    lack = {"severity": "warning", "lack": "column public.campaign_recipients.kind must not be NULL", "remedy": "…"}
    words = "A column that must not be empty (SQLSTATE 23502, table campaign_recipients, column kind)."
    project.on("doctor", answer(requirements=[lack]))
    project.on("health", health(backing_off=stuck(failed_with="23502", last_error=words)))
    [campaign] = findings("problem")
    assert campaign["remedy"].startswith("Correct what stands under tables. Then:")


def test_the_words_of_the_source_are_told(project: FakeApi) -> None:
    project.on("health", health(backing_off=stuck(detail="the quota of your plan is used up")))
    [finding] = findings("problem")
    assert "In the words of the source: the quota of your plan is used up" in finding["message"]


def test_a_campaign_that_waits_too_long_for_a_run_is_a_problem(project: FakeApi) -> None:
    project.on("health", health(oldest_due=listed(), oldest_due_seconds=601))
    [finding] = findings("problem")
    assert "has waited for a run for 10 min" in finding["message"]


def test_a_run_that_was_never_reported_is_a_warning(project: FakeApi) -> None:
    run = {"run_id": ID, "closed_at": None, "launched": 0, "failed": 0, "duration_seconds": None}
    project.on("health", health(runs=[run | {"opened_at": "2026-11-25T11:59:00Z"}]))
    assert findings("warning") == []
    project.on("health", health(runs=[run | {"opened_at": "2026-11-25T10:00:00Z"}]))
    assert [finding["check"] for finding in findings("warning")] == ["runs"]


def test_campaigns_that_cannot_be_looked_at_are_a_problem_and_hide_nothing_else(project: FakeApi) -> None:
    project.on("doctor", answer(locks=[BLOCKER]))
    project.on("health", refusal("55P03", 500))
    first, second = findings("problem")
    assert (first["check"], second["check"]) == ("locks", "campaigns")
    assert "55P03" in second["message"]


def test_looks_that_a_lock_keeps_are_one_finding(project: FakeApi) -> None:
    project.on("doctor", answer({"system_user": "55P03", "last_call": "55P03"}, system_user=None, last_call=None))
    [finding] = findings("problem")
    assert finding["message"].endswith("A lock kept the doctor from looking at these: system user, calls.")


def test_looks_for_which_a_privilege_is_missing_are_one_finding(project: FakeApi) -> None:
    grant = {"lack": "select on public.campaigns", "statement": "grant select on public.campaigns to service_role;"}
    errors = {"closed": "42501", "nobody": "42501", "dropped": "42501"}
    project.on("doctor", answer(errors, grants=[grant], writing="42501", closed=None, nobody=None, dropped=None))
    [lack, kept] = findings("problem")
    assert lack["remedy"] == grant["statement"]
    assert kept["message"] == "The lack of a privilege kept the doctor from looking at these: schedules, launches."


def test_another_system_user_than_that_of_the_last_call_is_named_beside_its_lack(project: FakeApi) -> None:
    lack = {"is_cut": False, "lacking": 1, "named": [NAMED | {"role": None}]}
    project.on("doctor", answer(memberships=lack, last_call=CALL | {"system_user_id": ID}))
    [finding] = findings("problem")
    assert finding["message"].endswith(f"Is SYSTEM_USER_ID right? The last call had another one, {ID}.")


def test_the_words_of_a_missing_privilege_are_told(project: FakeApi) -> None:
    words = "permission denied for schema campaign_runner"
    project.on("doctor", refusal("42501", 403, words))
    [finding] = findings("problem")
    assert finding["message"].endswith(f"In the words of the source: {words}.")


def test_a_name_in_the_environment_that_is_near_a_setting_is_pointed_out(
    project: FakeApi, environ: pytest.MonkeyPatch
) -> None:
    environ.setenv("RUN_TIME_BUDGET", "20")
    [finding] = findings("warning")
    assert finding["message"] == "RUN_TIME_BUDGET is no setting. Is RUN_TIME_BUDGET_SECONDS meant?"
    environ.setenv("RUN_TIME_BUDGET_SECONDS", "20")
    assert findings("warning") == []


def test_no_line_but_a_remedy_is_wider_than_the_terminal(project: FakeApi, environ: pytest.MonkeyPatch) -> None:
    environ.setenv("COLUMNS", "40")
    project.on("health", health(held=stuck(name="Spring sale " * 9)))
    lines = invoke("doctor").stdout.splitlines()
    assert max(len(line) for line in lines if "→" not in line) <= 40


def test_warnings_alone_are_exit_code_0(project: FakeApi) -> None:
    project.on("doctor", answer(last_call=CALL | {"seconds_ago": None}))
    assert invoke("doctor").exit_code == 0
    assert [finding["check"] for finding in findings("warning")] == ["calls"]


def test_every_setting_that_is_wrong_is_a_finding_and_no_value_is_shown(
    project: FakeApi, environ: pytest.MonkeyPatch
) -> None:
    for name in ("SUPABASE_URL", "SYSTEM_USER_ID", "STEP_ROWS", "RUNNER_TOKENS"):
        environ.setenv(name, "CANARY")
    result = invoke("doctor")
    assert result.exit_code == 3
    assert "CANARY" not in result.output
    problems = findings("problem")
    assert [finding["check"] for finding in problems] == ["settings"] * 3 + ["tokens"]
    assert {finding["message"].split()[0].rstrip(":") for finding in problems} == {
        *("SUPABASE_URL", "SYSTEM_USER_ID", "STEP_ROWS", "RUNNER_TOKENS")
    }
    assert "not everything was looked at" in result.stdout
    assert project.calls == []


def test_no_token_is_a_warning_as_the_command_line_needs_none(project: FakeApi, environ: pytest.MonkeyPatch) -> None:
    environ.delenv("RUNNER_TOKENS")
    assert invoke("doctor").exit_code == 0
    assert [finding["check"] for finding in findings("warning")] == ["tokens"]
    environ.setenv("OIDC_AUDIENCE", "campaign-runner")
    assert invoke("doctor").exit_code == 1


def test_who_may_call_is_told_without_a_secret(project: FakeApi, environ: pytest.MonkeyPatch) -> None:
    environ.setenv("OIDC_AUDIENCE", "campaign-runner")
    environ.setenv("OIDC_SERVICE_ACCOUNT", "scheduler@example.org")
    printed = invoke("doctor").output + invoke("doctor", "--json").output
    assert "Over HTTP the function accepts 1 token and the ID tokens of scheduler@example.org." in printed
    assert KEY not in printed
    assert TOKEN not in printed


@pytest.mark.parametrize(
    ("reply", "check"),
    [
        (refusal(None, 401), "key"),
        (refusal("PGRST202"), "migrations"),
        (refusal("PGRST106"), "database"),
        (refusal("42501"), "privileges"),
        ({"clock": 1.0}, "migrations"),
        (refusal(None, 402), "database"),
        (refusal("55P03", 500), "database"),
        (refusal(None, 404), "database"),
        (page(404), "database"),
        (refusal("57014", 500), "database"),
        (refusal("22012"), "database"),
    ],
)
def test_a_database_that_cannot_be_asked_is_exit_code_3(reply: Any, check: str, project: FakeApi) -> None:
    project.on("doctor", reply)
    result = invoke("doctor")
    assert result.exit_code == 3
    assert ROW_DATA not in result.output
    [problem] = findings("problem")
    assert problem["check"] == check
    assert problem["remedy"]


def test_what_passes_is_tried_again(project: FakeApi) -> None:
    project.on("doctor", page(502), answer())
    assert invoke("doctor").exit_code == 0


def test_a_look_that_failed_is_a_problem_with_its_code(project: FakeApi) -> None:
    project.on("doctor", answer({"version": "42883", "last_call": "53200"}, version=None, last_call=None))
    first, second = findings("problem")
    assert (first["check"], second["check"]) == ("migrations", "calls")
    assert "SQLSTATE 42883" in first["message"]
    assert "Apply supabase/migrations" in first["remedy"]
    assert "database's log" in second["remedy"]


def test_what_was_cut_is_not_told_as_the_whole(project: FakeApi) -> None:
    [shared] = contacts(addresses=2)["organizations"]
    project.on(
        "doctor",
        answer(
            memberships={"is_cut": True, "lacking": 1000, "named": [NAMED | {"role": None}]},
            audiences={"contacts": 100_000, "is_sample": True, "organizations": [shared, shared]},
        ),
    )
    [memberships], [duplicates] = findings("problem"), findings("warning")
    assert memberships["message"].startswith("At least 1,000 organizations with scheduled campaigns")
    assert duplicates["message"].startswith("4 addresses of more than one contact, in a sample of 100,000 contacts")
    project.on("doctor", answer(memberships={"is_cut": True, "lacking": 0, "named": []}))
    assert any("as far as these were looked at" in finding["message"] for finding in findings("ok"))


@pytest.mark.parametrize(("ahead", "word"), [(60.0, "behind"), (-60.0, "ahead of")])
def test_a_clock_is_wrong_only_where_the_way_there_and_back_does_not_explain_it(
    ahead: float, word: str, project: FakeApi, clock: FakeClock
) -> None:
    project.on("doctor", answer() | {"clock": clock.time() + ahead})
    [finding] = findings("warning")
    assert finding["message"] == f"This machine's clock is 60 s {word} the database's."

    project.on("doctor", answer() | {"clock": clock.time() + 55.0})
    project.before = lambda name, parameters: clock.advance(100.0)
    assert findings("warning") == []


def test_names_from_the_database_cannot_steer_the_terminal(project: FakeApi) -> None:
    project.on(
        "doctor",
        answer(requirements=[{"severity": "error", "lack": "column \x1b[2J is missing", "remedy": "add \x1b[2J;"}]),
    )
    result = invoke("doctor")
    assert "\x1b" not in result.stdout
    assert "column ?[2J is missing." in result.stdout
    assert "→ add ?[2J;" in result.stdout


def test_a_mistake_of_ours_shows_no_row(project: FakeApi, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object) -> None:
        raise ZeroDivisionError(ROW_DATA)

    logging.getLogger("runner").handlers.clear()  # as in a new process
    monkeypatch.setattr("runner.commands.doctor.clock_finding", fail)
    result = invoke("doctor")
    assert result.exit_code == 3
    assert "ZeroDivisionError" in result.stderr
    assert ROW_DATA not in result.output
