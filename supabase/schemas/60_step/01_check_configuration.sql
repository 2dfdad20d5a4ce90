create or replace function campaign_runner.check_configuration(
    p_organization_id uuid,
    p_system_user_id uuid
)
returns void
language plpgsql
stable
set search_path = pg_catalog, pg_temp
set row_security = off
as $$
begin
    if not exists (select from public.profiles p where p.id = p_system_user_id) then
        raise exception 'SYSTEM_USER_ID names nobody: insert the system user into public.profiles' using errcode = 'CR500';
    end if;
    if p_organization_id is not null
        and not exists (select from public.organizations o where o.id = p_organization_id)
    then
        raise exception 'there is no such organization' using errcode = 'CR404';
    end if;
end;
$$;
comment on function campaign_runner.check_configuration(uuid, uuid) is
    'Raises CR500 where the system user is no profile, and CR404 where the organization does not exist.';
