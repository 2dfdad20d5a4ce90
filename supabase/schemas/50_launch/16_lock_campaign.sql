create or replace function campaign_runner.lock_campaign(
    p_launch campaign_runner.launches,
    p_now timestamptz
)
returns campaign_runner.rules
language plpgsql
volatile
set search_path = pg_catalog, pg_temp
set row_security = off
set enable_seqscan = off
as $$
declare
    v_is_locked boolean;
    v_rules campaign_runner.rules;
begin
    -- An edit of the campaign or its rules at this moment wins: do not wait, come back.
    perform from public.campaigns c where c.id = p_launch.campaign_id for no key update skip locked;
    v_is_locked := found;
    if not exists (select from campaign_runner.due_campaigns(array[p_launch.campaign_id], p_now)) then
        raise exception 'the campaign is not due any more' using errcode = 'CR001';
    end if;
    if not v_is_locked then
        raise exception 'the campaign is locked' using errcode = 'CR004';
    end if;
    if to_regclass('public.campaign_target_rules') is not null then
        perform from public.campaign_target_rules r where r.campaign_id = p_launch.campaign_id for share skip locked;
        if not found
            and exists (select from public.campaign_target_rules r where r.campaign_id = p_launch.campaign_id)
        then
            raise exception 'the rules are locked' using errcode = 'CR004';
        end if;
    end if;
    -- Read under the locks.
    v_rules := campaign_runner.read_rules(p_launch.campaign_id);
    if p_launch.rules_hash is distinct from v_rules.hash then
        raise exception 'schedule or rules were changed' using errcode = 'CR001';
    end if;
    return v_rules;
end;
$$;
comment on function campaign_runner.lock_campaign(campaign_runner.launches, timestamptz) is
    'Locks the campaign and its rules to the end of the transaction, if they are still those that the launch worked by. '
    'Returns the rules. Raises CR004 where another transaction has locked them, CR001 where they were changed.';
