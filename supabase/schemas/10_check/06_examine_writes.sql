create or replace function campaign_runner.examine_writes()
returns table (severity text, lack text, remedy text)
language plpgsql
stable
set search_path = pg_catalog, pg_temp
as $$
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
            and not exists (select from pg_type y where y.oid = a.atttypid and y.typdefault is not null)
            and a.attname <> all (f.columns);

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
            'error',
            'your function public.campaign_runner_exclusions is volatile, and may only read',
            'alter function public.campaign_runner_exclusions(uuid, uuid[]) stable;'
        from pg_proc p
        where p.oid = to_regprocedure('public.campaign_runner_exclusions(uuid, uuid[])') and p.provolatile = 'v';

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
