-- Purpose: which migrations the database has. This file is the last one: each later migration ends with this function,
--          returning its own number, and runner/doctor.py has the number that it expects.
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
