create or replace function campaign_runner.scheduled_lists(
    p_organization_id uuid,
    p_counted_at_most integer,
    p_shown_at_most integer,
    p_now timestamptz
)
returns jsonb
language plpgsql
stable
set search_path = pg_catalog, pg_temp
set row_security = off
as $$
begin
    return (
        with read_campaigns as materialized (
            select array(
                select c.id
                from public.campaigns c
                where c.status = 'scheduled'
                    and c.scheduled_at <= p_now
                    and (p_organization_id is null or c.organization_id = p_organization_id)
                limit p_counted_at_most + 1
            ) as ids
        ),
        due as (
            select count(*) as n
            from read_campaigns r
            cross join lateral campaign_runner.due_campaigns(r.ids, p_now)
        ),
        unscheduled as materialized (
            select c.id, c.organization_id, coalesce(c.name::text, '') as name, row_number() over () as position
            from (
                select * from public.campaigns where status = 'scheduled' and scheduled_at is null
                union all
                select * from public.campaigns where status = 'scheduled' and scheduled_at = 'infinity'
            ) c
            where p_organization_id is null or c.organization_id = p_organization_id
            limit p_counted_at_most + 1
        ),
        upcoming as materialized (
            select c.id, c.organization_id, coalesce(c.name::text, '') as name, c.scheduled_at
            from public.campaigns c
            where c.status = 'scheduled'
                and c.scheduled_at > p_now
                and c.scheduled_at < 'infinity'
                and (p_organization_id is null or c.organization_id = p_organization_id)
            order by c.scheduled_at, c.id
            limit 10
        )
        select jsonb_build_object(
            'due', (
                select jsonb_build_object(
                    'count', least(d.n, p_counted_at_most), 'is_capped', cardinality(r.ids) > p_counted_at_most
                )
                from due d
                cross join read_campaigns r
            ),
            'unscheduled', (
                select jsonb_build_object(
                    'count', least(count(*), p_counted_at_most),
                    'is_capped', count(*) > p_counted_at_most,
                    'campaigns', coalesce(
                        jsonb_agg(
                            campaign_runner.describe_campaign(u.id, u.organization_id, u.name, null) order by u.position
                        ) filter (where u.position <= p_shown_at_most),
                        '[]'
                    )
                )
                from unscheduled u
            ),
            'upcoming', (
                select coalesce(
                    jsonb_agg(
                        campaign_runner.describe_campaign(u.id, u.organization_id, u.name, u.scheduled_at)
                        order by u.scheduled_at, u.id
                    ),
                    '[]'
                )
                from upcoming u
            )
        )
    );
end;
$$;
comment on function campaign_runner.scheduled_lists(uuid, integer, integer, timestamptz) is
    'The scheduled campaigns: how many are due, which have no time, and the next ten. Counts end at p_counted_at_most.';
