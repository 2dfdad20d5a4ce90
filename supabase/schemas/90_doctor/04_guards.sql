create or replace function campaign_runner.guards()
returns table (kind text, name text, table_name text, function_name text, definition text, statement text)
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
            'trigger', t.tgname::text, t.tgrelid::regclass::text, p.proname::text, pg_get_triggerdef(t.oid),
            format('alter table %s disable trigger %I;', t.tgrelid::regclass, t.tgname)
        from pg_trigger t
        join pg_proc p on p.oid = t.tgfoid
        where t.tgrelid = any (v_tables)
            and not t.tgisinternal
            and t.tgenabled <> 'D'
            and p.proname <> 'set_organization_of_campaign_recipient' -- of our own tables
        union all
        select
            'rule', r.rulename::text, r.ev_class::regclass::text, null, pg_get_ruledef(r.oid),
            format('alter table %s disable rule %I;', r.ev_class::regclass, r.rulename)
        from pg_rewrite r
        where r.ev_class = any (v_tables) and r.ev_enabled <> 'D'
        union all
        select
            'constraint', c.conname::text, c.conrelid::regclass::text, null, pg_get_constraintdef(c.oid),
            format('alter table %s drop constraint %I;', c.conrelid::regclass, c.conname)
        from pg_constraint c
        where c.conrelid = any (v_tables) and c.contype = 'c'
        union all
        select
            'domain constraint', c.conname::text, a.attrelid::regclass::text, null, pg_get_constraintdef(c.oid),
            format('alter domain %s drop constraint %I;', c.contypid::regtype, c.conname)
        from pg_attribute a
        join pg_constraint c on c.contypid = a.atttypid
        where a.attrelid = any (v_tables) and not a.attisdropped
        union all
        select
            'foreign key', c.conname::text, c.conrelid::regclass::text, null, pg_get_constraintdef(c.oid),
            format('alter table %s drop constraint %I;', c.conrelid::regclass, c.conname)
        from pg_constraint c
        where c.conrelid = any (v_tables)
            and c.contype = 'f'
            -- A row that these look for is there, or the launch has nothing to write for.
            and c.confrelid <> all (
                array[
                    to_regclass('public.campaigns'), to_regclass('public.contacts'), to_regclass('public.organizations')
                ]::oid[]
            )
        union all
        select
            'unique index', i.indexrelid::regclass::text, i.indrelid::regclass::text, null, pg_get_indexdef(i.indexrelid),
            case
                when c.conname is null then format('drop index %s;', i.indexrelid::regclass)
                else format('alter table %s drop constraint %I;', i.indrelid::regclass, c.conname)
            end
        from pg_index i
        left join pg_constraint c on c.conindid = i.indexrelid and c.conrelid = i.indrelid and c.contype in ('u', 'x')
        where i.indrelid = any (v_tables)
            and (i.indisunique or i.indisexclusion)
            and not i.indisprimary
            -- The key that the runner needs.
            and pg_get_indexdef(i.indexrelid) !~ '\((campaign_id, contact_id|contact_id, campaign_id)\)$'
        union all
        select
            g.kind, a.attname::text, a.attrelid::regclass::text, null, pg_get_expr(d.adbin, d.adrelid),
            format(
                'alter table %s alter column %I drop %s;',
                a.attrelid::regclass, a.attname, case g.kind when 'default' then 'default' else 'expression' end
            )
        from pg_attrdef d
        join pg_attribute a on a.attrelid = d.adrelid and a.attnum = d.adnum
        cross join lateral (select case a.attgenerated when '' then 'default' else 'generated column' end as kind) g
        where d.adrelid = any (v_tables)
        limit v_guards_at_most;
end;
$$;
comment on function campaign_runner.guards() is
    'What of the project may refuse a row that the runner writes, each with the statement that takes it away: triggers (with '
    'the function that they run), rules, check constraints, constraints of domains, foreign keys, unique indexes, defaults of '
    'columns, and generated columns.';
