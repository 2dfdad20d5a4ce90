"""What the planner makes of the statements of the hot path, over a million contacts."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any

from tests.benchmarks.bed import Bed

MILLION = 1_000_000
STEP_ROWS = 80_000
RETURNED = r"return query(.*);\s*end;"
INSERTED = r"(insert into .*?);"


def plans() -> Iterator[tuple[str, str]]:
    """The name of each statement, and what `explain (analyze, buffers)` says of it, in the middle of an audience."""
    with Bed() as bed:
        organization = bed.organization(MILLION)
        campaign = bed.campaign(organization, rules={"exclude_bounced": True, "exclude_countries": ["de"]})
        bed.settle("contacts", "campaigns", "campaign_target_rules", "campaign_recipients")
        rows = bed.execute(
            "select id::text from public.contacts where organization_id = %s order by id offset %s limit %s",
            *(organization, MILLION // 2, STEP_ROWS + 1),
        )
        [*ids, hi] = [id for (id,) in rows]
        contacts = f"'{{{','.join(ids)}}}'::uuid[]"
        [(rules,)] = bed.execute("select quote_literal(campaign_runner.read_rules(%s)::text)", campaign)
        on_range = {
            "p_campaign_id": f"'{campaign}'::uuid",
            "p_organization_id": f"'{organization}'::uuid",
            "p_rules": f"({rules}::campaign_runner.rules)",
            "v_rules": f"({rules}::campaign_runner.rules)",
            "p_from": f"'{ids[0]}'::uuid",
            "p_to": f"'{hi}'::uuid",
            "p_contact_ids": "null::uuid[]",
            "p_launch_id": "null::bigint",
            "p_among_recipients": "false",
            "v_last": "'ffffffff-ffff-ffff-ffff-ffffffffffff'::uuid",
            "v_is_range": "true",
            "v_is_whole": "false",
            "v_has_excluded_countries": "true",
            "v_seed": f"uuid_hash_extended('{organization}', 0)",
            "p_twins_at_most": "100",
        }
        [(hashes,)] = bed.execute(
            "select array_agg(h order by h)::text from ("
            "select campaign_runner.address_hash(organization_id, email::text) as h from public.contacts"
            f" where id = any ({contacts})) hashed"
        )
        on_twins = {**on_range, "p_address_hashes": f"'{hashes}'::bigint[]", "v_rows_at_most": str(STEP_ROWS + 100)}
        for name, function, pattern, values in (
            ("each of 80,000 contacts by itself", "judge_contacts", RETURNED, on_range),
            ("those outside the range who share an address with them", "find_twins", RETURNED, on_twins),
            ("both, and the duplicates among them", "evaluate_contacts", RETURNED, on_range),
            ("the same against the recipients that are there", "diff_recipients", RETURNED, on_range),
            ("80,000 of them", "insert_recipients", INSERTED, {**on_range, "p_contact_ids": contacts}),
            ("the range once more, where nothing has changed", "diff_recipients", RETURNED, on_range),
        ):
            yield f"{function}: {name}", _explain(bed, function, pattern, values)


def _explain(bed: Bed, function: str, pattern: str, values: Mapping[str, str]) -> str:
    """Explain a statement of a function's body, with the function's settings, and values in the place of variables."""
    [(body, settings)] = bed.execute(
        "select prosrc, proconfig from pg_proc where pronamespace = 'campaign_runner'::regnamespace and proname = %s",
        function,
    )
    found = re.search(pattern, body, re.DOTALL)
    if not found:
        raise RuntimeError(f"{function} has no such statement")
    statement = str(found[1])
    for name in sorted(values, key=len, reverse=True):
        statement = re.sub(rf"(?<![\w.]){re.escape(name)}\b(?! =>)", lambda _, name=name: values[name], statement)  # type: ignore[misc]
    with bed.owner.transaction():
        for setting in settings:
            bed.execute("select set_config(%s, %s, true)", *setting.split("=", 1))
        explained: list[Any] = bed.owner.execute(
            f"explain (analyze, buffers, costs off) {statement}".encode()
        ).fetchall()
    return "\n".join(line for (line,) in explained)
