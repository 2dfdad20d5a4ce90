"""What the planner makes of the statements of the hot path, over a million contacts."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any
from uuid import UUID

from tests.benchmarks.bed import Bed

MILLION = 1_000_000
STEP_ROWS = 80_000
SETTINGS = ("enable_nestloop = off", "enable_seqscan = off", "enable_mergejoin = off", "jit = off", "work_mem = '64MB'")
BLANKS = r"E' \t\n\x0b\f\r'"


def plans() -> Iterator[tuple[str, str]]:
    """The name of each statement, and what `explain (analyze, buffers)` says of it, in the middle of an audience."""
    with Bed() as bed:
        organization = bed.organization(MILLION)
        campaign = bed.campaign(organization)
        bed.settle("contacts", "campaigns", "campaign_recipients")
        [(lo,), (hi,)] = bed.execute(
            "select id from (select id, row_number() over (order by id) as n from public.contacts) c"
            " where n in (%s, %s) order by n",
            *(MILLION // 2, MILLION // 2 + STEP_ROWS),
        )
        [(fingerprint,)] = bed.execute("select campaign_runner.fingerprint(%s)", campaign)
        for setting in SETTINGS:
            bed.execute(f"set {setting}")
        arguments = {
            "p_campaign_id": f"'{campaign}'::uuid",
            "p_organization_id": f"'{organization}'::uuid",
            "p_fingerprint": f"'{fingerprint}'::text",
            "p_from": f"'{lo}'::uuid",
            "p_to": f"'{hi}'::uuid",
            "p_recipients": "null::bigint",
            "p_digest": "null::bigint",
            "v_has_conflicts": "false",
        }
        by_the_defaults = {
            "v_organization_id": f"'{organization}'::uuid",
            "v_blanks": BLANKS,
            "v_rules.exclude_inactive": "null::boolean",
            "v_rules.exclude_unsubscribed": "null::boolean",
            "v_rules.exclude_bounced": "true",
            "v_rules.include_emails": "null::text[]",
            "v_include_tag_ids": "'{}'::uuid[]",
            "v_exclude_tag_ids": "'{}'::uuid[]",
            "v_exclude_countries": "'{de}'::text[]",
            "v_has_excluded_countries": "true",
            "v_is_restricted": "false",
        }
        hashes = (
            f"array(select hashtextextended(lower(btrim(email, {BLANKS})), 0) from public.contacts"
            f" where id >= '{lo}' and id < '{hi}')"
        )
        rivals = {"p_address_hashes": hashes, "p_from": f"'{UUID(int=0)}'::uuid", "p_to": f"'{lo}'::uuid"}
        on_range = {**arguments, **by_the_defaults, "p_address_hashes": "null::bigint[]"}
        returned = r"return query(.*);\s*end;"
        verdicts = _statement(bed, "verdicts", returned, on_range)
        verdicts_on_rivals = _statement(bed, "verdicts", returned, {**on_range, **rivals})
        audience = _statement(bed, "audience", returned, arguments)
        changes = _statement(bed, "changes", returned, arguments)
        covering = r"(with current .*?)into is_current"
        cover = _statement(bed, "cover", covering, arguments)
        yield "verdicts: on each of 80,000 contacts by itself", _explain(bed, verdicts)
        yield "verdicts: on those below the range who share an address with them", _explain(bed, verdicts_on_rivals)
        yield "audience: both, and the duplicates among them", _explain(bed, audience)
        yield "changes: the same against the recipients that are there", _explain(bed, changes)
        yield "cover, generating: 80,000 recipients inserted", _explain(bed, cover)
        [(recipients, digest)] = bed.execute(
            "select count(*), bit_xor(uuid_hash_extended(contact_id, 0)) from public.campaign_recipients"
        )
        before = {"p_recipients": f"{recipients}::bigint", "p_digest": f"'{digest}'::bigint"}
        again = _statement(bed, "cover", covering, {**arguments, **before})
        yield "cover, reconciling: the same range once more, where nothing has changed", _explain(bed, again)


def _statement(bed: Bed, function: str, pattern: str, values: Mapping[str, str]) -> str:
    """A statement of a function's body, with values in the place of its variables."""
    [(body,)] = bed.execute(
        "select prosrc from pg_proc where pronamespace = 'campaign_runner'::regnamespace and proname = %s", function
    )
    found = re.search(pattern, body, re.DOTALL)
    if not found:
        raise RuntimeError(f"{function} has no such statement any more")
    statement = str(found[1])
    for name in sorted(values, key=len, reverse=True):
        statement = re.sub(rf"(?<![\w.]){re.escape(name)}\b", lambda _, name=name: values[name], statement)  # type: ignore[misc]
    return statement


def _explain(bed: Bed, statement: str) -> str:
    explained: list[Any] = bed.owner.execute(f"explain (analyze, buffers, costs off) {statement}".encode()).fetchall()
    return "\n".join(line for (line,) in explained)
