create or replace function campaign_runner.due_page(
    p_organization_id uuid,
    p_system_user_id uuid,
    p_system_user_roles text[],
    p_from_time timestamptz,
    p_from_id uuid,
    p_max_campaigns integer,
    p_now timestamptz
)
returns table (campaign_id uuid, scheduled_at timestamptz, organization_id uuid, name text, launch campaign_runner.launches, is_ready boolean)
language plpgsql
stable
set search_path = pg_catalog, pg_temp
set row_security = off
set enable_seqscan = off
set enable_bitmapscan = off
set enable_sort = off
set enable_incremental_sort = off
as $$
#variable_conflict use_column
begin
    -- The position is not compared as a pair; next_campaigns() tells why.
    return query
        with page as materialized (
            (
                select c.id, c.scheduled_at
                from public.campaigns c
                where c.status = 'scheduled'
                    and c.scheduled_at <= p_now
                    and c.scheduled_at = any (array[p_from_time])
                    and c.id >= p_from_id
                    and (p_organization_id is null or c.organization_id = p_organization_id)
                order by c.scheduled_at, c.id
                limit p_max_campaigns
            )
            union all
            (
                select c.id, c.scheduled_at
                from public.campaigns c
                where c.status = 'scheduled'
                    and c.scheduled_at <= p_now
                    and c.scheduled_at > p_from_time
                    and (p_organization_id is null or c.organization_id = p_organization_id)
                order by c.scheduled_at, c.id
                limit p_max_campaigns
            )
            order by scheduled_at, id
            limit p_max_campaigns
        )
        select
            p.id, p.scheduled_at, d.organization_id, d.name, l,
            d.campaign_id is not null
                and campaign_runner.is_launch_ready(l, p_system_user_id, p_system_user_roles, p_now)
        from page p
        left join campaign_runner.due_campaigns(array(select q.id from page q), p_now) d on d.campaign_id = p.id
        left join campaign_runner.launches l on l.campaign_id = p.id and l.closed_at is null
        order by p.scheduled_at, p.id;
end;
$$;
comment on function campaign_runner.due_page(uuid, uuid, text[], timestamptz, uuid, integer, timestamptz) is
    'The next campaigns whose time has come, in the order of their schedules, from this one on, each with its open '
    'launch, and whether it is due and ready.';
