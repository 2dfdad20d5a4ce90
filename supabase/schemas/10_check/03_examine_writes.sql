create or replace function campaign_runner.examine_writes()
returns table (severity text, lack text, remedy text)
language plpgsql
stable
set search_path = pg_catalog, pg_temp
as $$
declare
    v_check record;
    v_allows boolean;
begin
    return query
        select
            'error',
            format('public.%s has no unique key on (%s)', k.table_name, k.columns),
            format('create unique index concurrently on public.%s (%s);', k.table_name, k.columns)
        from (
            values ('campaign_recipients', 'campaign_id, contact_id'), ('campaign_target_rules', 'campaign_id')
        ) as k (table_name, columns)
        where to_regclass('public.' || k.table_name) is not null
            and not campaign_runner.has_index(
                to_regclass('public.' || k.table_name), string_to_array(k.columns, ', '), true
            );

    -- A trigger may fill such a column.
    return query
        select
            case
                when exists (
                    select from pg_trigger g
                    where g.tgrelid = a.attrelid and not g.tgisinternal and g.tgenabled <> 'D' and g.tgtype & 7 = 7
                )
                    then 'warning'
                else 'error'
            end,
            format('column public.%s.%s must not be NULL, has no default, and is not filled by the runner', f.table_name, a.attname),
            format(
                'Fill it in a BEFORE INSERT trigger, or: alter table public.%I alter column %I set default ''VALUE''; -- with your value',
                f.table_name, a.attname
            )
        from (
            values
                ('campaign_recipients', array['campaign_id', 'contact_id', 'organization_id', 'status']),
                ('activity_events', array['organization_id', 'user_id', 'event_type', 'payload'])
        ) as f (table_name, columns)
        join pg_attribute a on a.attrelid = to_regclass('public.' || f.table_name)
        where a.attnum > 0
            and not a.attisdropped
            and a.attnotnull
            and not a.atthasdef
            and a.attidentity = ''
            and a.attname <> all (f.columns);

    -- Each CHECK on a status alone is asked with the values that the runner writes.
    for v_check in
        select
            c.conname, cl.relname, n.value, a.attname, format_type(a.atttypid, a.atttypmod) as type_name,
            pg_get_expr(c.conbin, c.conrelid) as expression
        from (
            values
                ('campaigns', 'status', 'sending'), ('campaign_recipients', 'status', 'pending'),
                ('activity_events', 'event_type', 'campaign.sending')
        ) as n (table_name, column_name, value)
        join pg_class cl on cl.oid = to_regclass('public.' || n.table_name)
        join pg_attribute a on a.attrelid = cl.oid and a.attname = n.column_name
        join pg_constraint c on c.conrelid = cl.oid and c.contype = 'c' and c.conkey = array[a.attnum]
    loop
        begin
            execute format(
                'select %s from (select %L::%s as %I) asked',
                v_check.expression, v_check.value, v_check.type_name, v_check.attname
            ) into v_allows;
        exception
            when others then
                v_allows := true; -- an enum without the value, which is told as such, or an expression of another kind
        end;
        if v_allows is false then
            severity := 'error';
            lack := format(
                'constraint %s of public.%s does not allow %s ''%s''',
                v_check.conname, v_check.relname, v_check.attname, v_check.value
            );
            remedy := format(
                'alter table public.%I drop constraint %I, add constraint %I check ((%s) or %I = %L) not valid;',
                v_check.relname, v_check.conname, v_check.conname, v_check.expression, v_check.attname, v_check.value
            );
            return next;
        end if;
    end loop;

    return query
        select
            'warning',
            format(
                'column public.campaign_recipients.status has the default %s, and the runner writes ''pending''',
                pg_get_expr(d.adbin, d.adrelid)
            ),
            'Nothing to mend here: have your sender take the recipients with the status pending.'
        from pg_attrdef d
        join pg_attribute a on a.attrelid = d.adrelid and a.attnum = d.adnum
        where d.adrelid = to_regclass('public.campaign_recipients')
            and a.attname = 'status'
            and pg_get_expr(d.adbin, d.adrelid) not like '''pending''%';

    return query
        select
            'error',
            format('public.%s is published with its updates and deletes, and has no replica identity', c.relname),
            format('alter table public.%I replica identity full;', c.relname)
        from pg_class c
        join pg_publication_tables t on t.schemaname = 'public' and t.tablename = c.relname
        join pg_publication p on p.pubname = t.pubname
        where c.relnamespace = 'public'::regnamespace
            and c.relname in ('campaigns', 'campaign_recipients')
            and (p.pubupdate or p.pubdelete)
            and (
                c.relreplident = 'n'
                or c.relreplident = 'd'
                and not exists (select from pg_index i where i.indrelid = c.oid and i.indisprimary)
            )
        group by c.relname;

    return query
        select
            'warning',
            format('public.%s forces row level security on its owner', c.relname),
            format(
                'The migrations and the service role bypass it. Where a trigger of the owner fails: '
                'alter table public.%I no force row level security;', c.relname
            )
        from pg_class c
        where c.relnamespace = 'public'::regnamespace
            and c.relforcerowsecurity
            and c.relname in ('contacts', 'campaigns', 'campaign_target_rules', 'campaign_recipients');
end;
$$;
comment on function campaign_runner.examine_writes() is
    'What keeps the campaign runner from writing into the public tables, with the SQL that mends it.';
