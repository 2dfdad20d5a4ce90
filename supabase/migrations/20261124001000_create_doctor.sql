-- Purpose: what the command `doctor` asks the database: is everything there that the runner needs, and in order.
-- Tables:  reads the catalogs, profiles, organization_members, organizations, campaigns, contacts, campaign_recipients, and
--          the ledger; writes nothing that stays
-- Rerun:   safe.
-- Undo:    supabase/uninstall.sql drops the function and the schema campaign_runner.

create or replace function campaign_runner.missing_indexes()
returns table (index_name text, is_invalid boolean, command text)
language plpgsql
stable
set search_path = pg_catalog, pg_temp
as $$
begin
    return query
        with needed (name, table_name, columns, definition) as (
            values
                -- Without columns: one that is known by its name alone, as it has a condition or an expression.
                ('campaign_runner_due_idx', 'public.campaigns', null, '(scheduled_at, id) where status = ''scheduled'''),
                (
                    'campaign_runner_contacts_idx', 'public.contacts', array['organization_id', 'id'],
                    '(organization_id, id)'
                ),
                (
                    'campaign_runner_addresses_idx', 'public.contacts', null,
                    '(hashtextextended(lower(btrim(email::text, E'' \t\n\x0b\f\r\u00a0\u200b\u200c\u200d\u202f\u2060\ufeff'')), '
                    'uuid_hash_extended(organization_id, 0)), id)'
                ),
                (
                    'campaign_runner_opted_out_idx', 'public.contacts', null,
                    '(hashtextextended(lower(btrim(email::text, E'' \t\n\x0b\f\r\u00a0\u200b\u200c\u200d\u202f\u2060\ufeff'')), '
                    'uuid_hash_extended(organization_id, 0))) where not is_subscribed'
                ),
                (
                    'campaign_runner_recipients_idx', 'public.campaign_recipients', array['campaign_id', 'contact_id'],
                    '(campaign_id, contact_id)'
                ),
                (
                    'campaign_runner_bounced_idx', 'public.campaign_recipients', null,
                    '(organization_id, contact_id) where status = ''bounced'''
                ),
                (
                    'campaign_runner_tags_idx', 'public.contact_tag_assignments', array['tag_id', 'contact_id'],
                    '(tag_id, contact_id)'
                )
        ),
        found as (
            select n.name, n.table_name, n.columns, n.definition, to_regclass(n.table_name) as table_oid, i.indisvalid
            from needed n
            left join pg_catalog.pg_index i
                on i.indexrelid = to_regclass('public.' || n.name) and i.indrelid = to_regclass(n.table_name)
            where to_regclass(n.table_name) is not null
        )
        select
            f.name, f.indisvalid is not null,
            format('create index concurrently if not exists %s on %s %s;', f.name, f.table_name, f.definition)
        from found f
        where f.indisvalid is not true
            and (f.columns is null or not campaign_runner.has_index(f.table_oid, f.columns));
end;
$$;
comment on function campaign_runner.missing_indexes() is
    'The indexes that the runner needs and that are not there, or are there but invalid, as a build with `concurrently` that '
    'failed leaves them; each with the command that builds it.';
revoke execute on function campaign_runner.missing_indexes() from public, anon, authenticated;
grant execute on function campaign_runner.missing_indexes() to service_role;


create or replace function campaign_runner.blockers()
returns table (
    pid integer,
    application text,
    role text,
    state text,
    seconds bigint,
    mode text,
    tables text[]
)
language sql
stable
-- The service role may not see what other sessions do. No text of a query, which may hold row data.
security definer
set search_path = pg_catalog, pg_temp
as $$
    select
        a.pid, a.application_name, a.usename::text, a.state,
        floor(extract(epoch from clock_timestamp() - a.xact_start))::bigint,
        max(l.mode),
        array_agg(distinct format('%I.%I', n.nspname, c.relname))
    from pg_locks l
    join pg_stat_activity a on a.pid = l.pid
    join pg_class c on c.oid = l.relation
    join pg_namespace n on n.oid = c.relnamespace
    where l.locktype = 'relation'
        and l.database = (select d.oid from pg_database d where d.datname = current_database())
        and l.granted
        and l.pid <> pg_backend_pid()
        and (
            n.nspname = 'campaign_runner'
            or n.nspname = 'public' and c.relname in (
                'organizations', 'profiles', 'organization_members', 'contacts', 'campaigns', 'campaign_target_rules',
                'campaign_recipients', 'contact_tags', 'contact_tag_assignments', 'activity_events'
            )
        )
        and c.relkind in ('r', 'p')
        and (
            l.mode in ('ShareLock', 'ShareRowExclusiveLock', 'ExclusiveLock', 'AccessExclusiveLock')
            -- Rows may be locked. No step takes so long.
            or l.mode in ('RowShareLock', 'RowExclusiveLock') and a.xact_start < clock_timestamp() - interval '1 minute'
        )
    group by a.pid, a.application_name, a.usename, a.state, a.xact_start
    order by a.xact_start
    limit 5
$$;
comment on function campaign_runner.blockers() is
    'The sessions that hold a lock for which a step has to wait: on a whole table, or, for more than a minute, perhaps on rows.';
revoke execute on function campaign_runner.blockers() from public, anon, authenticated;
grant execute on function campaign_runner.blockers() to service_role;


create or replace function campaign_runner.probe_writing()
returns text
language plpgsql
volatile
set search_path = pg_catalog, pg_temp
set row_security = off
as $$
begin
    insert into campaign_runner.run_errors (run_id, campaign_id, error) values (gen_random_uuid(), gen_random_uuid(), '');
    -- The handler undoes the row.
    raise exception 'the row was written' using errcode = 'CR200';
exception
    when sqlstate 'CR200' then
        return null;
    when others then
        return sqlstate;
end;
$$;
comment on function campaign_runner.probe_writing() is
    'Writes a row into the ledger and undoes that. NULL, or the SQLSTATE with which the database refused.';
revoke execute on function campaign_runner.probe_writing() from public, anon, authenticated;
grant execute on function campaign_runner.probe_writing() to service_role;


create or replace function campaign_runner.examine_contacts(
    p_organization_id uuid,
    p_max_contacts integer,
    out contacts bigint,
    out addresses bigint,
    out mobiles bigint,
    out malformed bigint,
    out unknown bigint
)
language plpgsql
stable
set search_path = pg_catalog, pg_temp
set row_security = off
set enable_seqscan = off
set enable_bitmapscan = off
set enable_sort = off
set enable_incremental_sort = off
as $$
begin
    -- The first contacts by id. Look for the twins of each e-mail address among all contacts, and for those of a mobile,
    -- which has no index, among these. `deleted_at` and `mobile` may be missing, see tagged_contacts().
    with sampled as materialized (
        select c.*
        from (select null::timestamptz as deleted_at, null::text as mobile) absent
        cross join lateral (
            select
                c.id, campaign_runner.fold(c.email::text) as address,
                nullif(campaign_runner.trim(mobile::text), '') as mobile,
                deleted_at is not null as is_deleted,
                c.is_subscribed is null as is_unknown
            from public.contacts c
            where c.organization_id = any (array[p_organization_id])
            order by c.organization_id, c.id
            limit p_max_contacts
        ) c
    )
    select
        count(*),
        count(distinct s.address) filter (where not s.is_deleted and s.address <> '' and (
            select true
            from (select null::timestamptz as deleted_at) absent
            cross join lateral (
                select c.id, deleted_at is not null as is_deleted
                from public.contacts c
                where campaign_runner.address_hash(c.organization_id, c.email::text)
                        = campaign_runner.address_hash(p_organization_id, s.address)
                    and (c.organization_id = p_organization_id) is true
                    and (campaign_runner.fold(c.email::text) = s.address) is true
                limit 100
            ) twin
            where twin.id <> s.id and not twin.is_deleted
            limit 1
        )),
        (
            select count(*)
            from (
                select m.mobile
                from sampled m
                where m.mobile is not null and coalesce(m.address, '') = '' and not m.is_deleted
                group by m.mobile
                having count(*) > 1
            ) shared
        ),
        count(*) filter (where not s.is_deleted and s.address <> '' and s.address !~ '^[^@[:space:],;]+@[^@[:space:],;]+$'),
        count(*) filter (where not s.is_deleted and s.is_unknown)
    into contacts, addresses, mobiles, malformed, unknown
    from sampled s;
end;
$$;
comment on function campaign_runner.examine_contacts(uuid, integer) is
    'Of the first p_max_contacts contacts of an organization: how many e-mail addresses, and mobiles without an address, '
    'several live contacts share; how many addresses are malformed; and how many contacts have no is_subscribed.';
revoke execute on function campaign_runner.examine_contacts(uuid, integer) from public, anon, authenticated;
grant execute on function campaign_runner.examine_contacts(uuid, integer) to service_role;


create or replace function campaign_runner.scheduled_campaigns(
    p_at_most integer
)
returns table (id uuid, organization_id uuid, scheduled_at timestamptz)
language plpgsql
stable
set search_path = pg_catalog, pg_temp
set row_security = off
as $$
begin
    return query
        select c.id, c.organization_id, c.scheduled_at
        from public.campaigns c
        where c.status = 'scheduled'
        order by c.scheduled_at
        limit p_at_most;
end;
$$;
comment on function campaign_runner.scheduled_campaigns(integer) is 'The scheduled campaigns with the earliest schedules.';
revoke execute on function campaign_runner.scheduled_campaigns(integer) from public, anon, authenticated;
grant execute on function campaign_runner.scheduled_campaigns(integer) to service_role;


create or replace function campaign_runner.examine_memberships(
    p_system_user_id uuid,
    p_system_user_roles text[]
)
returns jsonb
language plpgsql
stable
set search_path = pg_catalog, pg_temp
set row_security = off
as $$
declare
    v_scheduled_at_most constant integer := 10000;
    v_tenants_at_most constant integer := 1000;
    v_organizations uuid[];
    v_lacking uuid[];
begin
    v_organizations := array(
        select distinct c.organization_id
        from campaign_runner.scheduled_campaigns(v_scheduled_at_most) c
        where c.organization_id is not null
        limit v_tenants_at_most
    );
    v_lacking := array(
        select o from unnest(v_organizations) o
        except
        select p
        from campaign_runner.permitted_organizations(v_organizations, p_system_user_id, p_system_user_roles) p
        order by 1
    );
    return jsonb_build_object(
        'is_cut', cardinality(v_organizations) >= v_tenants_at_most or exists (
            select from public.campaigns c where c.status = 'scheduled' offset v_scheduled_at_most
        ),
        'lacking', cardinality(v_lacking),
        'named', to_jsonb(v_lacking[1:5])
    );
end;
$$;
comment on function campaign_runner.examine_memberships(uuid, text[]) is
    'The organizations with scheduled campaigns in which the system user has none of these roles.';
revoke execute on function campaign_runner.examine_memberships(uuid, text[]) from public, anon, authenticated;
grant execute on function campaign_runner.examine_memberships(uuid, text[]) to service_role;


create or replace function campaign_runner.examine_campaigns(
    p_check text
)
returns jsonb
language plpgsql
stable
set search_path = pg_catalog, pg_temp
set row_security = off
as $$
declare
    v_at_most constant integer := 10000;
    v_looked_up_at_most constant integer := 1000;
    v_found uuid[];
begin
    v_found := case p_check
        when 'schedules' then array(
            select c.id from public.campaigns c where c.status = 'scheduled' and c.scheduled_at is null limit v_at_most
        )
        when 'tenants' then array(
            select c.id from campaign_runner.scheduled_campaigns(v_at_most) c where c.organization_id is null
        )
        -- That were launched in the last week, to no recipient, or past an exclusion that matched nothing.
        when 'launches' then array(
            select l.campaign_id
            from campaign_runner.launches l
            where l.closed_at > now() - interval '7 days'
                and l.state = 'launched'
                and (l.recipient_count = 0 or l.pending_before = 0 or l.unmatched @? '$.*[*]')
            order by l.closed_at
            limit v_at_most
        )
        when 'closed' then array(
            select c.id
            from campaign_runner.scheduled_campaigns(v_at_most) c
            where c.organization_id is not null
                and c.scheduled_at <= now()
                and c.id not in (
                    select d.campaign_id
                    from campaign_runner.due_campaigns(array(
                        select a.id from campaign_runner.scheduled_campaigns(v_at_most) a
                    )) d
                )
        )
        -- Recipients that no launch of the ledger wrote: a person chose them, or a ledger was lost.
        else array(
            select c.id
            from campaign_runner.scheduled_campaigns(v_looked_up_at_most) c
            where exists (select from public.campaign_recipients r where r.campaign_id = c.id)
                and not exists (
                    select from campaign_runner.launches l where l.campaign_id = c.id and l.generates is not null
                )
        )
    end;
    return jsonb_build_object(
        'is_cut', cardinality(v_found) >= v_at_most, 'lacking', cardinality(v_found), 'named', to_jsonb(v_found[1:5])
    );
end;
$$;
comment on function campaign_runner.examine_campaigns(text) is
    'The scheduled campaigns without a time (schedules), without an organization (tenants), deleted or of a closed '
    'organization (closed), or with recipients that no launch wrote (recipients); and those that were launched in the last '
    'week with something to look at (launches).';
revoke execute on function campaign_runner.examine_campaigns(text) from public, anon, authenticated;
grant execute on function campaign_runner.examine_campaigns(text) to service_role;


create or replace function campaign_runner.examine_audiences()
returns jsonb
language plpgsql
stable
set search_path = pg_catalog, pg_temp
set row_security = off
as $$
declare
    v_organizations_at_most constant integer := 20;
    v_contacts_at_most constant integer := 2000; -- of each, which may all have to come from the disk,
    v_deadline constant timestamptz := clock_timestamp() + interval '2 seconds'; -- and no longer than this
    v_organization_id uuid;
    v_sample record;
    v_contacts bigint := 0;
    v_is_sample boolean;
    v_found jsonb := '[]';
begin
    -- Without its index, a look for a twin would sort all contacts.
    if exists (
        select from campaign_runner.missing_indexes() m where m.index_name = 'campaign_runner_addresses_idx'
    ) then
        return null;
    end if;
    v_is_sample := exists (select from public.organizations o offset v_organizations_at_most);
    -- First the organizations that are about to send, then any.
    for v_organization_id in
        select o.id
        from (
            select 1 as part, c.organization_id as id
            from campaign_runner.scheduled_campaigns(10000) c
            where c.organization_id is not null
            union all
            (select 2, r.id from public.organizations r limit v_organizations_at_most)
        ) o
        group by o.id
        order by min(o.part)
        limit v_organizations_at_most
    loop
        if clock_timestamp() >= v_deadline then
            v_is_sample := true;
            exit;
        end if;
        select * into v_sample from campaign_runner.examine_contacts(v_organization_id, v_contacts_at_most);
        v_contacts := v_contacts + v_sample.contacts;
        v_is_sample := v_is_sample or v_sample.contacts >= v_contacts_at_most;
        if v_sample.addresses + v_sample.mobiles + v_sample.malformed + v_sample.unknown > 0 then
            v_found := v_found
                || (to_jsonb(v_sample) - 'contacts' || jsonb_build_object('organization_id', v_organization_id));
        end if;
    end loop;
    return jsonb_build_object('contacts', v_contacts, 'is_sample', v_is_sample, 'organizations', v_found);
end;
$$;
comment on function campaign_runner.examine_audiences() is
    'What looks wrong in the contacts of some organizations, those with scheduled campaigns first. NULL: the index that this '
    'needs is missing.';
revoke execute on function campaign_runner.examine_audiences() from public, anon, authenticated;
grant execute on function campaign_runner.examine_audiences() to service_role;


create or replace function campaign_runner.examine(
    p_check text,
    p_system_user_id uuid,
    p_system_user_roles text[]
)
returns jsonb
language plpgsql
volatile
set search_path = pg_catalog, pg_temp
set row_security = off
as $$
begin
    -- Only the branch that is taken is planned: what is not there fails by itself, and not with all the others.
    case p_check
        when 'version' then
            return to_jsonb(campaign_runner.schema_version());

        when 'functions' then
            return to_jsonb(array(
                select i.key
                -- Once: asked for each function, the catalog took 1.6 s.
                from (select campaign_runner.present_functions() as present offset 0) p
                cross join jsonb_each_text(campaign_runner.installed_functions()) i
                where p.present ->> i.key is distinct from i.value
                order by i.key
            ));

        when 'requirements' then
            return (select coalesce(jsonb_agg(to_jsonb(c)), '[]') from campaign_runner.check_project() c);

        when 'grants' then
            return (select coalesce(jsonb_agg(to_jsonb(m)), '[]') from campaign_runner.missing_grants() m);

        when 'writing' then
            return to_jsonb(campaign_runner.probe_writing());

        when 'locks' then
            return (select coalesce(jsonb_agg(to_jsonb(b)), '[]') from campaign_runner.blockers() b);

        when 'indexes' then
            return (
                select coalesce(
                    jsonb_agg(jsonb_build_object('name', m.index_name, 'is_invalid', m.is_invalid, 'command', m.command)),
                    '[]'
                )
                from campaign_runner.missing_indexes() m
            );

        when 'system_user' then
            return to_jsonb(exists (select from public.profiles p where p.id = p_system_user_id));

        when 'memberships' then
            return campaign_runner.examine_memberships(p_system_user_id, p_system_user_roles);

        when 'schedules', 'tenants', 'closed', 'recipients', 'launches' then
            return campaign_runner.examine_campaigns(p_check);

        when 'audiences' then
            return campaign_runner.examine_audiences();

        when 'tick' then
            return (
                select jsonb_build_object(
                    'seconds_ago', case when isfinite(t.at) then extract(epoch from clock_timestamp() - t.at) end,
                    'is_any_due', exists (
                        select from public.campaigns c where c.status = 'scheduled' and c.scheduled_at <= now()
                    ),
                    'system_user_id', t.system_user_id,
                    'system_user_roles', t.system_user_roles,
                    'max_lateness_minutes', t.max_lateness_minutes
                )
                from campaign_runner.last_call t
            );
    end case;
end;
$$;
comment on function campaign_runner.examine(text, uuid, text[]) is
    'One thing that may be out of order, looked at in bounded time: version, functions, requirements, grants, writing, locks, indexes, '
    'system_user, memberships, schedules, tenants, closed, recipients, launches, audiences or tick.';
revoke execute on function campaign_runner.examine(text, uuid, text[]) from public, anon, authenticated;
grant execute on function campaign_runner.examine(text, uuid, text[]) to service_role;


create or replace function public.campaign_runner_doctor(
    p_system_user_id uuid,
    p_system_user_roles text[]
)
returns jsonb
language plpgsql
volatile
set search_path = pg_catalog, pg_temp
set row_security = off
set jit = off
-- A lock on a table is told, and not waited for.
set lock_timeout = '500ms'
as $$
declare
    v_now constant timestamptz := clock_timestamp();
    v_check text;
    v_message text;
    v_facts jsonb := '{}';
    v_errors jsonb := '{}';
begin
    perform campaign_runner.hold_version();
    foreach v_check in array array[
        'version', 'functions', 'requirements', 'grants', 'writing', 'locks', 'indexes', 'system_user', 'memberships', 'schedules',
        'tenants', 'closed', 'recipients', 'launches', 'audiences', 'tick'
    ] loop
        begin
            v_facts := v_facts || jsonb_build_object(
                v_check, campaign_runner.examine(v_check, p_system_user_id, p_system_user_roles)
            );
        exception
            when query_canceled then
                get stacked diagnostics v_message = message_text;
                if v_message not like '%statement timeout%' then
                    raise;
                end if;
                v_errors := v_errors || jsonb_build_object(v_check, sqlstate);
                exit; -- the time of this call is over; what was found is told
            when others then
                -- Its words stay here, they may quote a row.
                v_errors := v_errors || jsonb_build_object(v_check, sqlstate);
        end;
    end loop;
    return jsonb_build_object('clock', extract(epoch from v_now), 'facts', v_facts, 'errors', v_errors);
end;
$$;
comment on function public.campaign_runner_doctor(uuid, text[]) is
    'Everything that campaign_runner.examine() looks at: the facts, the SQLSTATE of each look that failed, and the time by '
    'the clock of the database, in seconds since 1970.';
revoke execute on function public.campaign_runner_doctor(uuid, text[]) from public, anon, authenticated;
grant execute on function public.campaign_runner_doctor(uuid, text[]) to service_role;

notify pgrst, 'reload schema';
