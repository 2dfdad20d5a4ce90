create or replace function campaign_runner.check_project(
    p_is_installed boolean default true
)
returns table (severity text, lack text, remedy text)
language sql
stable
set search_path = pg_catalog, pg_temp
as $$
    select * from campaign_runner.examine_tables(p_is_installed)
    union all
    select * from campaign_runner.examine_columns()
    union all
    select * from campaign_runner.examine_values()
    union all
    select * from campaign_runner.examine_writes()
    union all
    select distinct 'note', format('table public.%s is missing', r.table_name), 'The migrations create it.'
    from campaign_runner.required_columns() r
    where not p_is_installed
        and r.table_oid is null
        -- A project that has campaigns of its own may do without the optional tables.
        and (not r.is_optional or to_regclass('public.campaigns') is null)
$$;
comment on function campaign_runner.check_project(boolean) is
    'What the project lacks: an error keeps the runner from launching, a warning may keep it from launching, a note tells '
    'what the migrations create. p_is_installed: the migrations have created what was absent.';
