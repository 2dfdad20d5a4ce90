create or replace function campaign_runner.scheduled_campaigns(
    p_at_most integer
)
returns table (id uuid, organization_id uuid, scheduled_at timestamptz)
language plpgsql
stable
set search_path = pg_catalog, pg_temp
set row_security = off
as $$
begin
    return query
        select c.id, c.organization_id, c.scheduled_at
        from public.campaigns c
        where c.status = 'scheduled'
        order by c.scheduled_at
        limit p_at_most;
end;
$$;
comment on function campaign_runner.scheduled_campaigns(integer) is 'The scheduled campaigns with the earliest schedules.';
