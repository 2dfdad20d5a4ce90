-- Purpose: which migrations and functions the database has. Each later migration must end with
--          schema_version(), returning its own number, and runner/commands/findings.py has the number that it expects.
-- Tables:  none
-- Rerun:   safe.
-- Undo:    supabase/uninstall.sql drops the schema campaign_runner.

create or replace function campaign_runner.schema_version()
returns text
language plpgsql
immutable
set search_path = pg_catalog, pg_temp
as $$
begin
    return '20261124009900';
end;
$$;
comment on function campaign_runner.schema_version() is 'The number of the last migration that was applied.';
revoke execute on function campaign_runner.schema_version() from public, anon, authenticated;
grant execute on function campaign_runner.schema_version() to service_role;


create or replace function campaign_runner.present_functions()
returns jsonb
language sql
stable
set search_path = pg_catalog, pg_temp
as $$
    -- Without the function of the project, without this function, and without installed_functions(), which cannot hold a hash of
    -- itself. A function with a parsed body has no source.
    select pg_catalog.jsonb_object_agg(
        p.oid::pg_catalog.regprocedure::text,
        pg_catalog.md5(coalesce(pg_catalog.pg_get_function_sqlbody(p.oid), p.prosrc))
    )
    from pg_catalog.pg_proc p
    where (
            p.pronamespace = 'campaign_runner'::pg_catalog.regnamespace
            or p.pronamespace = 'public'::pg_catalog.regnamespace and pg_catalog.starts_with(p.proname, 'campaign_runner_')
        )
        and p.proname not in ('present_functions', 'installed_functions', 'campaign_runner_exclusions')
$$;
comment on function campaign_runner.present_functions() is 'Each function of the runner with a hash of its body.';
revoke execute on function campaign_runner.present_functions() from public, anon, authenticated;
grant execute on function campaign_runner.present_functions() to service_role;

do $$
begin
    execute format(
        'create or replace function campaign_runner.installed_functions() returns jsonb language sql immutable return %L::jsonb',
        campaign_runner.present_functions()
    );
    comment on function campaign_runner.installed_functions() is
        'What present_functions() returned when the migrations were applied.';
    revoke execute on function campaign_runner.installed_functions() from public, anon, authenticated;
    grant execute on function campaign_runner.installed_functions() to service_role;
end;
$$;
