create or replace function campaign_runner.take_turns(
    p_campaign_ids uuid[],
    p_organization_id uuid,
    p_now timestamptz
)
returns uuid[]
language plpgsql
stable
set search_path = pg_catalog, pg_temp
set row_security = off
set enable_seqscan = off
set enable_bitmapscan = off
set enable_sort = off
set enable_incremental_sort = off
-- Hash joins only. A lateral look-up still becomes a nested loop.
set enable_nestloop = off
set plan_cache_mode = force_generic_plan
as $$
#variable_conflict use_column
declare
    v_urgent_at_most constant integer := 250;
begin
    return (
        -- Those under way, and those whose backoff is over, wherever the position is.
        with urgent as (
            (
                select l.campaign_id
                from campaign_runner.launches l
                where l.closed_at is null
                    and l.waiting is null
                    and (p_organization_id is null or l.organization_id = p_organization_id)
                order by l.id desc
                limit v_urgent_at_most
            )
            union all
            (
                select l.campaign_id
                from campaign_runner.launches l
                where l.closed_at is null
                    and l.waiting = 'backoff'
                    and l.next_attempt_at <= p_now
                    and (p_organization_id is null or l.organization_id = p_organization_id)
                order by l.next_attempt_at, l.id
                limit v_urgent_at_most
            )
        ),
        candidates as materialized (
            select d.campaign_id, d.organization_id, d.scheduled_at, l.id as launch_id, l.state
            from campaign_runner.due_campaigns(
                array(
                    select unnest(p_campaign_ids)
                    union
                    select u.campaign_id from urgent u
                ),
                p_now
            ) d
            left join lateral (
                select o.id, o.state
                from campaign_runner.launches o
                where o.campaign_id = any (array[d.campaign_id]) and o.closed_at is null
                order by o.campaign_id
                limit 1
            ) l on true
            where p_organization_id is null or d.organization_id = p_organization_id
        ),
        placed as (
            select
                c.campaign_id,
                c.organization_id,
                coalesce(c.state <> 'opened', false) as has_begun,
                coalesce(
                    (select max(s.worked_at) from campaign_runner.launch_chunks s where s.launch_id = c.launch_id),
                    date_trunc('minute', c.scheduled_at)
                ) as since,
                uuid_hash_extended(c.campaign_id, pg_backend_pid()) as lot
            from candidates c
        ),
        -- Organizations take turns. Within a turn a fresh campaign goes first, which is often small, and then the launch that
        -- has waited longest for its next chunk. Fresh campaigns of one minute are equals, of which each session begins with
        -- others: with one order for all, steps side by side met at every campaign.
        queue as (
            select p.*, row_number() over (
                partition by p.organization_id order by p.has_begun, p.since, p.lot
            ) as turn
            from placed p
        )
        select coalesce(array_agg(q.campaign_id order by q.turn, q.has_begun, q.since, q.lot), '{}') from queue q
    );
end;
$$;
comment on function campaign_runner.take_turns(uuid[], uuid, timestamptz) is
    'The due ones of these campaigns, of those under way, and of those whose backoff is over, in the order of their turns.';
