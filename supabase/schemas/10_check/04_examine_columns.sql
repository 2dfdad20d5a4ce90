create or replace function campaign_runner.examine_columns()
returns table (severity text, lack text, remedy text)
language sql
stable
set search_path = pg_catalog, pg_temp
as $$
    with columns as (
        select
            r.*,
            case r.kind
                when 'any' then 'text'
                when 'array' then 'text[]'
                when 'status' then 'text'
                when 'time' then 'timestamp with time zone'
                when 'json' then 'jsonb'
                else r.kind
            end as wanted
        from campaign_runner.required_columns() r
        where r.table_oid is not null
    )
    select
        'error',
        format('column public.%s.%s is missing', c.table_name, c.column_name),
        format(
            'alter table public.%I add column %I %s%s;%s',
            c.table_name, c.column_name, c.wanted,
            case
                when c.column_name in ('is_active', 'is_subscribed') then ' not null default true'
                when c.table_name = 'campaigns' and c.column_name = 'status' then ' not null default ''draft'''
                when c.table_name = 'campaign_recipients' and c.column_name = 'status' then ' not null default ''pending'''
            end,
            (
                select format(' -- or rename one of yours: %s', string_agg(quote_ident(a.attname), ', ' order by a.attnum))
                from pg_attribute a
                where a.attrelid = c.table_oid
                    and a.attnum > 0
                    and not a.attisdropped
                    and a.attname not in ('mobile', 'deleted_at', 'archived_at', 'created_at', 'updated_at')
                    and a.attname not in (
                        select r.column_name from campaign_runner.required_columns() r where r.table_name = c.table_name
                    )
            )
        )
    from columns c
    -- Of the rules every column but the key may be absent: such a rule is not set.
    where not c.is_there
        and (c.table_name <> 'campaign_target_rules' or c.column_name = 'campaign_id')
        and c.kind <> 'time'
    union all
    select
        'error',
        format(
            'column public.%s.%s is %s, where %s is needed',
            c.table_name, c.column_name, c.type_name,
            case c.kind when 'status' then 'text, or an enum,' when 'json' then 'jsonb, json or text' else c.wanted end
        ),
        case
            when c.kind = 'uuid' and c.column_name in ('id', 'organization_id', 'campaign_id', 'contact_id', 'tag_id', 'user_id')
                then 'No statement can mend that: the runner needs keys of the type uuid.'
            when c.wanted <> 'text' and c.type_category <> 'S' and not exists (
                select from pg_cast k
                where k.castsource = c.base_type and k.casttarget = c.wanted::regtype
            )
                then format(
                    'No statement can mend that: Postgres casts no %s to %s. Give the column another name.', c.type_name, c.wanted
                )
            else format(
                'alter table public.%I alter column %I type %s using %I::%s;',
                c.table_name, c.column_name, c.wanted, c.column_name, c.wanted
            )
        end
    from columns c
    where c.is_there
        and not case c.kind
            when 'any' then true
            when 'array' then c.type_category = 'A'
            when 'text' then c.type_kind = 'e' or c.type_category = 'S'
            when 'status' then c.type_kind = 'e' or c.type_category = 'S'
            when 'time' then c.type_category = 'D'
            when 'json' then c.base_type in ('jsonb'::regtype, 'json'::regtype) or c.type_category = 'S'
            else c.base_type = c.kind::regtype
        end
    union all
    select
        'warning', 'contacts have a column phone, and none that is called mobile',
        'A contact without an e-mail address gets nothing. If phone holds mobile numbers: '
        'alter table public.contacts rename column phone to mobile;'
    from pg_attribute a
    where a.attrelid = to_regclass('public.contacts')
        and a.attname = 'phone'
        and not exists (select from pg_attribute m where m.attrelid = a.attrelid and m.attname = 'mobile')
$$;
comment on function campaign_runner.examine_columns() is
    'Which columns the runner lacks, or cannot use, with the SQL that mends it.';
