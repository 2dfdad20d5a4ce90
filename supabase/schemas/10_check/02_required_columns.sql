create or replace function campaign_runner.required_columns()
returns table (
    table_name text,
    column_name text,
    kind text,
    is_optional boolean,
    table_oid regclass,
    is_there boolean,
    type_name text,
    base_type oid,
    type_kind "char",
    type_category "char"
)
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
            ('contact_tags', 'id', 'uuid'),
            ('contact_tags', 'organization_id', 'uuid'),
            ('contact_tags', 'name', 'any'),
            ('contact_tag_assignments', 'contact_id', 'uuid'),
            ('contact_tag_assignments', 'tag_id', 'uuid'),
            ('activity_events', 'organization_id', 'uuid'),
            ('activity_events', 'user_id', 'uuid'),
            ('activity_events', 'event_type', 'text'),
            ('activity_events', 'payload', 'json')
    )
    select
        r.table_name, r.column_name, r.kind,
        r.table_name in ('campaign_target_rules', 'contact_tags', 'contact_tag_assignments', 'activity_events'),
        to_regclass('public.' || r.table_name), a.attname is not null,
        format_type(a.atttypid, null), coalesce(nullif(y.typbasetype, 0), y.oid), y.typtype, y.typcategory
    from required r
    left join pg_attribute a
        on a.attrelid = to_regclass('public.' || r.table_name)
        and a.attname = r.column_name
        and a.attnum > 0
        and not a.attisdropped
    left join pg_type y on y.oid = a.atttypid
$$;
comment on function campaign_runner.required_columns() is
    'The columns that the runner reads or writes, and what the project has under these names. kind: a type, or any, array, '
    'status (text or an enum), time, json. is_optional: the table may be absent, but not half there.';
