create or replace function campaign_runner.ready_campaigns(
    p_organization_id uuid,
    p_system_user_id uuid,
    p_system_user_roles text[],
    p_now timestamptz,
    p_after_time timestamptz,
    p_after_id uuid,
    out campaign_ids uuid[],
    out may_be_more boolean,
    out after_time timestamptz,
    out after_id uuid
)
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
    -- As many as one step launches.
    v_newest_at_most constant integer := 250;
    v_next_at_most constant integer := 1000;
begin
    -- A step reads two subsets of the due campaigns, since 100,000 may wait. The newest include the campaigns that have just
    -- become due and have no launch. A position that goes round visits the others, whose launches may have become ready.
    with newest as materialized (
        select c.id
        from public.campaigns c
        where c.status = 'scheduled'
            and c.scheduled_at <= p_now
            and (p_organization_id is null or c.organization_id = p_organization_id)
        order by c.scheduled_at desc, c.id desc
        limit v_newest_at_most
    ),
    next as materialized (
        select n.*
        from campaign_runner.next_campaigns(p_organization_id, p_now, p_after_time, p_after_id, v_next_at_most + 1) n
    ),
    newest_launches as materialized (
        select l.campaign_id
        from campaign_runner.launches l
        where l.closed_at is null
        order by l.scheduled_at desc, l.campaign_id desc
        limit v_newest_at_most
    ),
    to_look_up as materialized (
        select
            array_agg(n.id) filter (where n.waiting is not null) as campaign_ids,
            array_agg(n.failed_rules_at) filter (where n.failed_rules_at is not null) as places,
            array_agg(distinct n.organization_id) filter (where n.failed_with = 'CR403') as organization_ids
        from next n
    ),
    ready as (
        select n.id
        from next n
        left join campaign_runner.rules_versions(
            (select a.campaign_ids from to_look_up a), (select a.places from to_look_up a)
        ) r
            on r.campaign_id = n.id
        left join campaign_runner.permitted_organizations(
            (select a.organization_ids from to_look_up a), p_system_user_id, p_system_user_roles
        ) p (organization_id)
            on p.organization_id = n.organization_id
        where n.launch_was_read
            and campaign_runner.is_ready(
                n.waiting, n.next_attempt_at, n.failed_with, n.failed_version,
                campaign_runner.join_versions(n.version, r.version), p.organization_id is not null, p_now
            )
        union all
        -- Without a launch, or with one that is elsewhere in the order.
        select w.id
        from (
            select n.id from next n where not n.launch_was_read
            union all
            select m.id from newest m where not exists (select from newest_launches b where b.campaign_id = m.id)
        ) w
        left join lateral (
            select o as launch
            from campaign_runner.launches o
            where o.campaign_id = any (array[w.id]) and o.closed_at is null
            order by o.campaign_id
            limit 1
        ) l on true
        where l.launch is null
            or campaign_runner.is_launch_ready(l.launch, p_system_user_id, p_system_user_roles, p_now)
    )
    select
        array(select r.id from ready r),
        (select count(*) from newest) = v_newest_at_most,
        last.scheduled_at,
        last.id
    into campaign_ids, may_be_more, after_time, after_id
    from (
        -- Round again, where no more were left.
        (
            select n.scheduled_at, n.id
            from next n
            where exists (select from next offset v_next_at_most)
            order by n.scheduled_at, n.id
            offset v_next_at_most - 1
            limit 1
        )
        union all
        select '-infinity', '00000000-0000-0000-0000-000000000000'
        limit 1
    ) last;
end;
$$;
comment on function
    campaign_runner.ready_campaigns(uuid, uuid, text[], timestamptz, timestamptz, uuid)
is
    'Reads the scheduled campaigns whose time has come: the newest 250, and the next 1,000 after the position. Returns those '
    'that are ready; take_turns() drops those that are deleted, archived or closed. Also returns the position after them, and '
    'whether there may be more.';
