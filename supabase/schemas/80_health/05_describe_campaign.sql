create or replace function campaign_runner.describe_campaign(
    p_campaign_id uuid,
    p_organization_id uuid,
    p_name text,
    p_scheduled_at timestamptz
)
returns jsonb
language plpgsql
stable
set search_path = pg_catalog, pg_temp
set row_security = off
as $$
begin
    return jsonb_build_object(
        'campaign_id', p_campaign_id,
        'organization_id', p_organization_id,
        'organization_name', campaign_runner.organization_name(p_organization_id),
        'name', p_name,
        -- Infinite, or before Christ: there is no such time in JSON.
        'scheduled_at', case when p_scheduled_at > '0001-01-02' and isfinite(p_scheduled_at) then p_scheduled_at end
    );
end;
$$;
comment on function campaign_runner.describe_campaign(uuid, uuid, text, timestamptz) is
    'A campaign for a list: its id, name, organization and schedule.';
