create or replace function campaign_runner.next_campaigns(
    p_organization_id uuid,
    p_now timestamptz,
    p_after_time timestamptz,
    p_after_id uuid,
    p_at_most integer
)
returns table (
    id uuid,
    organization_id uuid,
    version xid,
    scheduled_at timestamptz,
    launch_was_read boolean,
    waiting text,
    next_attempt_at timestamptz,
    failed_with text,
    failed_version text,
    failed_rules_at tid
)
language plpgsql
stable
set search_path = pg_catalog, pg_temp
set row_security = off
set enable_seqscan = off
set enable_bitmapscan = off
set enable_sort = off
set enable_incremental_sort = off
-- Hash joins only.
set enable_nestloop = off
set plan_cache_mode = force_generic_plan
as $$
#variable_conflict use_column
begin
    return query
        -- Not as a comparison of pairs: before Postgres 18 such a scan begins at the first campaign of the same time.
        with next as materialized (
            (
                select c.id, c.organization_id, c.xmin as version, c.scheduled_at
                from public.campaigns c
                where c.status = 'scheduled'
                    and c.scheduled_at <= p_now
                    and c.scheduled_at = any (array[p_after_time])
                    and c.id > p_after_id
                    and (p_organization_id is null or c.organization_id = p_organization_id)
                order by c.scheduled_at, c.id
                limit p_at_most
            )
            union all
            (
                select c.id, c.organization_id, c.xmin as version, c.scheduled_at
                from public.campaigns c
                where c.status = 'scheduled'
                    and c.scheduled_at <= p_now
                    and c.scheduled_at > p_after_time
                    and (p_organization_id is null or c.organization_id = p_organization_id)
                order by c.scheduled_at, c.id
                limit p_at_most
            )
            order by scheduled_at, id
            limit p_at_most
        )
        -- Campaigns and launches are read in the same order and joined: where 100,000 wait, both reads cover the same
        -- campaigns. One look into the index for each campaign took as long as all the rest.
        select
            n.id, n.organization_id, n.version, n.scheduled_at, b.campaign_id is not null,
            b.waiting, b.next_attempt_at, b.failed_with, b.failed_version, b.failed_rules_at
        from next n
        left join (
            (
                select l.*
                from campaign_runner.launches l
                where l.closed_at is null
                    and l.scheduled_at = any (array[p_after_time])
                    and l.campaign_id > p_after_id
                order by l.scheduled_at, l.campaign_id
                limit p_at_most
            )
            union all
            (
                select l.*
                from campaign_runner.launches l
                where l.closed_at is null and l.scheduled_at > p_after_time
                order by l.scheduled_at, l.campaign_id
                limit p_at_most
            )
        ) b on b.campaign_id = n.id;
end;
$$;
comment on function campaign_runner.next_campaigns(uuid, timestamptz, timestamptz, uuid, integer) is
    'Of the scheduled campaigns whose time has come, the next p_at_most after the position, each with its open launch. '
    'launch_was_read is false where the campaign has none, or one that is elsewhere in the order.';
