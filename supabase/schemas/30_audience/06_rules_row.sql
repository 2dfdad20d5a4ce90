create or replace function campaign_runner.rules_row(
    p_campaign_id uuid,
    p_organization_id uuid
)
returns jsonb
language plpgsql
stable
set search_path = pg_catalog, pg_temp
set row_security = off
as $$
begin
    if to_regclass('public.campaign_target_rules') is null then
        return null;
    end if;
    return (
        select r.fields
        from (
            select to_jsonb(t) as fields from public.campaign_target_rules t where t.campaign_id = p_campaign_id
        ) r
        where coalesce((r.fields ->> 'organization_id')::uuid = p_organization_id, true)
    );
end;
$$;
comment on function campaign_runner.rules_row(uuid, uuid) is
    'The row of target rules as jsonb, which lacks the columns that the table lacks. NULL: there is none of this '
    'tenant.';
