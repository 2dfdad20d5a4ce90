create or replace function campaign_runner.find_work(
    p_organization_id uuid,
    p_system_user_id uuid,
    p_system_user_roles text[],
    p_now timestamptz,
    out campaign_ids uuid[],
    out vanished_launch_ids bigint[],
    out is_more_likely boolean,
    out campaigns_after_time timestamptz,
    out campaigns_after_id uuid,
    out launches_after_id uuid
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
    v_launches_at_most constant integer := 100;
    v_from campaign_runner.last_call;
    v_newest bigint;
begin
    select * into v_from from campaign_runner.last_call;
    if p_organization_id is not null then
        v_from.campaigns_after_time := '-infinity';
        v_from.campaigns_after_id := '00000000-0000-0000-0000-000000000000';
    end if;

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
    -- Not as a comparison of pairs: before Postgres 18 such a scan begins at the first campaign of the same time.
    next as materialized (
        (
            select c.id, c.organization_id, c.xmin as version, c.scheduled_at
            from public.campaigns c
            where c.status = 'scheduled'
                and c.scheduled_at <= p_now
                and c.scheduled_at = any (array[v_from.campaigns_after_time])
                and c.id > v_from.campaigns_after_id
                and (p_organization_id is null or c.organization_id = p_organization_id)
            order by c.scheduled_at, c.id
            limit v_next_at_most + 1
        )
        union all
        (
            select c.id, c.organization_id, c.xmin as version, c.scheduled_at
            from public.campaigns c
            where c.status = 'scheduled'
                and c.scheduled_at <= p_now
                and c.scheduled_at > v_from.campaigns_after_time
                and (p_organization_id is null or c.organization_id = p_organization_id)
            order by c.scheduled_at, c.id
            limit v_next_at_most + 1
        )
        order by scheduled_at, id
        limit v_next_at_most + 1
    ),
    -- Campaigns and launches are read in the same order and joined: where 100,000 wait, both reads cover the same campaigns.
    -- One look into the index for each campaign took as long as all the rest.
    met as materialized (
        select
            n.id, n.organization_id, n.version, b.campaign_id is not null as is_beside,
            b.waiting, b.next_attempt_at, b.failed_with, b.failed_version, b.failed_rules_at
        from next n
        left join (
            (
                select l.*
                from campaign_runner.launches l
                where l.closed_at is null
                    and l.scheduled_at = any (array[v_from.campaigns_after_time])
                    and l.campaign_id > v_from.campaigns_after_id
                order by l.scheduled_at, l.campaign_id
                limit v_next_at_most
            )
            union all
            (
                select l.*
                from campaign_runner.launches l
                where l.closed_at is null and l.scheduled_at > v_from.campaigns_after_time
                order by l.scheduled_at, l.campaign_id
                limit v_next_at_most
            )
        ) b on b.campaign_id = n.id
    ),
    newest_beside as materialized (
        select l.campaign_id
        from campaign_runner.launches l
        where l.closed_at is null
        order by l.scheduled_at desc, l.campaign_id desc
        limit v_newest_at_most
    ),
    asked as materialized (
        select
            array_agg(m.id) filter (where m.waiting is not null) as campaign_ids,
            array_agg(m.failed_rules_at) filter (where m.failed_rules_at is not null) as places,
            array_agg(distinct m.organization_id) filter (where m.failed_with = 'CR403') as organization_ids
        from met m
    ),
    ready as (
        select m.id
        from met m
        left join campaign_runner.rules_versions(
            (select a.campaign_ids from asked a), (select a.places from asked a)
        ) r
            on r.campaign_id = m.id
        left join campaign_runner.permitted_organizations(
            (select a.organization_ids from asked a), p_system_user_id, p_system_user_roles
        ) p (organization_id)
            on p.organization_id = m.organization_id
        where m.is_beside
            and campaign_runner.is_ready(
                m.waiting, m.next_attempt_at, m.failed_with, m.failed_version,
                campaign_runner.join_versions(m.version, r.version), p.organization_id is not null, p_now
            )
        union all
        -- Without a launch, or with one that is elsewhere in the order.
        select w.id
        from (
            select m.id from met m where not m.is_beside
            union all
            select n.id from newest n where not exists (select from newest_beside b where b.campaign_id = n.id)
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
    ),
    -- Those under way, and those whose backoff is over, wherever the position is.
    urgent as (
        (
            select l.campaign_id
            from campaign_runner.launches l
            where l.closed_at is null
                and l.waiting is null
                and (p_organization_id is null or l.organization_id = p_organization_id)
            order by l.id desc
            limit v_newest_at_most
        )
        union all
        (
            select l.campaign_id
            from campaign_runner.launches l
            where l.closed_at is null and l.waiting = 'backoff' and l.next_attempt_at <= p_now
            order by l.next_attempt_at, l.id
            limit v_newest_at_most
        )
    ),
    candidates as materialized (
        select d.campaign_id, d.organization_id, d.scheduled_at, l.id as launch_id, l.state
        from campaign_runner.due_campaigns(
            array(
                select id from ready
                union
                select campaign_id from urgent
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
    select
        (
            select coalesce(array_agg(q.campaign_id order by q.turn, q.has_begun, q.since, q.lot), '{}')
            from queue q
        ),
        (select count(*) from newest),
        last.scheduled_at,
        last.id
    into campaign_ids, v_newest, campaigns_after_time, campaigns_after_id
    from (
        -- Round again, where no more were left.
        (
            select scheduled_at, id
            from next
            where exists (select from next offset v_next_at_most)
            offset v_next_at_most - 1
            limit 1
        )
        union all
        select '-infinity', '00000000-0000-0000-0000-000000000000'
        limit 1
    ) last;
    is_more_likely := v_newest = v_newest_at_most;

    -- A few launches of a position of their own: their campaigns may be gone.
    with next as materialized (
        select l.id, l.campaign_id
        from campaign_runner.launches l
        where l.closed_at is null and l.campaign_id > v_from.launches_after_id
        order by l.campaign_id
        limit v_launches_at_most
    )
    select
        array(select n.id from next n where not exists (select from public.campaigns c where c.id = n.campaign_id)),
        coalesce(
            (select n.campaign_id from next n offset v_launches_at_most - 1), '00000000-0000-0000-0000-000000000000'
        )
    into vanished_launch_ids, launches_after_id;
end;
$$;
comment on function campaign_runner.find_work(uuid, uuid, text[], timestamptz) is
    'The campaigns that are due and ready, in the order of their turns, of those that a step looks at; the launches '
    'whose campaigns are gone; and where the next step goes on to look.';
