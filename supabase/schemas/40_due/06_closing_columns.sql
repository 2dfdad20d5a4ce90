create or replace function campaign_runner.closing_columns(
    p_campaign_id uuid
)
returns text[]
language plpgsql
stable
set search_path = pg_catalog, pg_temp
set row_security = off
as $$
#variable_conflict use_column
begin
    -- These columns may be missing, see tagged_contacts().
    return (
        select array_remove(
            array[
                case when not campaign.is_live then 'campaigns.deleted_at' end,
                case when not campaign.is_kept then 'campaigns.archived_at' end,
                case when not organization.is_live then 'organizations.deleted_at' end,
                case when not organization.is_kept then 'organizations.archived_at' end,
                case when not organization.is_active then 'organizations.is_active' end
            ],
            null
        )
        from (
            select null::timestamptz as deleted_at, null::timestamptz as archived_at, null::boolean as is_active
        ) absent
        cross join lateral (
            select c.organization_id, deleted_at is null as is_live, archived_at is null as is_kept
            from public.campaigns c
            where c.id = p_campaign_id
        ) campaign
        cross join lateral (
            select
                deleted_at is null as is_live, archived_at is null as is_kept,
                is_active::text is distinct from 'false' as is_active
            from public.organizations o
            where o.id = campaign.organization_id
        ) organization
    );
end;
$$;
comment on function campaign_runner.closing_columns(uuid) is
    'The columns whose values keep a campaign from being due, as deleted, archived or closed.';
