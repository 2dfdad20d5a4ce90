create or replace function campaign_runner.due_campaigns(
    p_campaign_ids uuid[],
    p_now timestamptz default now()
)
returns table (campaign_id uuid, organization_id uuid, name text, scheduled_at timestamptz)
language plpgsql
stable
set search_path = pg_catalog, pg_temp
set row_security = off
set plan_cache_mode = force_generic_plan
set enable_seqscan = off
as $$
#variable_conflict use_column
begin
    -- These columns may be missing, see tagged_contacts(). A campaign without an organization is never due.
    return query
        select campaign.id, campaign.organization_id, campaign.name, campaign.scheduled_at
        from (
            select null::timestamptz as deleted_at, null::timestamptz as archived_at, null::boolean as is_active
        ) absent
        cross join lateral (
            select
                c.id, c.organization_id, coalesce(c.name::text, '') as name, c.scheduled_at,
                deleted_at is null and archived_at is null as is_there
            from public.campaigns c
            where c.id = any (p_campaign_ids)
                -- No index matches the case: otherwise the planner scanned all due campaigns.
                and case when c.status = 'scheduled' and c.scheduled_at <= p_now then true else false end
        ) campaign
        cross join lateral (
            select
                deleted_at is null and archived_at is null and is_active::text is distinct from 'false' as is_open
            from public.organizations o
            where o.id = campaign.organization_id
        ) organization
        where campaign.is_there and organization.is_open;
end;
$$;
comment on function campaign_runner.due_campaigns(uuid[], timestamptz) is
    'Those of the campaigns that are due: scheduled, their time has come, and neither campaign nor organization '
    'deleted, archived or closed.';
