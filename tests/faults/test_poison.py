"""Campaigns that cannot be launched, beside those that can."""

from __future__ import annotations

import pytest

from local.function import Function
from tests.support import records
from tests.support.automation import Automation
from tests.support.factory import Factory
from tests.support.rig import Rig

pytestmark = pytest.mark.slow

TRIGGER = """
create function public.refuse() returns trigger language plpgsql as $$
begin
    case (select name from public.campaigns where id = new.campaign_id)
        when 'raises' then raise exception 'no';
        when 'divides' then return new where 1 / 0 > 0;
        when 'breaks a check' then new.status := 'unheard of';
        when 'strays' then new.contact_id := gen_random_uuid();
        else null;
    end case;
    return new;
end $$;
create trigger refuse before insert on public.campaign_recipients for each row execute function public.refuse()
"""
POISONS = ("raises", "divides", "breaks a check", "strays")


def test_a_hundred_poisoned_campaigns_do_not_keep_a_hundred_good_ones_from_their_tick(
    rig: Rig, function: Function
) -> None:
    rig.set_scene()
    with rig.connect() as database:
        database.execute("delete from campaigns")
        factory = Factory(database)
        organizations = [factory.organization(rig.system_user) for _ in range(4)]
        for organization in organizations:
            factory.contacts(organization, 20)
        forbidden = factory.organization()
        poisoned = {factory.campaign(forbidden) for _ in range(20)}
        good = set()
        for _ in range(5):
            for poison in POISONS:
                poisoned |= {factory.campaign(organization, name=poison) for organization in organizations}
            good |= {factory.campaign(organization) for organization in organizations * 5}
        database.execute(TRIGGER.encode())
        try:
            body = rig.call(function).json()
        finally:
            database.execute("drop trigger refuse on public.campaign_recipients; drop function public.refuse()")

        assert (len(good), len(poisoned)) == (100, 100)
        assert {c["campaign_id"] for c in body["campaigns"]} == {str(campaign) for campaign in good}
        assert {e["campaign_id"] for e in body["errors"]} == {str(campaign) for campaign in poisoned}
        assert all(records.recipients(database, campaign) == {} for campaign in poisoned)

        # Nobody asks for them again before their time, and to find that out costs nothing that grows with an audience.
        assert rig.call(function).json() == {"processed_count": 0, "campaigns": [], "errors": []}
        read = rows_read(rig)
        assert read.pop("campaigns") <= 4 * len(poisoned)
        assert read.pop("launches") <= 4 * len(poisoned)
        assert read.get("contacts", 0) == read.get("campaign_recipients", 0) == 0

        factory.member(forbidden, rig.system_user)
        assert len(Automation(database, rig.system_user).retry()) == 100
        body = rig.call(function).json()
        assert {c["campaign_id"] for c in body["campaigns"]} == {str(campaign) for campaign in poisoned}


def rows_read(rig: Rig) -> dict[str, int]:
    """The rows that an idle step reads, by table."""
    query = """
        select relname, (coalesce(seq_tup_read, 0) + coalesce(idx_tup_fetch, 0))::int as n
        from pg_stat_xact_user_tables where seq_tup_read > 0 or idx_tup_fetch > 0
    """
    with rig.connect() as database, database.transaction():
        Automation(database, rig.system_user).step()
        return {row["relname"]: row["n"] for row in records.rows(database, query)}
