-- Purpose: refuse, naming everything at once, where the public tables lack what the runner needs; add the indexes that
--          it needs and the grants of the service role.
-- Tables:  campaigns, contacts, contact_tag_assignments, campaign_recipients (indexes only)
-- Rerun:   safe.
-- Undo:    supabase/uninstall.sql drops the indexes named campaign_runner_*.

create or replace function campaign_runner.missing_requirements()
returns setof text
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
            ('activity_events', 'event_type', 'any'),
            ('activity_events', 'payload', 'any')
    ),
    tables as (
        select distinct r.table_name, pg_catalog.to_regclass('public.' || r.table_name) as oid from required r
    ),
    columns as (
        select
            r.table_name,
            r.column_name,
            r.kind,
            a.attname is not null as is_there,
            pg_catalog.format_type(a.atttypid, null) as type_name,
            coalesce(nullif(y.typbasetype, 0), y.oid) as base_type,
            y.typtype,
            y.typcategory
        from required r
        join tables t using (table_name)
        left join pg_catalog.pg_attribute a
            on a.attrelid = t.oid and a.attname = r.column_name and a.attnum > 0 and not a.attisdropped
        left join pg_catalog.pg_type y on y.oid = a.atttypid
        where t.oid is not null
    ),
    values_needed (table_name, value) as (
        values
            ('campaigns', 'scheduled'), ('campaigns', 'sending'),
            ('campaign_recipients', 'pending'), ('campaign_recipients', 'bounced')
    )
    select pg_catalog.format('table public.%s is missing', t.table_name)
    from tables t
    where t.oid is null
        and t.table_name not in (
            'campaign_target_rules', 'contact_tags', 'contact_tag_assignments', 'activity_events'
        )
    union all
    select pg_catalog.format('public.%s is a view or a foreign table, where a table is needed', t.table_name)
    from tables t
    join pg_catalog.pg_class c on c.oid = t.oid
    where c.relkind not in ('r', 'p')
    union all
    select pg_catalog.format('column public.%s.%s is missing', c.table_name, c.column_name)
    from columns c
    -- Of the rules every column but the key may be absent: such a rule is not set.
    where not c.is_there and (c.table_name <> 'campaign_target_rules' or c.column_name = 'campaign_id')
    union all
    select pg_catalog.format(
        'column public.%s.%s is %s, where %s is needed',
        c.table_name, c.column_name, c.type_name,
        case c.kind when 'array' then 'text[]' when 'status' then 'text, or an enum,' else c.kind end
    )
    from columns c
    where c.is_there
        and not case c.kind
            when 'any' then true
            when 'array' then c.typcategory = 'A'
            when 'status' then c.typtype = 'e' or c.typcategory = 'S'
            else c.base_type = c.kind::pg_catalog.regtype
        end
    union all
    select pg_catalog.format('enum %s of public.%s.status lacks the value %s', c.type_name, c.table_name, n.value)
    from columns c
    join values_needed n using (table_name)
    where c.column_name = 'status'
        and c.typtype = 'e'
        and not exists (
            select from pg_catalog.pg_enum e where e.enumtypid = c.base_type and e.enumlabel = n.value
        )
    union all
    select pg_catalog.format(
        'public.%s has no unique key on (%s): create unique index concurrently on public.%s (%s);',
        k.table_name, k.columns, k.table_name, k.columns
    )
    from (
        values ('campaign_recipients', 'campaign_id, contact_id'), ('campaign_target_rules', 'campaign_id')
    ) as k (table_name, columns)
    join tables t using (table_name)
    where t.oid is not null
        and not campaign_runner.has_index(t.oid, pg_catalog.string_to_array(k.columns, ', '), true);
$$;
comment on function campaign_runner.missing_requirements() is
    'What the public tables lack for the campaign runner, one sentence each. No rows: nothing.';
revoke execute on function campaign_runner.missing_requirements() from public, anon, authenticated;
grant execute on function campaign_runner.missing_requirements() to service_role;

do $$
declare
    v_missing text;
    v_unfilled text;
begin
    select string_agg(E'\n  - ' || m, '') into v_missing from campaign_runner.missing_requirements() m;
    if v_missing is not null then
        raise exception 'campaign runner: this project cannot be used as it is:%', v_missing;
    end if;

    -- A trigger may fill such a column, so this is a warning only.
    select string_agg(a.attname, ', ') into v_unfilled
    from pg_attribute a
    where a.attrelid = 'public.campaign_recipients'::regclass
        and a.attnum > 0
        and not a.attisdropped
        and a.attnotnull
        and not a.atthasdef
        and a.attidentity = ''
        and a.attname not in ('campaign_id', 'contact_id', 'organization_id', 'status');
    if v_unfilled is not null then
        raise warning 'campaign runner: public.campaign_recipients requires %, which the runner does not fill', v_unfilled;
    end if;
end;
$$;

-- The indexes. Each is left out where an equivalent one stands under another name. On a big table build it beforehand
-- with `create index concurrently` under the same name (the README has the commands).

do $$
begin
    -- Finds what is due without reading any other campaign.
    create index if not exists campaign_runner_due_idx
        on public.campaigns (scheduled_at, id) where status = 'scheduled';

    -- The order in which an audience is walked; without it a chunk reads the contacts of all organizations.
    if not campaign_runner.has_index('public.contacts', array['organization_id', 'id']) then
        create index if not exists campaign_runner_contacts_idx on public.contacts (organization_id, id);
    end if;

    -- Finds the contacts of a tenant that have the same address, by one hash over both. The addresses themselves would make
    -- an index twice as large, and each look into the index compare texts by their collation. With the tenant as a column
    -- of its own, a planner without statistics read all contacts of the tenant for each look.
    create index if not exists campaign_runner_addresses_idx
        on public.contacts (
            hashtextextended(
                lower(btrim(email::text, E' \t\n\x0b\f\r\u00a0\u200b\u200c\u200d\u202f\u2060\ufeff')),
                uuid_hash_extended(organization_id, 0)
            ),
            id
        );

    -- Finds the addresses that opted out.
    create index if not exists campaign_runner_opted_out_idx
        on public.contacts (
            hashtextextended(
                lower(btrim(email::text, E' \t\n\x0b\f\r\u00a0\u200b\u200c\u200d\u202f\u2060\ufeff')),
                uuid_hash_extended(organization_id, 0)
            )
        )
        where not is_subscribed;

    -- A chunk of a campaign's recipients; the unique key may have its columns the other way round.
    if not campaign_runner.has_index('public.campaign_recipients', array['campaign_id', 'contact_id']) then
        create index if not exists campaign_runner_recipients_idx
            on public.campaign_recipients (campaign_id, contact_id);
    end if;

    -- Finds who bounced in a chunk. Pending rows are not in it, so a launch does not pay for it.
    create index if not exists campaign_runner_bounced_idx
        on public.campaign_recipients (organization_id, contact_id) where status = 'bounced';

    -- The contacts of one tag in a chunk. (By name: 'public.…' as a literal would be looked up where it is absent, too.)
    if to_regclass('public.contact_tag_assignments') is not null
        and not campaign_runner.has_index(
            to_regclass('public.contact_tag_assignments'), array['tag_id', 'contact_id']
        )
    then
        create index if not exists campaign_runner_tags_idx
            on public.contact_tag_assignments (tag_id, contact_id);
    end if;
end;
$$;

-- Newer Supabase projects grant nothing on new tables, not even to the service role. These are what the runner uses;
-- `for share` on the rules is what needs an update grant there.
grant usage on schema public to service_role;
grant select on public.organizations, public.profiles, public.organization_members, public.contacts to service_role;
grant select, update on public.campaigns to service_role;
-- `for key share` on contacts, which keeps them while they are written, needs the right to update one column.
grant update (id) on public.contacts to service_role;
grant select, insert, delete on public.campaign_recipients to service_role;

do $$
declare
    v_sequence regclass;
begin
    if to_regclass('public.campaign_target_rules') is not null then
        grant select, update on public.campaign_target_rules to service_role;
    end if;
    if to_regclass('public.contact_tags') is not null then
        grant select on public.contact_tags to service_role;
    end if;
    if to_regclass('public.contact_tag_assignments') is not null then
        grant select on public.contact_tag_assignments to service_role;
    end if;
    if to_regclass('public.activity_events') is not null then
        grant insert on public.activity_events to service_role;
    end if;

    -- The sequences behind the keys of the two tables that the runner inserts into.
    for v_sequence in
        select d.objid::regclass
        from pg_depend d
        join pg_class s on s.oid = d.objid and s.relkind = 'S'
        where d.refobjid in (to_regclass('public.campaign_recipients'), to_regclass('public.activity_events'))
    loop
        execute format('grant usage on sequence %s to service_role', v_sequence);
    end loop;
end;
$$;
