create or replace function campaign_runner.permitted_organizations(
    p_organization_ids uuid[],
    p_system_user_id uuid,
    p_system_user_roles text[]
)
returns setof uuid
language plpgsql
stable
set search_path = pg_catalog, pg_temp
set row_security = off
as $$
begin
    return query
        select distinct m.organization_id
        from public.organization_members m
        where m.organization_id = any (p_organization_ids)
            and m.user_id = p_system_user_id
            and m.role::text = any (p_system_user_roles);
end;
$$;
comment on function campaign_runner.permitted_organizations(uuid[], uuid, text[]) is
    'Those of the organizations of which the system user is a member in one of these roles.';
