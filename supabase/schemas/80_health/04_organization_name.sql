create or replace function campaign_runner.organization_name(
    p_organization_id uuid
)
returns text
language plpgsql
stable
set search_path = pg_catalog, pg_temp
set row_security = off
as $$
begin
    -- A project's own table may have no column of this name.
    return (select to_jsonb(o) ->> 'name' from public.organizations o where o.id = p_organization_id);
end;
$$;
comment on function campaign_runner.organization_name(uuid) is 'The name of an organization, for a list. NULL: it has none.';
