"""All that keeps a due campaign from being launched, or looks wrong: the list that `doctor` and its docs share."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Severity = Literal["ok", "warning", "problem"]

APPLY = (
    "Apply supabase/migrations: `supabase db push`, or the files in the SQL editor, in their order. In a project with "
    "migrations of its own: python -m runner migrations DIRECTORY"
)


@dataclass(frozen=True)
class Trouble:
    """One kind of trouble: what `doctor` looked at, what is wrong in general, and what to do.

    `remedy` has the names of its blanks in braces.
    """

    check: str
    severity: Severity
    cause: str
    remedy: str


TROUBLES = {
    "setting": Trouble("settings", "problem", "a setting is missing or wrong", "Set it as .env.example says."),
    "misspelt": Trouble(
        "settings", "warning", "a name in the environment is near that of a setting", "Rename it to {meant}."
    ),
    "no_token": Trouble(
        "tokens",
        "warning",
        "no token is set: over HTTP every call is refused",
        "Set RUNNER_TOKENS where the HTTP function runs; the command line needs none.",
    ),
    "token": Trouble(
        "tokens", "problem", "a token is too short, or half of OIDC is set", "Set it as .env.example says."
    ),
    "unreachable": Trouble(
        "database",
        "problem",
        "nothing answers at SUPABASE_URL: connection refused, unknown host, no route, no TLS",
        "Compare SUPABASE_URL with the project's URL in its dashboard, and see that this machine may reach it.",
    ),
    "foreign": Trouble(
        "database",
        "problem",
        "a server answers that is no Supabase project",
        "Set SUPABASE_URL to the project's URL, as its dashboard shows it.",
    ),
    "impaired": Trouble(
        "database",
        "problem",
        "the project is paused, over its quota, starting, without a connection left, or locked",
        "Do what the message says. The next call goes on by itself.",
    ),
    "slow": Trouble(
        "database",
        "problem",
        "a statement took longer than the database allows",
        "See what else runs: select pid, state, now() - xact_start as age from pg_stat_activity order by age desc;",
    ),
    "refused": Trouble(
        "database", "problem", "the database refuses the question", "Look up the code in the database's log."
    ),
    "key": Trouble(
        "key",
        "problem",
        "the project refuses the key",
        "Copy a secret key (sb_secret_…) of this project, from its dashboard under API keys.",
    ),
    "schema": Trouble(
        "database",
        "problem",
        "the API does not expose the schema public",
        "Add public to the exposed schemas, in the dashboard under API settings.",
    ),
    "missing_functions": Trouble("migrations", "problem", "the migrations were never applied", APPLY),
    "old_functions": Trouble("migrations", "problem", "the migrations are older than the program", APPLY),
    "new_functions": Trouble(
        "migrations", "warning", "the migrations are newer than the program", "Deploy the newer version of the program."
    ),
    "object": Trouble(
        "migrations",
        "problem",
        "a function or table of the runner is gone, or a function was changed",
        "Run the files of supabase/migrations once more in the SQL editor, in their order, which does no harm. "
        "`supabase db push` leaves out what it has applied.",
    ),
    "look": Trouble(
        "migrations", "problem", "a check of the database failed", "Look up the code in the database's log."
    ),
    "locked_look": Trouble(
        "locks",
        "problem",
        "a table is locked, so that a check could not read it",
        "End the session that holds the lock (see locks), and ask the doctor again.",
    ),
    "table": Trouble(
        "tables",
        "problem",
        "a table or column is missing, of another type, or refuses what the runner writes",
        "{remedy}",
    ),
    "odd_table": Trouble("tables", "warning", "something about the tables may be meant otherwise", "{remedy}"),
    "grant": Trouble("privileges", "problem", "the key's role lacks a privilege", "{statement}"),
    "closed": Trouble(
        "privileges",
        "problem",
        "the key's role may not execute the runner's functions",
        "grant usage on schema campaign_runner to service_role; "
        "grant execute on all functions in schema campaign_runner to service_role; "
        "grant execute on function public.campaign_runner_doctor(uuid, text[]) to service_role;",
    ),
    "read_only": Trouble(
        "writing",
        "problem",
        "the database is read-only, as a full disk makes it",
        "Free or add disk space, then: set session characteristics as transaction read write; "
        "alter database {database} reset default_transaction_read_only;",
    ),
    "unwritable": Trouble(
        "writing", "problem", "the database refuses to write", "Free or add disk space, or look up the code."
    ),
    "lock": Trouble(
        "locks",
        "problem",
        "another transaction holds a lock on a table or on rows",
        "Commit it, or end its session, whose uncommitted work is lost: select pg_terminate_backend({pid});",
    ),
    "unprivileged_look": Trouble(
        "privileges",
        "problem",
        "a check could not look, for want of a privilege",
        "Grant what stands under privileges, and ask the doctor again.",
    ),
    "index": Trouble("indexes", "problem", "an index is missing or invalid", "{statement}"),
    "system_user": Trouble(
        "system user",
        "problem",
        "SYSTEM_USER_ID is no row of profiles",
        "insert into public.profiles (id) values ('{system_user_id}');",
    ),
    "membership": Trouble(
        "memberships",
        "problem",
        "the system user is no member of an organization that schedules campaigns",
        "If a campaign stands in the wrong organization, correct its organization_id. If not: {statement}",
    ),
    "unscheduled": Trouble(
        "schedules",
        "warning",
        "a campaign is scheduled without a time",
        "update public.campaigns set scheduled_at = now() where id = '{campaign_id}';",
    ),
    "no_organization": Trouble(
        "schedules",
        "warning",
        "a scheduled campaign belongs to no organization",
        "update public.campaigns set organization_id = 'ORGANIZATION' where id = '{campaign_id}';",
    ),
    "never_due": Trouble(
        "schedules",
        "warning",
        "a scheduled campaign, or its organization, is deleted, archived or closed: it is never due",
        "Set the campaign {campaign_id} to draft. Or, if it shall go out: {reopening}",
    ),
    "recipients": Trouble(
        "recipients",
        "warning",
        "a scheduled campaign has recipients that no launch wrote: its launch generates none",
        "If a person did not choose them: delete from public.campaign_recipients where campaign_id = '{campaign_id}' "
        "and status = 'pending';",
    ),
    "nobody": Trouble(
        "launches",
        "warning",
        "a launch of the last 7 days has no recipient to mail",
        "{advice} To launch the campaign again: update public.campaigns set status = 'scheduled' where id = "
        "'{campaign_id}';",
    ),
    "dropped": Trouble(
        "launches",
        "warning",
        "a trigger dropped recipients of a launch of the last 7 days",
        "Correct the trigger, or switch it off: {statement} To launch the campaign again: update public.campaigns set "
        "status = 'scheduled' where id = '{campaign_id}';",
    ),
    "unmatched": Trouble(
        "launches",
        "warning",
        "a launch of the last 7 days has an exclusion that matched nothing",
        "See which: python -m runner history {campaign_id}",
    ),
    "late": Trouble(
        "campaigns",
        "problem",
        "a ready campaign waits for a run: nothing calls, or the runs make no headway",
        "Call the runner: python -m runner run",
    ),
    "failing": Trouble(
        "campaigns",
        "problem",
        "a campaign failed, and is tried again",
        "Correct the cause. To have it tried at once: python -m runner retry {campaign_id}",
    ),
    "refused_by_guard": Trouble(
        "campaigns",
        "problem",
        "a trigger, rule, constraint, index or column of the project refuses a campaign, or is too slow",
        "{advice} Or take away what refused, for all campaigns: {statement} Then: python -m runner retry {campaign_id}",
    ),
    "unprivileged": Trouble(
        "campaigns",
        "problem",
        "a function or default of the project, such as public.campaign_runner_exclusions, lacks a privilege",
        "Grant what public.campaign_runner_exclusions, or a default of a column, needs, as: {statement} "
        "Then: python -m runner retry {campaign_id}",
    ),
    "refused_by_exclusions": Trouble(
        "campaigns",
        "problem",
        "the project's own function public.campaign_runner_exclusions fails",
        "Correct your function public.campaign_runner_exclusions (docs/audience.md), or what it reads. "
        "Then: python -m runner retry {campaign_id}",
    ),
    "see_memberships": Trouble(
        "campaigns",
        "problem",
        "a campaign waits until the system user may act for its organization",
        "Do what stands under memberships; the next call launches the campaign.",
    ),
    "see_tables": Trouble(
        "campaigns",
        "problem",
        "a campaign failed by what is wrong with a table",
        "Correct what stands under tables. Then: python -m runner retry {campaign_id}",
    ),
    "locked": Trouble(
        "campaigns",
        "problem",
        "a lock has kept a campaign for over a minute",
        "End the transaction that holds the lock (see locks); the next call launches the campaign.",
    ),
    "held": Trouble(
        "campaigns",
        "problem",
        "a campaign is too late (MAX_LATENESS_MINUTES), and held",
        "To launch it now: update public.campaigns set scheduled_at = now() where id = '{campaign_id}';",
    ),
    "needs_attention": Trouble(
        "campaigns",
        "problem",
        "ten attempts failed",
        "Correct the cause, then: python -m runner retry {campaign_id}",
    ),
    "hindered": Trouble(
        "campaigns",
        "warning",
        "for less than a minute a lock, or work that takes too long, has kept a campaign",
        "Ask the doctor again in a minute: what lasts for longer is a problem. For a lock, see locks.",
    ),
    "no_member": Trouble(
        "campaigns",
        "problem",
        "the system user may not act for the campaign's organization",
        "If the campaign stands in the wrong organization, correct its organization_id. If not: {statement}",
    ),
    "taken_over": Trouble(
        "campaigns",
        "problem",
        "a person set a campaign to sending before its audience was complete",
        "To have the audience completed: update public.campaigns set status = 'scheduled' where id = '{campaign_id}';",
    ),
    "duplicates": Trouble(
        "contacts",
        "warning",
        "several contacts share an e-mail address",
        "Merge those contacts: of several with one address, only the lowest eligible id gets a campaign.",
    ),
    "mobiles": Trouble(
        "contacts",
        "warning",
        "several contacts without an e-mail address share a mobile number",
        "Merge those contacts: each of them gets a campaign.",
    ),
    "malformed": Trouble(
        "contacts", "warning", "an e-mail address is malformed", "Correct it: the contact becomes a recipient as it is."
    ),
    "unknown": Trouble(
        "contacts",
        "warning",
        "is_subscribed is NULL, which counts as subscribed",
        "Set is_subscribed: such a contact gets campaigns.",
    ),
    "unlooked": Trouble(
        "contacts",
        "warning",
        "contacts with one address were not looked for, since their index is missing",
        "Build the index campaign_runner_addresses_idx, see above.",
    ),
    "unreported": Trouble(
        "runs",
        "warning",
        "a run was ended from outside before its report",
        "Nothing is lost: the next call goes on. See why its process ended, in the log of its run_id.",
    ),
    "no_call": Trouble(
        "calls",
        "problem",
        "campaigns are due, and nothing calls",
        "Start a trigger: ./deploy.sh start, or another one of docs/operations.md. Before the first run: "
        "python -m runner run --dry-run",
    ),
    "old_call": Trouble(
        "calls",
        "warning",
        "nothing calls, and no campaign is due",
        "Start a trigger: ./deploy.sh start, or another one of docs/operations.md.",
    ),
    "passed_over": Trouble(
        "calls",
        "warning",
        "the last call was for one organization alone, and campaigns of others are due",
        "Call the runner without organization_id, or once for each organization. For all at once: python -m runner run",
    ),
    "other_settings": Trouble(
        "calls",
        "warning",
        "the last call had other settings than this shell",
        "Set the same here and there; the deployed function takes up settings with ./deploy.sh.",
    ),
    "clock": Trouble(
        "clocks",
        "warning",
        "the clocks of this machine and of the database differ",
        "Set this machine's clock by NTP. Campaigns start by the clock of the database.",
    ),
}
