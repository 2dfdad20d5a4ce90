create or replace function campaign_runner.examine_tables(
    p_is_installed boolean
)
returns table (severity text, lack text, remedy text)
language sql
stable
set search_path = pg_catalog, pg_temp
as $$
    with tables as (
        select distinct r.table_name, r.table_oid, r.is_optional from campaign_runner.required_columns() r
    ),
    elsewhere as (
        select t.table_name, min(n.nspname::text) as schema_name
        from tables t
        join pg_class c on c.relname = t.table_name and c.relkind in ('r', 'p')
        join pg_namespace n on n.oid = c.relnamespace
        where t.table_oid is null
            and t.table_name in ('campaigns', 'contacts')
            and n.nspname not in ('public', 'information_schema', 'campaign_runner')
            and n.nspname !~ '^(pg_|auth$|storage$|realtime$|supabase_|extensions$|vault$|cron$|net$)'
        group by t.table_name
    )
    select
        'error',
        format('table public.%I is missing, and there is a table %I.%I', e.table_name, e.schema_name, e.table_name),
        format(
            'The runner works in the schema public: alter table %I.%I set schema public;', e.schema_name, e.table_name
        )
    from elsewhere e
    union all
    select 'error', format('table public.%s is missing', t.table_name), 'Apply supabase/migrations.'
    from tables t
    where p_is_installed and t.table_oid is null and not t.is_optional
    union all
    select
        'error', 'auth.users and auth.uid() are missing: this is not a Supabase database',
        'No statement can mend that: the runner needs a Supabase project.'
    where exists (select from tables t where t.table_oid is null and not t.is_optional)
        and (to_regprocedure('auth.uid()') is null or to_regclass('auth.users') is null)
    union all
    select
        'error',
        format('public.%s is a view or a foreign table, where a table is needed', t.table_name),
        format(
            'No statement can mend that: give the view another name, and make the table public.%s.', t.table_name
        )
    from tables t
    join pg_class c on c.oid = t.table_oid
    where c.relkind not in ('r', 'p')
$$;
comment on function campaign_runner.examine_tables(boolean) is
    'Which tables the runner lacks, with the SQL that mends it.';
