create or replace function campaign_runner.guards()
returns table (name text, table_name text, function_name text, definition text, statement text)
language plpgsql
stable
set search_path = pg_catalog, pg_temp
set row_security = off
as $$
declare
    v_guards_at_most constant integer := 100;
    v_tables constant oid[] := array_remove(
        array[
            to_regclass('public.campaigns'), to_regclass('public.campaign_recipients'), to_regclass('public.activity_events')
        ]::oid[],
        null
    );
begin
    return query
        select
            t.tgname::text,
            t.tgrelid::regclass::text,
            p.proname::text,
            pg_get_triggerdef(t.oid),
            format('alter table %s disable trigger %I;', t.tgrelid::regclass, t.tgname)
        from pg_trigger t
        join pg_proc p on p.oid = t.tgfoid
        where t.tgrelid = any (v_tables)
            and not t.tgisinternal
            and t.tgenabled <> 'D'
            and p.proname <> 'set_organization_of_campaign_recipient' -- of our own tables
        union all
        select
            c.conname::text,
            c.conrelid::regclass::text,
            null,
            pg_get_constraintdef(c.oid),
            format('alter table %s drop constraint %I;', c.conrelid::regclass, c.conname)
        from pg_constraint c
        where c.conrelid = any (v_tables) and c.contype = 'c'
        limit v_guards_at_most;
end;
$$;
comment on function campaign_runner.guards() is
    'The triggers and check constraints of the project that may refuse what the runner writes, each with the statement that '
    'takes it away. A constraint has no function.';
