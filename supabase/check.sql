-- Purpose: says what keeps the campaign runner from working in this project, and what its migrations will create. To
--          paste into the SQL editor before they are applied; nothing is written.
-- Tables:  none; reads the catalogs
-- Made from migrations/20261124000000_check_project.sql, which refuses by the same check.

create or replace function pg_temp.has_index(
    p_table regclass,
    p_columns text[],
    p_unique boolean default false
)
returns boolean
language sql
stable
set search_path = pg_catalog, pg_temp
as $$
    -- Only a whole, valid index counts. A unique one must have exactly these columns, in any order, and be checked at
    -- once (`on conflict` cannot use a deferrable constraint); another one must start with them, in this order.
    select exists (
        select from pg_catalog.pg_index i
        cross join lateral (
            select pg_catalog.array_agg(a.attname::text order by k.position) as columns
            from pg_catalog.unnest(i.indkey::smallint[]) with ordinality as k (attnum, position)
            join pg_catalog.pg_attribute a on a.attrelid = i.indrelid and a.attnum = k.attnum
            where k.position <= i.indnkeyatts
        ) key
        where i.indrelid = p_table
            and i.indisvalid
            and i.indpred is null
            and not (0 = any (i.indkey::smallint[]))
            and case
                when p_unique
                    then i.indisunique and i.indimmediate and key.columns @> p_columns and key.columns <@ p_columns
                else key.columns[1:pg_catalog.cardinality(p_columns)] = p_columns
            end
    );
$$;


create or replace function pg_temp.examine_columns(
    p_is_installed boolean
)
returns table (severity text, lack text, remedy text)
language sql
stable
set search_path = pg_catalog, pg_temp
as $$
    with required (table_name, column_name, kind) as (
        values
            ('organizations', 'id', 'uuid'),
            ('profiles', 'id', 'uuid'),
            ('organization_members', 'organization_id', 'uuid'),
            ('organization_members', 'user_id', 'uuid'),
            ('organization_members', 'role', 'any'),
            ('contacts', 'id', 'uuid'),
            ('contacts', 'organization_id', 'uuid'),
            ('contacts', 'email', 'any'),
            ('contacts', 'country', 'any'),
            ('contacts', 'is_active', 'boolean'),
            ('contacts', 'is_subscribed', 'boolean'),
            ('campaigns', 'id', 'uuid'),
            ('campaigns', 'organization_id', 'uuid'),
            ('campaigns', 'name', 'any'),
            ('campaigns', 'status', 'status'),
            ('campaigns', 'scheduled_at', 'timestamp with time zone'),
            ('campaigns', 'updated_at', 'time'),
            ('campaign_target_rules', 'campaign_id', 'uuid'),
            ('campaign_target_rules', 'include_emails', 'array'),
            ('campaign_target_rules', 'include_tags', 'array'),
            ('campaign_target_rules', 'exclude_tags', 'array'),
            ('campaign_target_rules', 'exclude_countries', 'array'),
            ('campaign_target_rules', 'exclude_unsubscribed', 'boolean'),
            ('campaign_target_rules', 'exclude_inactive', 'boolean'),
            ('campaign_target_rules', 'exclude_bounced', 'boolean'),
            ('campaign_recipients', 'campaign_id', 'uuid'),
            ('campaign_recipients', 'contact_id', 'uuid'),
            ('campaign_recipients', 'organization_id', 'uuid'),
            ('campaign_recipients', 'status', 'status'),
            -- These tables may be absent, but not half there.
            ('contact_tags', 'id', 'uuid'),
            ('contact_tags', 'organization_id', 'uuid'),
            ('contact_tags', 'name', 'any'),
            ('contact_tag_assignments', 'contact_id', 'uuid'),
            ('contact_tag_assignments', 'tag_id', 'uuid'),
            ('activity_events', 'organization_id', 'uuid'),
            ('activity_events', 'user_id', 'uuid'),
            ('activity_events', 'event_type', 'text'),
            ('activity_events', 'payload', 'json')
    ),
    tables as (
        select r.table_name, pg_catalog.to_regclass('public.' || r.table_name) as oid
        from required r
        group by r.table_name
    ),
    columns as (
        select
            r.table_name, r.column_name, r.kind, a.attname is not null as is_there,
            pg_catalog.format_type(a.atttypid, null) as type_name,
            coalesce(nullif(y.typbasetype, 0), y.oid) as base_type,
            y.typtype, y.typcategory,
            case r.kind
                when 'any' then 'text'
                when 'array' then 'text[]'
                when 'status' then 'text'
                when 'time' then 'timestamp with time zone'
                when 'json' then 'jsonb'
                else r.kind
            end as wanted
        from required r
        join tables t using (table_name)
        left join pg_catalog.pg_attribute a
            on a.attrelid = t.oid and a.attname = r.column_name and a.attnum > 0 and not a.attisdropped
        left join pg_catalog.pg_type y on y.oid = a.atttypid
        where t.oid is not null
    ),
    elsewhere as (
        select t.table_name, min(n.nspname::text) as schema_name
        from tables t
        join pg_catalog.pg_class c on c.relname = t.table_name and c.relkind in ('r', 'p')
        join pg_catalog.pg_namespace n on n.oid = c.relnamespace
        where t.oid is null
            and t.table_name in ('campaigns', 'contacts')
            and n.nspname not in ('public', 'information_schema', 'campaign_runner')
            and n.nspname !~ '^(pg_|auth$|storage$|realtime$|supabase_|extensions$|vault$|cron$|net$)'
        group by t.table_name
    )
    select
        'error',
        pg_catalog.format('table public.%I is missing, and there is a table %I.%I', e.table_name, e.schema_name, e.table_name),
        pg_catalog.format(
            'The runner works in the schema public: alter table %I.%I set schema public;', e.schema_name, e.table_name
        )
    from elsewhere e
    union all
    select 'error', pg_catalog.format('table public.%s is missing', t.table_name), 'Apply supabase/migrations.'
    from tables t
    where p_is_installed
        and t.oid is null
        and t.table_name not in (
            'campaign_target_rules', 'contact_tags', 'contact_tag_assignments', 'activity_events'
        )
    union all
    select
        'error', 'auth.users and auth.uid() are missing: this is not a Supabase database',
        'No statement can mend that: the runner needs a Supabase project.'
    where exists (
            select from tables t
            where t.oid is null
                and t.table_name not in (
                    'campaign_target_rules', 'contact_tags', 'contact_tag_assignments', 'activity_events'
                )
        )
        and (pg_catalog.to_regprocedure('auth.uid()') is null or pg_catalog.to_regclass('auth.users') is null)
    union all
    select
        'error',
        pg_catalog.format('public.%s is a view or a foreign table, where a table is needed', t.table_name),
        pg_catalog.format(
            'No statement can mend that: give the view another name, and make the table public.%s.', t.table_name
        )
    from tables t
    join pg_catalog.pg_class c on c.oid = t.oid
    where c.relkind not in ('r', 'p')
    union all
    select
        'error',
        pg_catalog.format('column public.%s.%s is missing', c.table_name, c.column_name),
        pg_catalog.format(
            'alter table public.%I add column %I %s%s; -- or rename the column that holds this',
            c.table_name, c.column_name, c.wanted,
            case
                when c.column_name in ('is_active', 'is_subscribed') then ' not null default true'
                when c.table_name = 'campaigns' and c.column_name = 'status' then ' not null default ''draft'''
                when c.table_name = 'campaign_recipients' and c.column_name = 'status' then ' not null default ''pending'''
            end
        )
    from columns c
    -- Of the rules every column but the key may be absent: such a rule is not set.
    where not c.is_there
        and (c.table_name <> 'campaign_target_rules' or c.column_name = 'campaign_id')
        and c.kind <> 'time'
    union all
    select
        'error',
        pg_catalog.format(
            'column public.%s.%s is %s, where %s is needed',
            c.table_name, c.column_name, c.type_name,
            case c.kind when 'status' then 'text, or an enum,' when 'json' then 'jsonb, json or text' else c.wanted end
        ),
        case
            when c.kind = 'uuid' and c.column_name in ('id', 'organization_id', 'campaign_id', 'contact_id', 'tag_id', 'user_id')
                then 'No statement can mend that: the runner needs keys of the type uuid.'
            when c.wanted <> 'text' and c.typcategory <> 'S' and not exists (
                select from pg_catalog.pg_cast k
                where k.castsource = c.base_type and k.casttarget = c.wanted::pg_catalog.regtype
            )
                then pg_catalog.format(
                    'No statement can mend that: Postgres casts no %s to %s. Give the column another name.', c.type_name, c.wanted
                )
            else pg_catalog.format(
                'alter table public.%I alter column %I type %s using %I::%s;',
                c.table_name, c.column_name, c.wanted, c.column_name, c.wanted
            )
        end
    from columns c
    where c.is_there
        and not case c.kind
            when 'any' then true
            when 'array' then c.typcategory = 'A'
            when 'text' then c.typtype = 'e' or c.typcategory = 'S'
            when 'status' then c.typtype = 'e' or c.typcategory = 'S'
            when 'time' then c.typcategory = 'D'
            when 'json' then c.base_type in ('jsonb'::regtype, 'json'::regtype) or c.typcategory = 'S'
            else c.base_type = c.kind::pg_catalog.regtype
        end
    union all
    select
        'error',
        pg_catalog.format('enum %s of public.%s.%s lacks the value %s', c.type_name, c.table_name, c.column_name, n.value),
        pg_catalog.format('alter type %s add value %L;', c.type_name, n.value)
    from columns c
    join (
        values
            ('campaigns', 'status', 'scheduled'), ('campaigns', 'status', 'sending'),
            ('campaign_recipients', 'status', 'pending'), ('campaign_recipients', 'status', 'bounced'),
            ('activity_events', 'event_type', 'campaign.sending')
    ) as n (table_name, column_name, value)
        on n.table_name = c.table_name and n.column_name = c.column_name
    where c.typtype = 'e'
        and not exists (
            select from pg_catalog.pg_enum e where e.enumtypid = c.base_type and e.enumlabel = n.value
        )
    union all
    select
        'warning', 'contacts have a column phone, and none that is called mobile',
        'A contact without an e-mail address gets nothing. If phone holds mobile numbers: '
        'alter table public.contacts rename column phone to mobile;'
    from tables t
    where t.table_name = 'contacts'
        and exists (select from pg_catalog.pg_attribute a where a.attrelid = t.oid and a.attname = 'phone')
        and not exists (select from pg_catalog.pg_attribute a where a.attrelid = t.oid and a.attname = 'mobile')
$$;


create or replace function pg_temp.examine_writes()
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
            and not pg_temp.has_index(
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
                'Fill it in a BEFORE INSERT trigger, or: alter table public.%I alter column %I set default …;',
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
            c.conrelid, c.conname, cl.relname, n.value, a.attname, format_type(a.atttypid, a.atttypmod) as type_name,
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


create or replace function pg_temp.check_project(
    p_is_installed boolean default true
)
returns table (severity text, lack text, remedy text)
language sql
stable
set search_path = pg_catalog, pg_temp
as $$
    select * from pg_temp.examine_columns(p_is_installed)
    union all
    select * from pg_temp.examine_writes()
    union all
    select 'note', pg_catalog.format('table public.%s is missing', n.name), 'The migrations create it.'
    from (
        values
            ('organizations', true), ('profiles', true), ('organization_members', true), ('contacts', true),
            ('campaigns', true), ('campaign_recipients', true), ('campaign_target_rules', false), ('contact_tags', false),
            ('contact_tag_assignments', false), ('activity_events', false)
    ) as n (name, is_required)
    where not p_is_installed
        and pg_catalog.to_regclass('public.' || n.name) is null
        -- A project that has campaigns of its own may do without the others.
        and (n.is_required or pg_catalog.to_regclass('public.campaigns') is null)
$$;

select c.severity, c.lack, c.remedy from pg_temp.check_project(false) c order by c.severity, c.lack;
