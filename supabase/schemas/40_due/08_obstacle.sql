create or replace function campaign_runner.obstacle(
    p_organization_id uuid,
    p_scheduled_at timestamptz,
    p_launch campaign_runner.launches,
    p_system_user_id uuid,
    p_system_user_roles text[],
    p_max_lateness_minutes integer,
    p_now timestamptz
)
returns table (code text, message text)
language plpgsql
stable
set search_path = pg_catalog, pg_temp
set row_security = off
as $$
begin
    return query
        select 'CR403', format(
            'The system user may not act for this organization. Add it to organization_members with one of the roles: %s.',
            array_to_string(p_system_user_roles, ', ')
        )
        where not exists (
            select from campaign_runner.permitted_organizations(
                array[p_organization_id], p_system_user_id, p_system_user_roles
            )
        )
        union all
        -- Lateness counts from the later of the two: the schedule, and the last work on the launch. So a launch under way never
        -- becomes late, and a launch that rested too long does, as while its campaign was paused.
        select 'CR002', format(
            'The campaign is more than %s minutes late, so it was held. Schedule it again to launch it.',
            p_max_lateness_minutes
        )
        where greatest(
            p_scheduled_at,
            (select max(s.worked_at) from campaign_runner.launch_chunks s where s.launch_id = (p_launch).id)
        ) < p_now - make_interval(mins => p_max_lateness_minutes)
        limit 1;
end;
$$;
comment on function
    campaign_runner.obstacle(uuid, timestamptz, campaign_runner.launches, uuid, text[], integer, timestamptz)
is
    'Returns why a due campaign may not be launched, and the SQLSTATE for that. No row: it may be launched. p_launch: its open '
    'launch, or NULL. Launch and dry run both ask this.';
