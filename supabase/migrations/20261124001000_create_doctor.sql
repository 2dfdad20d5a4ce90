-- Purpose: what the command `doctor` asks the database: is everything there that the runner needs, and in order.
-- Tables:  reads the catalogs, profiles, organization_members, organizations, campaigns, contacts, campaign_runner.last_call
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


create or replace function campaign_runner.shared_addresses(
    p_organization_id uuid,
    p_max_contacts integer,
    out contacts bigint,
    out addresses bigint
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
    -- The first contacts by id, and for each of them a look for a twin.
    select count(*), count(distinct sampled.address) filter (where not sampled.is_deleted and sampled.address <> '' and (
        select true
        from (select null::timestamptz as deleted_at) absent
        cross join lateral (
            select c.id, deleted_at is not null as is_deleted
            from public.contacts c
            where campaign_runner.address_hash(c.organization_id, c.email::text)
                    = campaign_runner.address_hash(p_organization_id, sampled.address)
                and (c.organization_id = p_organization_id) is true
                and (campaign_runner.fold(c.email::text) = sampled.address) is true
        ) twin
        where twin.id <> sampled.id and not twin.is_deleted
        limit 1
    ))
    into contacts, addresses
    -- `deleted_at` may be missing in a table that is not ours, see tagged_contacts().
    from (select null::timestamptz as deleted_at) absent
    cross join lateral (
        select c.id, campaign_runner.fold(c.email::text) as address, deleted_at is not null as is_deleted
        from public.contacts c
        where c.organization_id = any (array[p_organization_id])
        order by c.organization_id, c.id
        limit p_max_contacts
    ) sampled;
end;
$$;
comment on function campaign_runner.shared_addresses(uuid, integer) is
    'How many addresses of the first p_max_contacts contacts of the organization several of its live contacts have.';
revoke execute on function campaign_runner.shared_addresses(uuid, integer) from public, anon, authenticated;
grant execute on function campaign_runner.shared_addresses(uuid, integer) to service_role;


create or replace function campaign_runner.examine(
    p_check text,
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
    v_scheduled_at_most constant integer := 10000; -- campaigns that are looked at, the earliest schedules first
    v_tenants_at_most constant integer := 1000; -- that these may belong to
    v_organizations_at_most constant integer := 20; -- whose contacts are looked at,
    v_contacts_at_most constant integer := 2000; -- so many of each, which may all have to come from the disk,
    v_deadline constant timestamptz := clock_timestamp() + interval '2 seconds'; -- and no longer than this
    v_named_at_most constant integer := 5;
    v_organizations uuid[];
    v_organization_id uuid;
    v_sample record;
    v_contacts bigint := 0;
    v_is_cut boolean;
    v_is_sample boolean;
    v_shared jsonb := '[]';
begin
    if p_check in ('memberships', 'duplicates') then
        v_organizations := array(
            select distinct earliest.organization_id
            from (
                select c.organization_id
                from public.campaigns c
                where c.status = 'scheduled'
                order by c.scheduled_at
                limit v_scheduled_at_most
            ) earliest
            limit v_tenants_at_most
        );
        v_is_cut := cardinality(v_organizations) >= v_tenants_at_most or exists (
            select from public.campaigns c where c.status = 'scheduled' offset v_scheduled_at_most
        );
    end if;

    -- Only the branch that is taken is planned: what is not there fails by itself, and not with all the others.
    case p_check
        when 'version' then
            return to_jsonb(campaign_runner.schema_version());

        when 'requirements' then
            return to_jsonb(array(select m from campaign_runner.missing_requirements() m));

        when 'privilege' then
            return to_jsonb(campaign_runner.missing_privilege());

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
            v_shared := to_jsonb(array(
                select o from unnest(v_organizations) o
                except
                select p
                from campaign_runner.permitted_organizations(
                    v_organizations, p_system_user_id, p_system_user_roles
                ) p
                order by 1
            ));
            return jsonb_build_object(
                'is_cut', v_is_cut,
                'lacking', jsonb_array_length(v_shared),
                'named', jsonb_path_query_array(v_shared, '$[0 to 4]')
            );

        when 'schedules' then
            return (
                select jsonb_build_object(
                    'lacking', count(*),
                    'is_cut', count(*) >= v_scheduled_at_most,
                    'named', to_jsonb(coalesce((array_agg(unscheduled.id))[1:v_named_at_most], '{}'))
                )
                from (
                    select c.id
                    from public.campaigns c
                    where c.status = 'scheduled' and c.scheduled_at is null
                    limit v_scheduled_at_most
                ) unscheduled
            );

        when 'duplicates' then
            -- Without its index, to look is to sort all contacts.
            if exists (
                select from campaign_runner.missing_indexes() m where m.index_name = 'campaign_runner_addresses_idx'
            ) then
                return null;
            end if;
            -- First those that are about to send, then any.
            v_organizations := v_organizations[1:v_organizations_at_most]
                || array(select o.id from public.organizations o limit v_organizations_at_most);
            v_organizations := array(
                select o.id
                from unnest(v_organizations) with ordinality as o (id, position)
                group by o.id
                order by min(o.position)
            );
            v_is_sample := exists (select from public.organizations o offset v_organizations_at_most);
            foreach v_organization_id in array v_organizations[1:v_organizations_at_most] loop
                if clock_timestamp() >= v_deadline then
                    v_is_sample := true;
                    exit;
                end if;
                select * into v_sample from campaign_runner.shared_addresses(v_organization_id, v_contacts_at_most);
                v_contacts := v_contacts + v_sample.contacts;
                v_is_sample := v_is_sample or v_sample.contacts >= v_contacts_at_most;
                if v_sample.addresses > 0 then
                    v_shared := v_shared || jsonb_build_object(
                        'organization_id', v_organization_id, 'addresses', v_sample.addresses
                    );
                end if;
            end loop;
            return jsonb_build_object('contacts', v_contacts, 'is_sample', v_is_sample, 'organizations', v_shared);

        when 'tick' then
            return (
                select jsonb_build_object(
                    'seconds_ago', case when isfinite(t.at) then extract(epoch from clock_timestamp() - t.at) end,
                    'is_any_due', exists (
                        select from public.campaigns c where c.status = 'scheduled' and c.scheduled_at <= now()
                    )
                )
                from campaign_runner.last_call t
            );
    end case;
end;
$$;
comment on function campaign_runner.examine(text, uuid, text[]) is
    'One thing that may be out of order, looked at in bounded time: version, requirements, privilege, indexes, system_user, '
    'memberships, schedules, duplicates or tick.';
revoke execute on function campaign_runner.examine(text, uuid, text[]) from public, anon, authenticated;
grant execute on function campaign_runner.examine(text, uuid, text[]) to service_role;


create or replace function public.campaign_runner_doctor(
    p_system_user_id uuid,
    p_system_user_roles text[]
)
returns jsonb
language plpgsql
stable
set search_path = pg_catalog, pg_temp
set row_security = off
set jit = off
as $$
declare
    v_now constant timestamptz := clock_timestamp();
    v_check text;
    v_message text;
    v_facts jsonb := '{}';
    v_errors jsonb := '{}';
begin
    foreach v_check in array array[
        'version', 'requirements', 'privilege', 'indexes', 'system_user', 'memberships', 'schedules', 'duplicates', 'tick'
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
