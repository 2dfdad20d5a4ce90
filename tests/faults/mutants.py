"""Deliberate breaks of the promises, each of which must turn tests red: `make mutants`.

Each is made in a copy of the project, where the tests run that are to notice.
"""

from __future__ import annotations

import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import click

PROJECT = Path(__file__).parent.parent.parent
INSTALLED = (".venv", "local/node_modules")
ONE_FAILURE = 1  # pytest's exit code for tests that failed; others mean that they did not run

AUDIENCE = "supabase/migrations/20261124000400_create_audience.sql"
LAUNCH = "supabase/migrations/20261124000500_create_launch.sql"
STEP = "supabase/migrations/20261124000600_create_step.sql"


@dataclass(frozen=True)
class Mutant:
    """`old`, which stands once in the file, becomes `new`."""

    promise: str
    what: str
    file: str
    old: str
    new: str
    tests: Sequence[str]

    def __str__(self) -> str:
        return f"{self.promise}: {self.what}"

    def apply(self, root: Path) -> None:
        """Break the copy of the project at `root`. Raises ValueError where `old` does not stand there once."""
        path = root / self.file
        text = path.read_text()
        if text.count(self.old) != 1:
            raise ValueError(f"{self}: the text to break stands {text.count(self.old)} times in {self.file}")
        path.write_text(text.replace(self.old, self.new))


MUTANTS = (
    Mutant(
        "P1",
        "a contact with the highest id is forgotten",
        AUDIENCE,
        "and (c.id < p_to or p_to = 'ffffffff-ffff-ffff-ffff-ffffffffffff') is true\n",
        "and c.id < p_to\n",
        ["tests/database/test_audience.py"],
    ),
    Mutant(
        "P1",
        "rows are counted before the flip, and not looked at",
        LAUNCH,
        "s.recipients = found.recipients and s.digest = found.digest as is_same",
        "s.recipients = found.recipients as is_same",
        ["tests/database/test_interference.py"],
    ),
    Mutant(
        "P1",
        "a contact below the range that has the same address is overlooked",
        AUDIENCE,
        "p_from, (select a.hashes from addresses a)",
        "p_from, '{}'",
        ["tests/database/test_audience.py"],
    ),
    Mutant(
        "P1",
        "a reconcile compares how many qualify, and not who",
        AUDIENCE,
        "q.n = p_recipients and q.digest = p_digest",
        "q.n = p_recipients",
        ["tests/database/test_interference.py"],
    ),
    Mutant(
        "P6",
        "a launch that was disturbed too often is never mended",
        LAUNCH,
        "v_is_written := v_launch.rechecks = 0 and",
        "v_is_written :=",
        ["tests/database/test_interference.py"],
    ),
    Mutant(
        "P6",
        "a recipient that somebody commits beside us is an error",
        LAUNCH,
        "if v_has_conflicts then",
        "if true then",
        ["tests/concurrency/test_permutations.py"],
    ),
    Mutant(
        "P2",
        "a claim is not locked",
        LAUNCH,
        "if not pg_try_advisory_xact_lock(campaign_runner.lock_key('claim', p_campaign_id)) then",
        "if false then",
        ["tests/concurrency"],
    ),
    Mutant(
        "P2",
        "recipients of the launch before are generated anew",
        LAUNCH,
        "or not exists (select from public.campaign_recipients r where r.campaign_id = p_campaign_id)",
        "or true",
        ["tests/database/test_launch.py"],
    ),
    Mutant(
        "P3",
        "a step does not ask whether the other slices are through",
        LAUNCH,
        'where s.launch_id = v_launch.id and s."cursor" is not null\n        ) then',
        "where false\n        ) then",
        ["tests/database/test_launch.py"],  # where a launch that makes no headway is given up
    ),
    Mutant(
        "P3",
        "what an interrupted launch left counts as recipients that were there before",
        LAUNCH,
        "select l.left_recipients\n",
        "select false\n",
        ["tests/database/test_interference.py"],
    ),
    Mutant(
        "P4",
        "the flip does not ask for the status",
        LAUNCH,
        "where c.id = v_launch.campaign_id and c.status = 'scheduled' and c.scheduled_at <= p_now",
        "where c.id = v_launch.campaign_id",
        ["tests/database/test_interference.py", "tests/concurrency"],
    ),
    Mutant(
        "P4",
        "the flip does not ask for schedule and rules",
        LAUNCH,
        "if v_launch.fingerprint is distinct from campaign_runner.fingerprint(v_launch.campaign_id) then",
        "if false then",
        ["tests/database/test_interference.py"],
    ),
    Mutant(
        "P4",
        "rules that somebody is editing are not locked",
        LAUNCH,
        "for share skip locked;",
        "limit 1;",
        ["tests/concurrency"],
    ),
    Mutant(
        "P5",
        "only an audience of one step is reconciled in the transaction of the flip",
        LAUNCH,
        "begin_reconcile(v_launch.id, p_max_rows * v_reconcile_factor)",
        "begin_reconcile(v_launch.id, p_max_rows)",
        ["tests/database/test_launch.py"],
    ),
    Mutant(
        "P5",
        "an audience of several steps is not reconciled",
        LAUNCH,
        "if v_launch.generates and v_launch.state = 'generating' and not v_is_whole then",
        "if false then",
        ["tests/concurrency"],
    ),
    Mutant(
        "P6",
        "an error of one campaign undoes the step",
        STEP,
        "if left(v_code, 2) in ('08', '53', '57', '58') then",
        "if true then",
        ["tests/database/test_failures.py"],
    ),
    Mutant(
        "P6",
        "a failure waits for the step that holds its launch",
        STEP,
        "where l.id = v_launch.id and l.closed_at is null\n    for update skip locked;",
        "where l.id = v_launch.id and l.closed_at is null\n    for update;",
        ["tests/concurrency/test_permutations.py"],
    ),
    Mutant(
        "P6",
        "a campaign that keeps failing is tried for ever",
        STEP,
        "p_code = 'CR002' or l.attempts + 1 >= v_attempts_until_attention",
        "false",
        ["tests/database/test_failures.py"],
    ),
    Mutant(
        "P6",
        "the huge campaign goes first",
        STEP,
        "array_agg(queue.campaign_id order by queue.turn, queue.has_begun,",
        "array_agg(queue.campaign_id order by queue.has_begun desc,",
        ["tests/database/test_launch.py"],
    ),
    Mutant(
        "P7",
        "the report does not wait for a step that is still running",
        STEP,
        "perform pg_advisory_xact_lock(campaign_runner.lock_key('run', p_run_id));",
        "",
        ["tests/concurrency"],
    ),
    Mutant(
        "P7",
        "a run that has answered takes another step",
        STEP,
        "if exists (select from campaign_runner.runs r where r.id = p_run_id and r.closed_at is not null) then",
        "if false then",
        ["tests/concurrency"],
    ),
    Mutant(
        "P7",
        "a lost answer counts as one that had nothing to say",
        "runner/run.py",
        "return self._crew.attempts == 1 and last is not None",
        "return last is not None",
        ["tests/unit/test_run.py", "tests/faults/test_lost_answers.py"],
    ),
    Mutant(
        "P8",
        "a step takes the whole audience",
        LAUNCH,
        "offset v_max_rows",
        "offset 1000000",
        ["tests/database/test_launch.py"],
    ),
    Mutant(
        "P8",
        "a plan for any range walks the contacts of all organizations",
        AUDIENCE,
        "and (c.organization_id, c.id) >= (v_organization_id, p_from)",
        "and c.organization_id = v_organization_id and c.id >= p_from and c.id <= p_to",
        ["tests/database/test_plans.py"],
    ),
    Mutant(
        "P8",
        "a plan from an empty table looks for bounces among the recipients of all campaigns",
        AUDIENCE,
        "select r.contact_id\n"
        "            from public.campaign_recipients r\n"
        "            where v_rules.exclude_bounced\n"
        "                and p_address_hashes is null\n",
        "select distinct r.contact_id\n"
        "            from public.campaign_recipients r\n"
        "            where v_rules.exclude_bounced\n"
        "                and p_address_hashes is null\n",
        ["tests/database/test_plans.py"],
    ),
    Mutant(
        "P8",
        "a plan from an empty table reads the recipients of all campaigns",
        AUDIENCE,
        "where (r.campaign_id, r.contact_id) >= (p_campaign_id, p_from)\n"
        "                and (r.campaign_id, r.contact_id) <= (p_campaign_id, p_to)\n",
        "where r.campaign_id = p_campaign_id and r.contact_id between p_from and p_to\n",
        ["tests/database/test_plans.py"],
    ),
    Mutant(
        "P8",
        "a run goes on beyond its budget",
        "runner/budget.py",
        "return self._clock.now() + seconds < self.steps_end",
        "return self._clock.now() < self.steps_end + 60",
        ["tests/unit/test_run.py"],
    ),
    Mutant(
        "P9",
        "everybody may read the report of a run",
        STEP,
        "grant execute on function public.campaign_runner_report(uuid) to service_role;",
        "grant execute on function public.campaign_runner_report(uuid) to public;",
        ["tests/database/test_privileges.py"],
    ),
    Mutant(
        "P9",
        "any token will do",
        "runner/auth.py",
        "    return bool(matches)",
        "    return True",
        ["tests/unit/test_auth.py"],
    ),
    Mutant(
        "P9",
        "the ID token of any service account will do",
        "runner/auth.py",
        'if claims.get("email") != identity.service_account:',
        "if False:",
        ["tests/unit/test_identity.py"],
    ),
    Mutant(
        "P9",
        "the membership of the system user is not asked for",
        LAUNCH,
        "where not campaign_runner.is_permitted(p_organization_id, p_system_user_id, p_system_user_roles)",
        "where false",
        ["tests/database/test_failures.py"],
    ),
    Mutant(
        "P9",
        "an error quotes the database, and so a row",
        STEP,
        "when p_code like 'CR%' then p_message",
        "when true then p_message",
        ["tests/database/test_failures.py"],
    ),
)


@contextmanager
def copied_project() -> Iterator[Path]:
    """A copy of what git knows of, with the same installation."""
    with tempfile.TemporaryDirectory(prefix="mutant-") as directory:
        root = Path(directory)
        files = subprocess.run(["git", "ls-files", "-z"], cwd=PROJECT, capture_output=True, check=True).stdout
        for name in filter(None, files.decode().split("\0")):
            (root / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(PROJECT / name, root / name)
        for name in INSTALLED:
            (root / name).symlink_to(PROJECT / name)
        yield root


@click.command()
@click.argument("words", nargs=-1)
def main(words: Sequence[str]) -> None:
    """Try the mutants, or those whose names contain one of WORDS. Exit code 1: one of them survived."""
    chosen = [mutant for mutant in MUTANTS if not words or any(word in str(mutant) for word in words)]
    survivors = 0
    for mutant in chosen:
        started = time.monotonic()
        with copied_project() as root:
            mutant.apply(root)
            command = [sys.executable, "-m", "pytest", "-q", "-x", "-p", "no:cacheprovider", *mutant.tests]
            tests = subprocess.run(command, cwd=root, capture_output=True, text=True)
        killer = next((line for line in tests.stdout.splitlines() if line.startswith(("FAILED", "ERROR"))), "")
        killed = tests.returncode == ONE_FAILURE and killer.startswith("FAILED")
        survivors += not killed
        verdict = killer.split(" - ")[0].removeprefix("FAILED ") if killed else f"SURVIVED {tests.stdout[-2000:]}"
        click.echo(f"{mutant} ({time.monotonic() - started:.0f} s)\n    {verdict}")
    click.echo(f"{len(chosen) - survivors} of {len(chosen)} mutants turned a test red.")
    sys.exit(1 if survivors or not chosen else 0)


if __name__ == "__main__":
    main()
