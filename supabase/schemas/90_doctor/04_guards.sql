create or replace function campaign_runner.guards()
returns table (
    kind text, name text, table_name text, columns text[], function_name text, definition text, statement text
)
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
    -- Foreign keys to these find their row, or the launch has nothing to write for.
    v_parents constant oid[] := array[
        to_regclass('public.campaigns'), to_regclass('public.contacts'), to_regclass('public.organizations')
    ]::oid[];
begin
    return query
        with found_guards as (
            select
                'trigger' as kind, t.tgname::text as name, t.tgrelid as table_id, '{}'::smallint[] as column_numbers,
                p.oid::regproc::text as function_name, pg_get_triggerdef(t.oid) as definition,
                format('alter table %s disable trigger %I;', t.tgrelid::regclass, t.tgname) as statement
            from pg_trigger t
            join pg_proc p on p.oid = t.tgfoid
            where not t.tgisinternal
                and t.tgenabled <> 'D'
                and p.proname <> 'set_organization_of_campaign_recipient' -- of our own tables
            union all
            select
                'rule', r.rulename::text, r.ev_class, '{}', null, pg_get_ruledef(r.oid),
                format('alter table %s disable rule %I;', r.ev_class::regclass, r.rulename)
            from pg_rewrite r
            where r.ev_enabled <> 'D'
            union all
            select
                case c.contype when 'f' then 'foreign key' else 'constraint' end, c.conname::text, c.conrelid, c.conkey, null,
                pg_get_constraintdef(c.oid), format('alter table %s drop constraint %I;', c.conrelid::regclass, c.conname)
            from pg_constraint c
            where c.contype = 'c' or c.contype = 'f' and c.confrelid <> all (v_parents)
            union all
            select
                'domain constraint', c.conname::text, a.attrelid, array[a.attnum], null, pg_get_constraintdef(c.oid),
                format('alter domain %s drop constraint %I;', c.contypid::regtype, c.conname)
            from pg_attribute a
            join pg_constraint c on c.contypid = a.atttypid
            where not a.attisdropped
            union all
            select
                'unique index', i.indexrelid::regclass::text, i.indrelid, i.indkey::smallint[], null,
                pg_get_indexdef(i.indexrelid),
                case
                    when c.conname is null then format('drop index %s;', i.indexrelid::regclass)
                    else format('alter table %s drop constraint %I;', i.indrelid::regclass, c.conname)
                end
            from pg_index i
            left join pg_constraint c on c.conindid = i.indexrelid and c.conrelid = i.indrelid and c.contype in ('u', 'x')
            where (i.indisunique or i.indisexclusion)
                and not i.indisprimary
                -- The key that the runner needs.
                and pg_get_indexdef(i.indexrelid) !~ '\((campaign_id, contact_id|contact_id, campaign_id)\)$'
            union all
            select
                case a.attgenerated when '' then 'default' else 'generated column' end, a.attname::text, a.attrelid,
                array[a.attnum], null, pg_get_expr(d.adbin, d.adrelid),
                format(
                    'alter table %s alter column %I drop %s;',
                    a.attrelid::regclass, a.attname, case a.attgenerated when '' then 'default' else 'expression' end
                )
            from pg_attrdef d
            join pg_attribute a on a.attrelid = d.adrelid and a.attnum = d.adnum
        )
        select
            f.kind, f.name, f.table_id::regclass::text,
            array(
                select a.attname::text
                from pg_attribute a
                where a.attrelid = f.table_id and a.attnum = any (f.column_numbers)
                order by a.attnum
            ),
            f.function_name, f.definition, f.statement
        from found_guards f
        where f.table_id = any (v_tables)
        limit v_guards_at_most;
end;
$$;
comment on function campaign_runner.guards() is
    'What of the project may refuse a row that the runner writes, each with its columns and with the statement that takes it '
    'away: triggers (with the function that they run), rules, check constraints, constraints of domains, foreign keys, unique '
    'indexes, defaults of columns, and generated columns.';
