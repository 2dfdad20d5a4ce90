create or replace function public.campaign_runner_campaigns(
    p_organization_id uuid,
    p_status text,
    p_max_campaigns integer default 20
)
returns jsonb
language plpgsql
stable
set search_path = pg_catalog, pg_temp
set row_security = off
set jit = off
set lock_timeout = '2s'
as $$
declare
    v_max_campaigns constant integer := least(greatest(p_max_campaigns, 1), 1000);
begin
    perform campaign_runner.hold_version();
    -- In the order of their schedules, for which a project has no index: this reads all campaigns.
    return (
        with latest as materialized (
            select c.id, c.organization_id, coalesce(c.name::text, '') as name, c.status::text as status, c.scheduled_at
            from public.campaigns c
            where (p_organization_id is null or c.organization_id = p_organization_id)
                and (p_status is null or c.status::text = p_status)
            order by c.scheduled_at desc nulls last, c.id
            limit v_max_campaigns + 1
        ),
        shown as materialized (
            select l.* from latest l order by l.scheduled_at desc nulls last, l.id limit v_max_campaigns
        )
        select jsonb_build_object(
            'is_cut', (select count(*) > v_max_campaigns from latest),
            'campaigns', coalesce(
                jsonb_agg(
                    campaign_runner.describe_campaign(s.id, s.organization_id, s.name, s.scheduled_at)
                        || jsonb_build_object('status', s.status)
                    order by s.scheduled_at desc nulls last, s.id
                ),
                '[]'
            )
        )
        from shown s
    );
end;
$$;
comment on function public.campaign_runner_campaigns(uuid, text, integer) is
    'The campaigns of one organization or (NULL) of all, of one status or (NULL) of any: the latest schedule first, at most '
    'p_max_campaigns, at most 1000.';
