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

FUNCTIONS = "supabase/migrations/20261124000400_create_functions.sql"
UPGRADES = "tests/faults/test_upgrade.py"
RULES = "tests/database/test_rules.py"
FAILURES = "tests/database/test_failures.py"
INTERFERENCE = "tests/database/test_interference.py"
PERMUTATIONS = "tests/concurrency/test_permutations.py"
CROWDED = "tests/database/test_crowded_addresses.py"
VANISHING = "tests/concurrency/test_vanishing_contacts.py"
TROUBLES = "tests/http/test_troubles.py"
ISOLATION = "tests/concurrency/test_isolation.py"
PLANS = "tests/database/test_plan_guarantee.py"


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
        FUNCTIONS,
        "and (c.id < p_to or p_to = v_last) is true\n",
        "and c.id < p_to\n",
        ["tests/database/test_audience.py"],
    ),
    Mutant(
        "P1",
        "a contact outside the range that has the same address is overlooked",
        FUNCTIONS,
        "p_campaign_id, p_rules.organization_id, v_hashes,\n",
        "p_campaign_id, p_rules.organization_id, '{}'::bigint[],\n",
        [
            VANISHING
            + "::test_of_twins_in_two_chunks_just_one_gets_the_mail_whatever_becomes_of_the_lower_one_in_between"
        ],
    ),
    Mutant(
        "P1",
        "a recipient of this pass does not keep its place before its twin",
        FUNCTIONS,
        "case when t.is_final and not p_among_recipients then 0 else 1 end",
        "1",
        [VANISHING + "::test_of_twins_in_two_chunks_the_one_that_the_reconcile_reached_first_keeps_the_mail"],
    ),
    Mutant(
        "P1",
        "a twin that this pass left out takes the mail away",
        FUNCTIONS,
        "and (t.status is not null or not t.is_final));\n",
        ");\n",
        [
            VANISHING
            + "::test_of_twins_in_two_chunks_just_one_gets_the_mail_whatever_becomes_of_the_lower_one_in_between"
        ],
    ),
    Mutant(
        "P1",
        "a twin whose mail is on its way does not go first",
        FUNCTIONS,
        "select case when sent.status = 'pending' then 1 else 0 end",
        "select 1",
        [INTERFERENCE + "::test_a_contact_whose_twin_was_sent_the_mail_gets_none"],
    ),
    Mutant(
        "P1",
        "twins of one range are overlooked where none is outside",
        FUNCTIONS,
        "if cardinality(v_twin_ids) = 0 and cardinality(v_hashes) = coalesce(cardinality(p_address_hashes), 0) then",
        "if cardinality(v_twin_ids) = 0 then",
        ["tests/database/test_audience.py"],
    ),
    Mutant(
        "P1",
        "the first twins of a crowd speak for all of them",
        FUNCTIONS,
        "where a.contact_ids is not null",
        "where false",
        ["tests/database/test_audience.py", CROWDED],
    ),
    Mutant(
        "P1",
        "a crowd of opt-outs at one address hides those at others",
        FUNCTIONS,
        "where (select count(*) from usual) >= v_rows_at_most;\n",
        "where false;\n",
        [CROWDED],
    ),
    Mutant(
        "P1",
        "a crowd at one address hides the twins at others",
        FUNCTIONS,
        "where (select i.yes from is_crowded i)\n",
        "where false\n",
        [CROWDED, "tests/database/test_audience.py"],
    ),
    Mutant(
        "P1",
        "in a crowd the opt-out of a deleted contact counts",
        FUNCTIONS,
        "and (deleted_at is null) is true\n",
        "",
        [CROWDED],
    ),
    Mutant(
        "P1",
        "an opt-out stays with its contact",
        FUNCTIONS,
        "(not c.is_subscribed or c.address in (select o.address from opted_out o))",
        "not c.is_subscribed",
        [RULES + "::test_an_address_that_opted_out_on_one_contact_opted_out_on_all"],
    ),
    Mutant(
        "P1",
        "the opt-out of a deleted contact counts for its address",
        FUNCTIONS,
        "select u.address from usual u where not u.is_deleted\n",
        "select u.address from usual u\n",
        [RULES + "::test_an_address_that_opted_out_on_one_contact_opted_out_on_all"],
    ),
    Mutant(
        "P1",
        "the rules of another tenant count",
        FUNCTIONS,
        "where coalesce((r.fields ->> 'organization_id')::uuid = p_organization_id, true)\n",
        "where true\n",
        [RULES + "::test_rules_and_tags_of_another_tenant_are_ignored_on_other_tables"],
    ),
    Mutant(
        "P1",
        "the tag assignments of another tenant count",
        FUNCTIONS,
        "where coalesce(assigned.tenant = p_organization_id, true);",
        "where true;",
        [RULES + "::test_rules_and_tags_of_another_tenant_are_ignored_on_other_tables"],
    ),
    Mutant(
        "P1",
        "the project's own rules are not asked",
        FUNCTIONS,
        "case when campaign_runner.has_exclusions()\n                    then array(select i.",
        "case when false\n                    then array(select i.",
        [RULES + "::test_the_projects_own_rules_count_everywhere"],
    ),
    Mutant(
        "P1",
        "a twin that the project's own rules leave out keeps the mail away",
        FUNCTIONS,
        "select t.contact_id from twins t where t.reason is null)",
        "select t.contact_id from twins t where false)",
        [RULES + "::test_a_twin_that_the_projects_rules_leave_out_takes_no_mail_away"],
    ),
    Mutant(
        "P2",
        "the opening of a launch is not locked",
        FUNCTIONS,
        "if not pg_try_advisory_xact_lock(campaign_runner.lock_key('launch', p_campaign_id)) then",
        "if false then",
        [PERMUTATIONS + "::test_claim_claim__the_second_run_leaves_a_claimed_campaign_alone"],
    ),
    Mutant(
        "P2",
        "recipients of the launch before are generated anew",
        FUNCTIONS,
        "or not exists (select from public.campaign_recipients r where r.campaign_id = p_campaign_id)",
        "or true",
        ["tests/database/test_launch.py::test_recipients_that_somebody_chose_beforehand_are_kept_and_none_are_added"],
    ),
    Mutant(
        "P3",
        "a step does not ask whether the other chunks are through",
        FUNCTIONS,
        "where s.launch_id = p_launch_id and s.\"cursor\" is not null\n            )\n            then 'through'",
        "where false\n            )\n            then 'through'",
        ["tests/database/test_launch.py::test_a_due_campaign_is_launched_with_its_whole_audience"],
    ),
    Mutant(
        "P3",
        "what an interrupted launch left counts as recipients that were there before",
        FUNCTIONS,
        "select l.left_recipients\n",
        "select false\n",
        [INTERFERENCE + "::test_recipients_that_outlive_their_campaign_are_completed_when_it_is_made_again"],
    ),
    Mutant(
        "P3",
        "recipients are handed over while a launch is open",
        FUNCTIONS,
        "where l.campaign_id = c.id and l.closed_at is null and l.generates",
        "where false",
        [RULES + "::test_recipients_are_not_handed_over_while_a_launch_of_their_campaign_is_open"],
    ),
    Mutant(
        "P4",
        "the last look does not ask whether the campaign is due",
        FUNCTIONS,
        "if not exists (select from campaign_runner.due_campaigns(array[p_launch.campaign_id], p_now)) then",
        "if false then",
        [INTERFERENCE + "::test_an_edit_between_the_last_look_and_the_final_update_stops_that_update"],
    ),
    Mutant(
        "P4",
        "the last look does not ask for schedule and rules",
        FUNCTIONS,
        "if p_launch.rules_hash is distinct from v_rules.hash then",
        "if false then",
        [INTERFERENCE + "::test_an_edit_between_the_last_look_and_the_final_update_stops_that_update"],
    ),
    Mutant(
        "P4",
        "the final status update does not lock the campaign",
        FUNCTIONS,
        "where c.id = p_launch.campaign_id for no key update skip locked;",
        "where c.id = p_launch.campaign_id;",
        [ISOLATION + "::test_an_edit_and_a_launch_in_one_step_in_all_orders"],
    ),
    Mutant(
        "P4",
        "rules that somebody is editing are not locked",
        FUNCTIONS,
        "for share skip locked;",
        "limit 1;",
        [PERMUTATIONS + "::test_mark_sending_edit_rules__rules_that_are_being_edited_are_not_launched_by"],
    ),
    Mutant(
        "P4",
        "an edit of the excluded countries is not seen",
        FUNCTIONS,
        "to_jsonb(v_rules) - 'unmatched_tags',",
        "to_jsonb(v_rules) - 'unmatched_tags' - 'exclude_countries',",
        [INTERFERENCE + "::test_rules_that_are_edited_hold_for_the_whole_audience"],
    ),
    Mutant(
        "P4",
        "an edit does not make a launch ready that waits",
        FUNCTIONS,
        "or p_failed_version is distinct from p_version\n",
        "",
        [FAILURES + "::test_an_edit_frees_a_campaign_that_needs_attention"],
    ),
    Mutant(
        "P4",
        "what is deleted or archived is due",
        FUNCTIONS,
        "where campaign.is_there and organization.is_open;",
        "where organization.is_open;",
        [RULES + "::test_what_is_deleted_archived_or_closed_is_not_due"],
    ),
    Mutant(
        "P4",
        "the campaign of an organization that is deleted or closed is due",
        FUNCTIONS,
        "where campaign.is_there and organization.is_open;",
        "where campaign.is_there;",
        [RULES + "::test_what_is_deleted_archived_or_closed_is_not_due"],
    ),
    Mutant(
        "P5",
        "an audience of several steps is not reconciled",
        FUNCTIONS,
        "if v_launch.generates and v_launch.state = 'generating' and not p_is_whole then",
        "if false then",
        [PERMUTATIONS + "::test_generate_unsubscribe__who_unsubscribes_behind_the_cursor_is_no_recipient"],
    ),
    Mutant(
        "P5",
        "a reconcile that stood still for long goes on",
        FUNCTIONS,
        "v_stale_after constant interval := '1 day';",
        "v_stale_after constant interval := '100 years';",
        [INTERFERENCE + "::test_a_launch_that_stood_still_for_long_reads_all_contacts_again"],
    ),
    Mutant(
        "P6",
        "a recipient that somebody commits beside us is an error",
        FUNCTIONS,
        "when foreign_key_violation or unique_violation then",
        "when foreign_key_violation then",
        [VANISHING + "::test_a_recipient_that_another_writer_commits_first_is_kept"],
    ),
    Mutant(
        "P6",
        "a contact that vanishes is a failure of its campaign",
        FUNCTIONS,
        "when foreign_key_violation or unique_violation then",
        "when unique_violation then",
        [
            VANISHING + "::test_a_contact_that_is_deleted_between_its_evaluation_and_its_insert_is_nobodys_failure",
        ],
    ),
    Mutant(
        "P6",
        "an error of one campaign undoes the step",
        FUNCTIONS,
        "if v_code = '57014' and v_message = 'canceling statement due to user request' then",
        "if true then",
        [FAILURES + "::test_a_campaign_that_a_trigger_refuses_does_not_keep_others_from_their_launch"],
    ),
    Mutant(
        "P6",
        "an error that may be the database's undoes the step",
        FUNCTIONS,
        "if v_code = '57014' and v_message = 'canceling statement due to user request' then",
        "if left(v_code, 2) = '53' then",
        [FAILURES + "::test_what_may_be_the_databases_trouble_is_named_pushed_back_and_not_counted"],
    ),
    Mutant(
        "P6",
        "a failure that cannot be recorded undoes the step",
        FUNCTIONS,
        "    );\nexception\n    when query_canceled or assert_failure or others then\n",
        "    );\nexception\n    when no_data_found then\n",
        [FAILURES + "::test_a_failure_that_cannot_be_recorded_ends_the_step_and_undoes_no_launch"],
    ),
    Mutant(
        "P6",
        "what may be the database's trouble counts as an attempt",
        FUNCTIONS,
        "elsif v_may_be_database and (",
        "elsif false and (",
        [FAILURES + "::test_what_may_be_the_databases_trouble_is_named_pushed_back_and_not_counted"],
    ),
    Mutant(
        "P6",
        "trouble that only one campaign has is the database's for ever",
        FUNCTIONS,
        "and other.state = 'launched' and other.id <> v_launch.id",
        "and false",
        [FAILURES + "::test_trouble_that_only_one_campaign_has_is_its_own"],
    ),
    Mutant(
        "P6",
        "a failure waits for the step that holds its launch",
        FUNCTIONS,
        "where l.id = v_launch.id and l.closed_at is null\n    for update skip locked;",
        "where l.id = v_launch.id and l.closed_at is null\n    for update;",
        [PERMUTATIONS + "::test_step_failure__a_failure_that_cannot_be_recorded_undoes_no_other_launch"],
    ),
    Mutant(
        "P6",
        "a campaign that keeps failing is tried for ever",
        FUNCTIONS,
        "v_attempts_until_attention constant integer := 10;",
        "v_attempts_until_attention constant integer := 1000000;",
        [FAILURES + "::test_a_campaign_that_keeps_failing_backs_off_and_needs_attention_after_ten_attempts"],
    ),
    Mutant(
        "P6",
        "an edit does not start the count of attempts again",
        FUNCTIONS,
        "case when v_launch.failed_version is distinct from p_version then 0 else v_launch.attempts end;",
        "v_launch.attempts;",
        [FAILURES + "::test_an_edit_starts_the_count_of_attempts_again"],
    ),
    Mutant(
        "P6",
        "a missing membership is tried again by the clock",
        FUNCTIONS,
        "when p_code = 'CR403' or v_attempts >= v_attempts_until_attention then 'needs_attention'\n"
        "                else 'backoff'\n"
        "            end,\n"
        "            -- A minute, doubled each time, at most an hour.\n"
        "            next_attempt_at = case\n"
        "                when p_code not in ('CR002', 'CR403') and",
        "when v_attempts >= v_attempts_until_attention then 'needs_attention'\n"
        "                else 'backoff'\n"
        "            end,\n"
        "            next_attempt_at = case\n"
        "                when p_code <> 'CR002' and",
        [
            FAILURES
            + "::test_a_missing_membership_is_not_tried_again_by_the_clock_and_a_membership_frees_the_campaign",
        ],
    ),
    Mutant(
        "P6",
        "the huge campaign goes first",
        FUNCTIONS,
        "order by q.turn, q.has_begun, q.since, q.lot)",
        "order by q.has_begun desc, q.since, q.lot)",
        ["tests/database/test_launch.py::test_small_campaigns_go_ahead_of_the_next_chunks_of_a_huge_one"],
    ),
    Mutant(
        "P7",
        "the report does not wait for a step that is still running",
        FUNCTIONS,
        "perform pg_advisory_xact_lock(campaign_runner.lock_key('run', p_run_id));",
        "",
        [PERMUTATIONS],
    ),
    Mutant(
        "P7",
        "a run that has answered takes another step",
        FUNCTIONS,
        "if exists (select from campaign_runner.runs r where r.id = p_run_id and r.closed_at is not null) then",
        "if false then",
        [PERMUTATIONS + "::test_report_step__a_step_that_comes_after_the_report_is_refused"],
    ),
    Mutant(
        "P7",
        "a lost answer counts as one that had nothing to say",
        "runner/run/run.py",
        "return self._workers.attempts == 1 and last is not None",
        "return last is not None",
        ["tests/unit/test_run.py", "tests/faults/test_lost_answers.py"],
    ),
    Mutant(
        "P8",
        "a step takes the whole audience",
        FUNCTIONS,
        "offset p_n\n",
        "offset 1000000\n",
        ["tests/database/test_launch.py::test_a_launch_in_many_steps_stays_scheduled_until_it_is_complete"],
    ),
    Mutant(
        "P8",
        "rules that are saved again without a change cost steps",
        FUNCTIONS,
        "to_jsonb(v_rules) - 'unmatched_tags',",
        "to_jsonb(v_rules) - 'unmatched_tags', campaign_runner.version(p_campaign_id),",
        [INTERFERENCE + "::test_rules_that_are_saved_again_without_a_change_cost_no_step"],
    ),
    Mutant(
        "P8",
        "a plan for any range walks the contacts of all organizations",
        FUNCTIONS,
        "and c.organization_id = any (array[p_rules.organization_id])\n",
        "and (c.organization_id = p_rules.organization_id) is true\n",
        ["tests/database/test_plans.py::test_a_small_audience_never_reads_the_contacts_of_other_organizations"],
    ),
    Mutant(
        "P8",
        "a plan from an empty table looks for bounces among the recipients of all campaigns",
        FUNCTIONS,
        "and r.status = 'bounced'\n                and r.organization_id",
        "and (r.status = 'bounced') is true\n                and r.organization_id",
        ["tests/database/test_plans.py::test_no_plan_from_an_empty_table_reads_the_recipients_of_other_campaigns"],
    ),
    Mutant(
        "P8",
        "a plan from an empty table reads the recipients of all campaigns",
        FUNCTIONS,
        "where r.campaign_id = any (array[p_campaign_id])\n                and r.contact_id >= p_from\n",
        "where (r.campaign_id = p_campaign_id) is true\n                and r.contact_id >= p_from\n",
        ["tests/database/test_plans.py::test_no_plan_from_an_empty_table_reads_the_recipients_of_other_campaigns"],
    ),
    Mutant(
        "P8",
        "a range reads all contacts that share an address with one of its own",
        FUNCTIONS,
        "                limit p_twins_at_most\n",
        "",
        [CROWDED],
    ),
    Mutant(
        "P8",
        "a range reads all opt-outs of an address",
        FUNCTIONS,
        "                limit v_rows_at_most\n            ) k\n        )\n        select u.",
        "            ) k\n        )\n        select u.",
        [CROWDED],
    ),
    Mutant(
        "P8",
        "the view reads the rules for each of its rows",
        FUNCTIONS,
        "        order by rules.hash\n",
        "",
        ["tests/database/test_sendable.py"],
    ),
    Mutant(
        "P8",
        "a run goes on beyond its budget",
        "runner/run/deadline.py",
        "return self._clock.now() + seconds < self.steps_end",
        "return self._clock.now() < self.steps_end + 60",
        ["tests/unit/test_run.py"],
    ),
    Mutant(
        "P9",
        "everybody may read the report of a run",
        FUNCTIONS,
        "\nnotify pgrst",
        "\ngrant execute on function public.campaign_runner_report to public;\nnotify pgrst",
        ["tests/database/test_privileges.py"],
    ),
    Mutant(
        "P9",
        "any token will do",
        "runner/http/auth.py",
        "    return bool(matches)",
        "    return True",
        ["tests/unit/test_auth.py"],
    ),
    Mutant(
        "P9",
        "the ID token of any service account will do",
        "runner/http/auth.py",
        'if claims.get("email") != identity.service_account:',
        "if False:",
        ["tests/unit/test_identity.py"],
    ),
    Mutant(
        "P9",
        "the membership of the system user is not asked for",
        FUNCTIONS,
        "        where not exists (\n            select from campaign_runner.permitted_organizations(",
        "        where false and not exists (\n            select from campaign_runner.permitted_organizations(",
        [FAILURES + "::test_without_membership_nothing_of_a_campaign_changes_but_its_error"],
    ),
    Mutant(
        "P9",
        "an error quotes the database, and so a row",
        FUNCTIONS,
        "when p_code like 'CR%' then p_message",
        "when true then p_message",
        [FAILURES + "::test_an_error_holds_nothing_of_any_row"],
    ),
    Mutant(
        "P9",
        "an operator that was planted in public is used",
        FUNCTIONS,
        "and r.status operator(pg_catalog.=) 'pending'\n        ) is true;",
        "and r.status = 'pending'\n        ) is true;",
        [RULES + "::test_an_object_that_was_planted_in_another_schema_is_never_used"],
    ),
    Mutant(
        "P9",
        "a function that was planted in public is used",
        FUNCTIONS,
        "from pg_catalog.unnest(p_contact_ids) as c (id);",
        "from unnest(p_contact_ids) as c (id);",
        [RULES + "::test_an_object_that_was_planted_in_another_schema_is_never_used"],
    ),
    Mutant(
        "P9",
        "a mistaken dry run launches",
        "runner/http/request.py",
        'if "dryrun" in text:',
        "if False:",
        ["tests/unit/test_request.py"],
    ),
    Mutant(
        "P10",
        "a campaign behind many that wait is never looked at",
        FUNCTIONS,
        "            where exists (select from next offset v_next_at_most)\n",
        "            where false\n",
        ["tests/database/test_launch.py::test_a_due_campaign_among_many_that_cannot_be_launched_has_its_turn"],
    ),
    Mutant(
        "P10",
        "rules that are not where they were are not looked for",
        FUNCTIONS,
        "                select id from unnest(p_campaign_ids) id\n                except\n",
        "                select id from unnest(p_campaign_ids) id where p_places = '{}'\n                except\n",
        [FAILURES + "::test_rules_that_lie_elsewhere_after_a_vacuum_free_no_campaign"],
    ),
    Mutant(
        "P10",
        "after the last campaign comes a step that looks at none",
        FUNCTIONS,
        "            where exists (select from next offset v_next_at_most)\n",
        "",
        [
            "tests/database/test_launch.py::test_of_a_thousand_campaigns_that_wait_an_edited_one_is_launched_by_the_next_call"
        ],
    ),
    Mutant(
        "P10",
        "the look at the campaigns does not go round",
        FUNCTIONS,
        "select '-infinity', '00000000-0000-0000-0000-000000000000'\n",
        "select 'infinity', '00000000-0000-0000-0000-000000000000'\n",
        ["tests/database/test_launch.py::test_a_due_campaign_among_many_that_cannot_be_launched_has_its_turn"],
    ),
    Mutant(
        "P10",
        "a launch is looked for only in the order of the campaigns",
        FUNCTIONS,
        "            where o.campaign_id = any (array[w.id]) and o.closed_at is null\n",
        "            where false\n",
        ["tests/database/test_launch.py::test_a_campaign_that_waits_among_many_paused_ones_is_not_tried"],
    ),
    Mutant(
        "P10",
        "the look for launches whose campaigns are gone does not go on",
        FUNCTIONS,
        "(select n.campaign_id from next n offset v_launches_at_most - 1), '00000000-0000-0000-0000-000000000000'\n",
        "null, '00000000-0000-0000-0000-000000000000'\n",
        ["tests/database/test_launch.py::test_a_launch_among_many_whose_campaign_is_gone_is_abandoned"],
    ),
    Mutant(
        "P11",
        "a range of contacts is a comparison of pairs",
        FUNCTIONS,
        "                        and c.organization_id = any (array[p_rules.organization_id])\n"
        "                        and c.id >= p_from\n"
        "                        and c.id <= p_to\n",
        "                        and (c.organization_id, c.id) >= (p_rules.organization_id, p_from)\n"
        "                        and (c.organization_id, c.id) <= (p_rules.organization_id, p_to)\n",
        [PLANS],
    ),
    Mutant(
        "P11",
        "a range of contacts is found by any index on the organization",
        FUNCTIONS,
        "                        and c.organization_id = any (array[p_rules.organization_id])\n"
        "                        and c.id >= p_from\n"
        "                        and c.id <= p_to\n"
        "                        and (c.id < p_to or p_to = v_last) is true\n"
        "                    order by c.organization_id, c.id\n",
        "                        and c.organization_id = p_rules.organization_id\n"
        "                        and c.id >= p_from\n"
        "                        and c.id <= p_to\n"
        "                        and (c.id < p_to or p_to = v_last) is true\n",
        [PLANS],
    ),
    Mutant(
        "P11",
        "a range of recipients is found by any index on the campaign",
        FUNCTIONS,
        "            where r.campaign_id = any (array[p_campaign_id])\n"
        "                and r.contact_id >= p_from\n"
        "                and r.contact_id <= p_to\n"
        "                and (r.contact_id < p_to or p_to = 'ffffffff-ffff-ffff-ffff-ffffffffffff') is true\n"
        "            order by r.campaign_id, r.contact_id\n",
        "            where r.campaign_id = p_campaign_id\n"
        "                and r.contact_id >= p_from\n"
        "                and r.contact_id <= p_to\n"
        "                and (r.contact_id < p_to or p_to = 'ffffffff-ffff-ffff-ffff-ffffffffffff') is true\n",
        [PLANS],
    ),
    Mutant(
        "P11",
        "a bound of a range is found by any index on the organization",
        FUNCTIONS,
        "        where c.organization_id = any (array[p_organization_id]) and c.id >= p_from and c.id < p_to\n"
        "        order by c.organization_id, c.id\n"
        "        offset p_n\n",
        "        where c.organization_id = p_organization_id and c.id >= p_from and c.id < p_to\n"
        "        order by c.id\n"
        "        offset p_n\n",
        [PLANS],
    ),
    Mutant(
        "P11",
        "twins are found by any index on the organization",
        FUNCTIONS,
        "                and (c.organization_id = p_organization_id) is true\n"
        "                -- The range itself is known: only its twins outside are looked for.\n"
        "                and (c.id < p_from or c.id >= p_to and p_to <> v_last) is true\n"
        "                and (c.id <> all (coalesce(p_contact_ids, '{}'))) is true\n"
        "            order by campaign_runner.address_hash(c.organization_id, c.email::text), c.id\n",
        "                and c.organization_id = p_organization_id\n"
        "                -- The range itself is known: only its twins outside are looked for.\n"
        "                and (c.id < p_from or c.id >= p_to and p_to <> v_last) is true\n"
        "                and (c.id <> all (coalesce(p_contact_ids, '{}'))) is true\n",
        [PLANS],
    ),
    Mutant(
        "P11",
        "the reasons of a range are joined by nested loops",
        FUNCTIONS,
        "cost 100000 -- the sender's view shall evaluate only what its limit shows, also where the statistics are old\n"
        "set search_path = pg_catalog, pg_temp\n"
        "set row_security = off\n"
        "set plan_cache_mode = force_generic_plan\n"
        "set enable_sort = off\n"
        "set enable_incremental_sort = off\n"
        "set enable_seqscan = off\n"
        "set enable_nestloop = off\n",
        "cost 100000 -- the sender's view shall evaluate only what its limit shows, also where the statistics are old\n"
        "set search_path = pg_catalog, pg_temp\n"
        "set row_security = off\n"
        "set plan_cache_mode = force_generic_plan\n"
        "set enable_sort = off\n"
        "set enable_incremental_sort = off\n"
        "set enable_seqscan = off\n"
        "set enable_hashjoin = off\n",
        [PLANS],
    ),
    Mutant(
        "P11",
        "a trigger of the project does not find its tables without a schema",
        FUNCTIONS,
        "out inserted bigint\n)\nlanguage plpgsql\nvolatile\nset search_path = public, extensions\n",
        "out inserted bigint\n)\nlanguage plpgsql\nvolatile\nset search_path = pg_catalog, pg_temp\n",
        [RULES + "::test_a_trigger_of_the_project_finds_its_tables_without_a_schema"],
    ),
    Mutant(
        "P11",
        "a campaign without a name is a failure",
        FUNCTIONS,
        "coalesce(c.name::text, '') as name, c.scheduled_at,",
        "c.name::text as name, c.scheduled_at,",
        [FAILURES + "::test_a_campaign_without_a_name_an_organization_or_a_time_stops_nobody"],
    ),
    Mutant(
        "P11",
        "a campaign without an organization is a failure",
        FUNCTIONS,
        "            where o.id = campaign.organization_id\n        ) organization\n        where campaign.is_there",
        "            where o.id = campaign.organization_id\n"
        "            union all\n"
        "            select true where campaign.organization_id is null\n"
        "        ) organization\n        where campaign.is_there",
        [FAILURES + "::test_a_campaign_without_a_name_an_organization_or_a_time_stops_nobody"],
    ),
    Mutant(
        "P1",
        "a contact that a wider search finds again is judged twice",
        FUNCTIONS,
        "select distinct d.contact_id",
        "select d.contact_id",
        [CROWDED + "::test_a_contact_is_judged_once_where_twins_are_searched_for_again"],
    ),
    Mutant(
        "P6",
        "an error of a trigger stops every campaign where a grant is missing",
        FUNCTIONS,
        "if v_code = '42501' then",
        "if left(v_code, 2) = '42' then",
        [FAILURES + "::test_an_error_of_a_trigger_stops_no_other_campaign_where_a_grant_is_missing"],
    ),
    Mutant(
        "P8",
        "an audience that fits in a step is split after an empty one",
        FUNCTIONS,
        "v_rows_left::integer, v_rows_left >= p_max_rows,",
        "v_rows_left::integer, v_contacts = 0,",
        ["tests/database/test_launch.py::test_an_audience_that_fits_in_a_fresh_step_is_not_split_after_an_empty_one"],
    ),
    Mutant(
        "P12",
        "a launch that a lock hinders before it begins waits for nothing",
        FUNCTIONS,
        "where o.condition in ('ready', 'opened', 'generating', 'reconciling')",
        "where o.condition in ('ready', 'generating', 'reconciling')",
        [FAILURES + "::test_a_lock_of_another_transaction_is_named_once_it_has_lasted_a_minute"],
    ),
    Mutant(
        "P12",
        "what hinders a launch is kept back for a minute",
        FUNCTIONS,
        "last_error = p_message,\n            last_error_detail = p_detail\n"
        "        where l.id = v_launch.id;\n    elsif",
        "last_error = l.last_error\n        where l.id = v_launch.id;\n    elsif",
        [FAILURES + "::test_a_lock_of_another_transaction_is_named_once_it_has_lasted_a_minute"],
    ),
    Mutant(
        "P12",
        "a status that a trigger keeps is a launch",
        FUNCTIONS,
        "if v_status is distinct from 'sending' then",
        "if false then",
        [FAILURES + "::test_a_status_that_a_trigger_keeps_is_an_error_without_an_event"],
    ),
    Mutant(
        "P12",
        "a launch that rested too long is not held",
        FUNCTIONS,
        "(select max(s.worked_at) from campaign_runner.launch_chunks s where s.launch_id = (p_launch).id)\n        ) <",
        "case when (p_launch).state <> 'opened' then p_now end\n        ) <",
        [RULES + "::test_a_launch_that_rested_too_long_is_held_like_one_that_did_not_begin"],
    ),
    Mutant(
        "P12",
        "a launch that began in time is held",
        FUNCTIONS,
        "(select max(s.worked_at) from campaign_runner.launch_chunks s where s.launch_id = (p_launch).id)\n        ) <",
        "null::timestamptz\n        ) <",
        [FAILURES + "::test_a_launch_that_began_in_time_is_finished_however_late_it_gets"],
    ),
    Mutant(
        "P12",
        "the exclusions that matched no contact are not told",
        FUNCTIONS,
        "unmatched = case when l.generates then",
        "unmatched = case when false then",
        [RULES + "::test_an_exclusion_that_matches_no_contact_is_a_warning_of_the_launch"],
    ),
    Mutant(
        "P12",
        "a campaign whose backoff is over is named by no tool",
        FUNCTIONS,
        "    when (p_launch).failed_with is not null then 'failing'\n",
        "    when (p_launch).waiting = 'backoff' and (p_launch).next_attempt_at > now() then 'failing'\n",
        ["tests/database/test_health.py::test_a_campaign_that_failed_is_no_late_one_until_its_next_attempt_is"],
    ),
    Mutant(
        "P12",
        "a campaign that a person set to sending in mid-launch is named by no tool",
        FUNCTIONS,
        "when p_status = 'sending' and (p_launch).generates then 'taken_over'",
        "when false then 'taken_over'",
        [TROUBLES + "::test_a_campaign_that_a_person_set_to_sending_in_mid_launch"],
    ),
    Mutant(
        "P12",
        "the health says all is well while a campaign fails",
        "runner/health.py",
        "self.needs_attention, self.backing_off, self.taken_over)",
        "self.needs_attention, self.taken_over)",
        [TROUBLES + "::test_a_campaign_that_a_trigger_refuses"],
    ),
    Mutant(
        "P12",
        "a step that cannot record a failure is no call",
        FUNCTIONS,
        "v_work.campaigns_after_id, v_work.launches_after_id\n    );\n",
        "v_work.campaigns_after_id, v_work.launches_after_id\n    ) where v_unrecorded is null;\n",
        ["tests/database/test_failures.py::test_a_step_that_cannot_record_a_failure_is_a_call_all_the_same"],
    ),
    Mutant(
        "P12",
        "a lock that has lasted leaves the answer complete",
        FUNCTIONS,
        "is_locked := v_is_reported and v_code in ('CR004', '55P03');",
        "is_locked := false;",
        [TROUBLES + "::test_a_row_that_a_person_locks"],
    ),
    Mutant(
        "P12",
        "a locked table is waited for until the statement timeout",
        FUNCTIONS,
        "perform set_config('lock_timeout', '250ms', true);",
        "perform set_config('lock_timeout', '0', true);",
        [TROUBLES + "::test_a_table_that_a_person_locks"],
    ),
    Mutant(
        "P9",
        "the words of the source, which may hold row data, are in the answer of the health",
        FUNCTIONS,
        "'detail', case when v_has_error and p_with_details then (p_launch).last_error_detail end",
        "'detail', (p_launch).last_error_detail",
        [TROUBLES + "::test_a_campaign_that_a_trigger_refuses"],
    ),
    Mutant(
        "P12",
        "the time of a run begins with its last step",
        FUNCTIONS,
        "p_run_id, v_contacts > 0 or v_launched + v_failed > 0, p_organization_id,",
        "p_run_id, v_launched + v_failed > 0, p_organization_id,",
        ["tests/database/test_health.py::test_a_run_takes_as_long_as_from_its_first_step_to_its_report"],
    ),
    Mutant(
        "P12",
        "each chunk of a launch counts the failure that all meet",
        FUNCTIONS,
        "v_attempts := v_attempts + (not v_is_told)::integer;",
        "v_attempts := v_attempts + 1;",
        [FAILURES + "::test_steps_side_by_side_that_meet_one_failure_count_one_attempt"],
    ),
    Mutant(
        "P12",
        "the time of a lock is taken for the trouble of the database",
        FUNCTIONS,
        "when left(v_launch.failed_with, 2) = any (v_classes_of_database) and v_launch.failed_with <> all (v_passing)",
        "when true",
        [FAILURES + "::test_the_time_of_a_lock_is_not_that_of_the_trouble_of_the_database"],
    ),
    Mutant(
        "P12",
        "a lock leaves a launch waiting that was ready",
        FUNCTIONS,
        "            waiting = case when v_is_told then l.waiting end,",
        "            waiting = l.waiting,",
        [FAILURES + "::test_a_lock_that_lasts_keeps_no_membership_from_freeing_a_launch"],
    ),
    Mutant(
        "P1",
        "a reconcile that was freed goes on where it was",
        FUNCTIONS,
        "set attempts = 0, waiting = 'backoff', next_attempt_at = now(), hindered_at = null",
        "set attempts = 0, waiting = null, next_attempt_at = null, hindered_at = null",
        [INTERFERENCE + "::test_a_launch_that_is_freed_after_its_campaign_was_replaced_has_its_whole_audience"],
    ),
    Mutant(
        "P1",
        "a contact whose mail is out counts as excluded as well",
        FUNCTIONS,
        "where d.reason <> 'orphaned' and d.change is distinct from 'keep'",
        "where d.reason <> 'orphaned'",
        [INTERFERENCE + "::test_contacts_and_recipients_add_up_where_the_mail_to_an_excluded_contact_is_out"],
    ),
    Mutant(
        "P2",
        "a call goes on while an upgrade replaces the functions",
        FUNCTIONS,
        "if not pg_try_advisory_xact_lock_shared(campaign_runner.upgrade_key()) then",
        "if false then",
        ["tests/database/test_interface.py::test_a_call_during_an_upgrade_is_turned_away"],
    ),
    Mutant(
        "P2",
        "an upgrade does not wait for the calls that are under way",
        FUNCTIONS,
        "perform pg_advisory_xact_lock(campaign_runner.upgrade_key());",
        "null;",
        [UPGRADES + "::test_a_launch_in_the_middle_is_finished_and_no_call_mixes_two_releases"],
    ),
    Mutant(
        "P2",
        "an upgrade leaves the functions that it replaced",
        FUNCTIONS,
        "execute format('drop function %s', v_function);",
        "null;",
        [UPGRADES + "::test_an_upgraded_database_has_the_schema_of_a_new_one"],
    ),
    Mutant(
        "P8",
        "a program of another release is served",
        FUNCTIONS,
        "if p_interface > v_newest then",
        "if p_interface > v_newest + 1 then",
        ["tests/database/test_interface.py::test_another_interface_is_refused_before_anything_is_written"],
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
