create or replace function campaign_runner.examine_columns(
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
            'alter table public.%I add column %I %s%s; -- or rename your own',
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
comment on function campaign_runner.examine_columns(boolean) is
    'What tables, columns and enums lack for the campaign runner, with the SQL that mends it.';
