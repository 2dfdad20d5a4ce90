create or replace function campaign_runner.has_exclusions()
returns boolean
language plpgsql
stable
set search_path = pg_catalog, pg_temp
as $$
declare
    v_function constant regprocedure := to_regprocedure('public.campaign_runner_exclusions(uuid, uuid[])');
    v_lack text;
begin
    if v_function is null then
        return false;
    end if;
    select case
        when p.provolatile = 'v' then 'is volatile, and must only read: alter function '
            || 'public.campaign_runner_exclusions(uuid, uuid[]) stable'
        when p.proowner <> c.relowner then 'is not owned by the owner of contacts: alter function '
            || 'public.campaign_runner_exclusions(uuid, uuid[]) owner to ' || quote_ident(pg_get_userbyid(c.relowner))
        when not has_function_privilege('service_role', p.oid, 'execute') then 'cannot be executed by the service role: '
            || 'grant execute on function public.campaign_runner_exclusions(uuid, uuid[]) to service_role'
    end
    into v_lack
    from pg_proc p
    join pg_class c on c.oid = to_regclass('public.contacts')
    where p.oid = v_function;
    if v_lack is not null then
        raise exception 'The function campaign_runner_exclusions %', v_lack using errcode = 'CR422';
    end if;
    return true;
end;
$$;
comment on function campaign_runner.has_exclusions() is
    'Whether the project has rules of its own, in the function public.campaign_runner_exclusions. Raises CR422 where that '
    'function cannot be used.';
