-- Purpose: what would happen, with nothing written: the dry run of a run, and the preview of one campaign.
-- Tables:  reads what a launch reads
-- Rerun:   safe.
-- Undo:    supabase/uninstall.sql drops the functions and the schema campaign_runner.

create or replace function campaign_runner.preview_page(
    p_campaign_id uuid,
    p_organization_id uuid,
    p_from uuid,
    p_max_rows bigint,
    p_generates boolean,
    p_max_sample integer,
    p_rules campaign_runner.rules,
    out next_from uuid,
    out contacts bigint,
    out inserts bigint,
    out recipients bigint,
    out outsiders bigint,
    out excluded jsonb,
    out sample uuid[]
)
language plpgsql
stable
set search_path = pg_catalog, pg_temp
set row_security = off
set enable_seqscan = off
as $$
#variable_conflict use_column
declare
    v_last constant uuid := 'ffffffff-ffff-ffff-ffff-ffffffffffff';
    -- Where recipients were there before, nothing is inserted and nothing deleted.
    v_change constant text := case when p_generates then 'insert' else 'delete' end;
begin
    next_from := campaign_runner.nth_contact(p_organization_id, p_from, v_last, greatest(p_max_rows, 1));

    with judged as materialized (
        select
            c.contact_id, c.change, c.reason is not distinct from 'orphaned' as is_outsider,
            coalesce(c.reason, 'recipients_exist') as reason,
            coalesce(c.change in ('keep', v_change), false) as is_recipient
        from campaign_runner.diff_recipients(p_campaign_id, p_rules, p_from, coalesce(next_from, v_last)) c
    ),
    reasons as (
        select j.reason, count(*) as n
        from judged j
        where not j.is_recipient and not j.is_outsider
        group by j.reason
    )
    select
        count(*) filter (where not j.is_outsider),
        count(*) filter (where j.is_recipient and j.change = 'insert'),
        count(*) filter (where j.is_recipient),
        count(*) filter (where j.is_recipient and j.is_outsider),
        (select coalesce(jsonb_object_agg(r.reason, r.n), '{}') from reasons r),
        array(
            select first.contact_id
            from judged first
            where first.is_recipient and not first.is_outsider
            order by first.contact_id
            limit p_max_sample
        )
    into contacts, inserts, recipients, outsiders, excluded, sample
    from judged j;
end;
$$;
comment on function campaign_runner.preview_page(uuid, uuid, uuid, bigint, boolean, integer, campaign_runner.rules) is
    'What a launch would make of up to p_max_rows contacts, by what it asks itself: how many it would insert, how many '
    'recipients there would be (outsiders: those of them that are no contacts of the organization), the others by reason, '
    'and the first recipients. next_from is where the next page begins, NULL after the last.';
revoke execute on function campaign_runner.preview_page(uuid, uuid, uuid, bigint, boolean, integer, campaign_runner.rules)
    from public, anon, authenticated;
grant execute on function campaign_runner.preview_page(uuid, uuid, uuid, bigint, boolean, integer, campaign_runner.rules) to service_role;


create or replace function campaign_runner.due_page(
    p_organization_id uuid,
    p_system_user_id uuid,
    p_system_user_roles text[],
    p_from_time timestamptz,
    p_from_id uuid,
    p_max_campaigns integer,
    p_now timestamptz
)
returns table (campaign_id uuid, scheduled_at timestamptz, organization_id uuid, name text, launch campaign_runner.launches, is_ready boolean)
language plpgsql
stable
set search_path = pg_catalog, pg_temp
set row_security = off
set enable_seqscan = off
as $$
#variable_conflict use_column
begin
    -- Not as a comparison of pairs, see find_work().
    return query
        with page as materialized (
            (
                select c.id, c.scheduled_at
                from public.campaigns c
                where c.status = 'scheduled'
                    and c.scheduled_at <= p_now
                    and c.scheduled_at = any (array[p_from_time])
                    and c.id >= p_from_id
                    and (p_organization_id is null or c.organization_id = p_organization_id)
                order by c.scheduled_at, c.id
                limit p_max_campaigns
            )
            union all
            (
                select c.id, c.scheduled_at
                from public.campaigns c
                where c.status = 'scheduled'
                    and c.scheduled_at <= p_now
                    and c.scheduled_at > p_from_time
                    and (p_organization_id is null or c.organization_id = p_organization_id)
                order by c.scheduled_at, c.id
                limit p_max_campaigns
            )
            order by scheduled_at, id
            limit p_max_campaigns
        )
        select
            p.id, p.scheduled_at, d.organization_id, d.name, l,
            d.campaign_id is not null
                and campaign_runner.is_launch_ready(l, p_system_user_id, p_system_user_roles, p_now)
        from page p
        left join campaign_runner.due_campaigns(array(select q.id from page q), p_now) d on d.campaign_id = p.id
        left join campaign_runner.launches l on l.campaign_id = p.id and l.closed_at is null
        order by p.scheduled_at, p.id;
end;
$$;
comment on function campaign_runner.due_page(uuid, uuid, text[], timestamptz, uuid, integer, timestamptz) is
    'The next campaigns whose time has come, in the order of their schedules, from this one on, each with its open '
    'launch, and whether it is due and ready.';
revoke execute on function campaign_runner.due_page(uuid, uuid, text[], timestamptz, uuid, integer, timestamptz)
    from public, anon, authenticated;
grant execute on function campaign_runner.due_page(uuid, uuid, text[], timestamptz, uuid, integer, timestamptz)
    to service_role;


create or replace function public.campaign_runner_preview(
    p_organization_id uuid,
    p_system_user_id uuid,
    p_system_user_roles text[],
    p_max_rows integer,
    p_max_lateness_minutes integer default null,
    p_cursor text default null,
    p_interface integer default 1
)
returns jsonb
language plpgsql
stable
set search_path = pg_catalog, pg_temp
set row_security = off
set enable_seqscan = off
set jit = off
as $$
declare
    v_now constant timestamptz := now();
    v_deadline constant timestamptz := clock_timestamp() + interval '2 seconds';
    v_rows_left bigint := greatest(p_max_rows, 1);
    v_due record;
    v_obstacle record;
    v_page record;
    -- Where the call before stopped, and what it had counted of that campaign. A text to the outside, as not every server
    -- in between hands an object on as one.
    v_cursor constant jsonb := p_cursor::jsonb;
    v_campaigns_at_once constant integer := 1000;
    v_scheduled_at timestamptz := coalesce((v_cursor ->> 'scheduled_at')::timestamptz, '-infinity');
    v_campaign_id uuid := coalesce((v_cursor ->> 'campaign_id')::uuid, '00000000-0000-0000-0000-000000000000');
    v_is_resumed boolean := v_cursor is not null;
    v_looked_at integer;
    v_rules campaign_runner.rules;
    v_from uuid := v_cursor ->> 'from';
    v_inserts bigint := coalesce((v_cursor ->> 'inserts')::bigint, 0);
    v_recipients bigint := coalesce((v_cursor ->> 'recipients')::bigint, 0);
    v_campaigns jsonb := '[]';
    v_errors jsonb := '[]';
    v_is_stopped boolean := false;
begin
    perform campaign_runner.hold_version(p_interface);
    perform campaign_runner.check_configuration(p_organization_id, p_system_user_id);

    <<due_campaigns>>
    loop
        v_looked_at := 0;
        for v_due in
            select d.*
            from campaign_runner.due_page(
                p_organization_id, p_system_user_id, p_system_user_roles,
                v_scheduled_at, v_campaign_id, v_campaigns_at_once, v_now
            ) d
        loop
            v_looked_at := v_looked_at + 1;
            -- The first campaign of a page is the last one of the page before, unless a call resumes at it.
            continue when v_due.campaign_id = v_campaign_id and not v_is_resumed;
            if not v_is_resumed or v_due.campaign_id <> v_campaign_id then
                v_from := '00000000-0000-0000-0000-000000000000';
                -- The recipients that the launch has inserted up to now count as generated.
                select coalesce(sum(s.inserted), 0), 0 into v_inserts, v_recipients
                from campaign_runner.launch_chunks s
                where s.launch_id = (v_due.launch).id;
            end if;
            v_is_resumed := false;
            v_campaign_id := v_due.campaign_id;
            v_scheduled_at := v_due.scheduled_at;
            v_is_stopped := v_rows_left <= 0 or clock_timestamp() >= v_deadline;
            exit due_campaigns when v_is_stopped;
            v_rows_left := v_rows_left - 1;
            continue when not v_due.is_ready;

            select * into v_obstacle
            from campaign_runner.obstacle(
                v_due.organization_id, v_due.scheduled_at, v_due.launch,
                p_system_user_id, p_system_user_roles, p_max_lateness_minutes, v_now
            );
            if found then
                v_errors := v_errors
                    || jsonb_build_object('campaign_id', v_due.campaign_id, 'error', v_obstacle.message);
                continue;
            end if;

            if coalesce((v_due.launch).generates, campaign_runner.would_generate(v_due.campaign_id)) then
                v_rules := campaign_runner.read_rules(v_due.campaign_id);
                loop
                    select * into v_page
                    from campaign_runner.preview_page(
                        v_due.campaign_id, v_due.organization_id, v_from, v_rows_left, true, 0, v_rules
                    );
                    v_inserts := v_inserts + v_page.inserts;
                    v_recipients := v_recipients + v_page.recipients;
                    v_rows_left := v_rows_left - v_page.contacts;
                    v_from := v_page.next_from;
                    exit when v_from is null;
                    v_is_stopped := v_rows_left <= 0 or clock_timestamp() >= v_deadline;
                    exit due_campaigns when v_is_stopped;
                end loop;
            else
                v_inserts := 0;
                select count(*) into v_recipients
                from public.campaign_recipients r
                where r.campaign_id = v_due.campaign_id;
            end if;

            v_campaigns := v_campaigns || jsonb_build_object(
                'campaign_id', v_due.campaign_id,
                'organization_id', v_due.organization_id,
                'name', v_due.name,
                'previous_status', 'scheduled',
                'new_status', 'sending',
                'recipients_generated', v_inserts > 0,
                'recipient_count', v_recipients
            );
        end loop;
        exit when v_looked_at < v_campaigns_at_once;
    end loop;

    return jsonb_build_object(
        'campaigns', v_campaigns,
        'errors', v_errors,
        'cursor', case when v_is_stopped then jsonb_build_object(
            'scheduled_at', v_scheduled_at, 'campaign_id', v_campaign_id,
            'from', v_from, 'inserts', v_inserts, 'recipients', v_recipients
        )::text end
    );
end;
$$;
comment on function public.campaign_runner_preview(uuid, uuid, text[], integer, integer, text, integer) is
    'What a run would launch now, a bounded part of it in each call: pass the cursor that came back until it is null.';
revoke execute on function public.campaign_runner_preview(uuid, uuid, text[], integer, integer, text, integer)
    from public, anon, authenticated;
grant execute on function public.campaign_runner_preview(uuid, uuid, text[], integer, integer, text, integer) to service_role;


create or replace function campaign_runner.unmatched_names(
    p_campaign_id uuid
)
returns jsonb
language plpgsql
stable
set search_path = pg_catalog, pg_temp
set row_security = off
set enable_nestloop = off
set enable_seqscan = off
set enable_bitmapscan = off
set enable_sort = off
set enable_incremental_sort = off
as $$
declare
    v_emails_at_most constant integer := 10000; -- to be looked up in one statement
    v_organization_id uuid;
    v_row jsonb;
    v_include_emails text[];
    v_include_tags text[];
    v_exclude_tags text[];
    v_emails text[];
    v_tag_names text[];
begin
    select c.organization_id into v_organization_id from public.campaigns c where c.id = p_campaign_id;
    v_row := campaign_runner.rules_row(p_campaign_id, v_organization_id);
    v_include_emails := campaign_runner.text_array(v_row -> 'include_emails');
    v_include_tags := campaign_runner.text_array(v_row -> 'include_tags');
    v_exclude_tags := campaign_runner.text_array(v_row -> 'exclude_tags');

    v_emails := array(
        select contact.email
        -- `deleted_at` may be missing in a table that is not ours, see tagged_contacts().
        from (select null::timestamptz as deleted_at) absent
        cross join lateral (
            select campaign_runner.fold(c.email::text) as email, deleted_at is not null as is_deleted
            from public.contacts c
            where campaign_runner.address_hash(c.organization_id, c.email::text) = any (array(
                    select campaign_runner.address_hash(v_organization_id, e.name)
                    from unnest(v_include_emails) with ordinality as e (name, position)
                    where e.position <= v_emails_at_most
                ))
                and (c.organization_id = v_organization_id) is true
            offset 0 -- else an index of the project for live contacts was read from end to end
        ) contact
        where not contact.is_deleted and contact.email <> ''
    );

    -- The tables may not exist: these statements are planned only where they do.
    if to_regclass('public.contact_tags') is not null and to_regclass('public.contact_tag_assignments') is not null then
        v_tag_names := array(
            select campaign_runner.fold(t.name::text)
            from public.contact_tags t
            where t.organization_id = v_organization_id
                -- As a value, one look into the index for each tag: as a semijoin, with loops switched off, it would read
                -- the assignments of all organizations.
                and (
                    select true
                    from public.contact_tag_assignments a
                    where a.tag_id = any (array[t.id])
                    order by a.tag_id, a.contact_id
                    limit 1
                )
        );
    end if;

    return jsonb_build_object(
        'include_emails', (
            select coalesce(jsonb_agg(e.name order by e.position), '[]')
            from unnest(v_include_emails) with ordinality as e (name, position)
            left join unnest(v_emails) as found (email) on found.email = campaign_runner.fold(e.name)
            where e.position <= v_emails_at_most and e.name is not null and found.email is null
        ),
        'include_tags', to_jsonb(array(
            select t.name
            from unnest(v_include_tags) with ordinality as t (name, position)
            where t.name is not null and campaign_runner.fold(t.name) <> all (coalesce(v_tag_names, '{}'))
            order by t.position
        )),
        'exclude_tags', to_jsonb(array(
            select t.name
            from unnest(v_exclude_tags) with ordinality as t (name, position)
            where t.name is not null and campaign_runner.fold(t.name) <> all (coalesce(v_tag_names, '{}'))
            order by t.position
        )),
        'emails_not_looked_up', greatest(cardinality(v_include_emails) - v_emails_at_most, 0)
    );
end;
$$;
comment on function campaign_runner.unmatched_names(uuid) is
    'The e-mail addresses in the campaign''s rules that no contact of the organization has (a deleted one does not count), '
    'and the tags that nobody has. Addresses beyond the first 10,000 are not looked up, but counted.';
revoke execute on function campaign_runner.unmatched_names(uuid) from public, anon, authenticated;
grant execute on function campaign_runner.unmatched_names(uuid) to service_role;


create or replace function campaign_runner.unmatched_countries(
    p_organization_id uuid,
    p_countries text[],
    p_from uuid,
    p_to uuid
)
returns text[]
language plpgsql
stable
set search_path = pg_catalog, pg_temp
set row_security = off
set enable_nestloop = off
set enable_seqscan = off
set enable_bitmapscan = off
set enable_sort = off
set enable_incremental_sort = off
as $$
begin
    if cardinality(p_countries) = 0 then
        return '{}'::text[];
    end if;
    return array(
        select named.country
        from unnest(p_countries) with ordinality as named (country, position)
        left join (
            select distinct k.country
            from (
                select campaign_runner.fold(c.country::text) as country
                from public.contacts c
                where c.organization_id = any (array[p_organization_id]) and c.id >= p_from and c.id <= p_to
                order by c.organization_id, c.id
            ) k
        ) present on present.country = campaign_runner.fold(named.country)
        where present.country is null
        order by named.position
    );
end;
$$;
comment on function campaign_runner.unmatched_countries(uuid, text[], uuid, uuid) is
    'Those of the countries in which no contact of the range is.';
revoke execute on function campaign_runner.unmatched_countries(uuid, text[], uuid, uuid) from public, anon, authenticated;
grant execute on function campaign_runner.unmatched_countries(uuid, text[], uuid, uuid) to service_role;


create or replace function campaign_runner.addresses(
    p_contact_ids uuid[]
)
returns jsonb
language plpgsql
stable
set search_path = pg_catalog, pg_temp
set row_security = off
set enable_seqscan = off
as $$
begin
    return (
        select coalesce(
            jsonb_agg(contact.address order by contact.id) filter (where contact.address is not null),
            '[]'
        )
        -- `mobile` may be missing in a table that is not ours, see tagged_contacts().
        from (select null::text as mobile) absent
        cross join lateral (
            -- A recipient whom somebody chose may have no address.
            select
                c.id,
                coalesce(
                    nullif(campaign_runner.trim(c.email::text), ''), nullif(campaign_runner.trim(mobile::text), '')
                ) as address
            from public.contacts c
            where c.id = any (p_contact_ids)
        ) contact
    );
end;
$$;
comment on function campaign_runner.addresses(uuid[]) is
    'The e-mail addresses of contacts, or else their mobile numbers, in the order of the ids.';
revoke execute on function campaign_runner.addresses(uuid[]) from public, anon, authenticated;
grant execute on function campaign_runner.addresses(uuid[]) to service_role;


create or replace function public.campaign_runner_preview_campaign(
    p_campaign_id uuid,
    p_system_user_id uuid,
    p_system_user_roles text[],
    p_max_rows integer,
    p_max_lateness_minutes integer default null,
    p_cursor text default null
)
returns jsonb
language plpgsql
stable
set search_path = pg_catalog, pg_temp
set row_security = off
set jit = off
as $$
declare
    v_first constant uuid := '00000000-0000-0000-0000-000000000000';
    v_last constant uuid := 'ffffffff-ffff-ffff-ffff-ffffffffffff';
    v_max_sample constant integer := 10;
    v_max_examined constant integer := 2000;
    v_campaign record;
    v_launch campaign_runner.launches;
    v_cursor jsonb := p_cursor::jsonb;
    v_rules campaign_runner.rules;
    v_from uuid;
    v_generates boolean;
    v_page record;
    v_contacts bigint;
    v_recipients bigint;
    v_outsiders bigint;
    v_excluded jsonb;
    v_sample uuid[];
    v_countries text[];
    v_pages integer;
begin
    perform campaign_runner.hold_version();
    select c.organization_id, c.name::text as name, c.status::text as status, c.scheduled_at into v_campaign
    from public.campaigns c
    where c.id = p_campaign_id;
    if not found then
        raise exception 'there is no such campaign' using errcode = 'CR410';
    end if;
    select * into v_launch
    from campaign_runner.launches l
    where l.campaign_id = p_campaign_id and l.closed_at is null;

    -- Pages that were evaluated by other rules do not add up with these: from the start.
    v_rules := campaign_runner.read_rules(p_campaign_id);
    if v_cursor ->> 'rules_hash' is distinct from v_rules.hash then
        v_cursor := null;
    end if;
    v_from := coalesce((v_cursor ->> 'from')::uuid, v_first);
    -- Decided by the first page, as a launch decides it once: should one begin meanwhile, its first recipients must not
    -- look like some that were there before it.
    v_generates := coalesce(
        (v_cursor ->> 'generates')::boolean, v_launch.generates, campaign_runner.would_generate(p_campaign_id)
    );
    v_sample := array(select s::uuid from jsonb_array_elements_text(v_cursor -> 'sample') s);
    v_countries := case
        when v_cursor is not null then array(select c from jsonb_array_elements_text(v_cursor -> 'countries') c)
        else array(
            select e
            from unnest(campaign_runner.text_array(
                campaign_runner.rules_row(p_campaign_id, v_campaign.organization_id) -> 'exclude_countries'
            )) e
            where campaign_runner.fold(e) <> ''
        )
    end;

    select * into v_page
    from campaign_runner.preview_page(
        p_campaign_id, v_campaign.organization_id, v_from, p_max_rows, v_generates,
        v_max_sample - cardinality(v_sample), v_rules
    );
    v_contacts := coalesce((v_cursor ->> 'contacts')::bigint, 0) + v_page.contacts;
    v_recipients := coalesce((v_cursor ->> 'recipients')::bigint, 0) + v_page.recipients;
    v_outsiders := coalesce((v_cursor ->> 'outsiders')::bigint, 0) + v_page.outsiders;
    v_excluded := campaign_runner.add_counts(coalesce(v_cursor -> 'excluded', '{}'), v_page.excluded);
    v_sample := v_sample || v_page.sample;
    v_pages := coalesce((v_cursor ->> 'pages')::integer, 0) + 1;
    v_countries := campaign_runner.unmatched_countries(
        v_campaign.organization_id, v_countries, v_from, coalesce(v_page.next_from, v_last)
    );

    if v_page.next_from is not null then
        return jsonb_build_object(
            'contacts', v_contacts,
            'preview', null,
            'cursor', jsonb_build_object(
                'rules_hash', v_rules.hash, 'from', v_page.next_from, 'generates', v_generates,
                'contacts', v_contacts, 'recipients', v_recipients, 'outsiders', v_outsiders, 'excluded', v_excluded,
                'sample', to_jsonb(v_sample), 'countries', to_jsonb(v_countries), 'pages', v_pages
            )::text
        );
    end if;

    return jsonb_build_object(
        'contacts', v_contacts,
        'cursor', null,
        'preview', jsonb_build_object(
            'campaign_id', p_campaign_id,
            'name', coalesce(v_campaign.name, ''),
            'status', v_campaign.status,
            'scheduled_at', case when isfinite(v_campaign.scheduled_at) then v_campaign.scheduled_at end,
            'has_schedule', v_campaign.scheduled_at is not null,
            'recipient_count', v_recipients,
            'contacts', v_contacts,
            'excluded', v_excluded,
            'sample', campaign_runner.addresses(v_sample),
            'unmatched',
                campaign_runner.unmatched_names(p_campaign_id) || jsonb_build_object('exclude_countries', v_countries),
            -- Without its index, each look for a twin would read all contacts.
            'looks_wrong', case
                when not exists (
                    select from campaign_runner.missing_indexes() m where m.index_name = 'campaign_runner_addresses_idx'
                )
                    then to_jsonb(campaign_runner.examine_contacts(v_campaign.organization_id, v_max_examined))
            end,
            'outsiders', v_outsiders,
            'generates', v_generates,
            'pages', v_pages,
            'system_user_exists', exists (select from public.profiles p where p.id = p_system_user_id),
            'obstacles', to_jsonb(array(
                select 'The campaign or its organization is deleted, archived or closed: the campaign is never due.'
                where v_campaign.status = 'scheduled'
                    and v_campaign.scheduled_at <= now()
                    and not exists (select from campaign_runner.due_campaigns(array[p_campaign_id]))
                union all
                select o.message
                from campaign_runner.obstacle(
                    v_campaign.organization_id, v_campaign.scheduled_at, v_launch,
                    p_system_user_id, p_system_user_roles,
                    case when v_campaign.status = 'scheduled' then p_max_lateness_minutes end, now()
                ) o
            )),
            'launch', case when v_launch.id is not null then jsonb_build_object(
                'state', v_launch.state,
                'inserted', (
                    select coalesce(sum(s.inserted), 0)
                    from campaign_runner.launch_chunks s
                    where s.launch_id = v_launch.id
                ),
                'waits_because', case
                    when not campaign_runner.is_launch_ready(v_launch, p_system_user_id, p_system_user_roles, now())
                        then v_launch.last_error
                end
            ) end
        )
    );
end;
$$;
comment on function public.campaign_runner_preview_campaign(uuid, uuid, text[], integer, integer, text) is
    'Whom the campaign, of whatever status, would have as recipients if it were launched now, up to p_max_rows contacts in '
    'each call: pass the cursor that came back until it is null, then `preview` is there. Each call sees the contacts of '
    'its own moment; where the rules or the schedule were changed in between it begins anew.';
revoke execute on function public.campaign_runner_preview_campaign(uuid, uuid, text[], integer, integer, text)
    from public, anon, authenticated;
grant execute on function public.campaign_runner_preview_campaign(uuid, uuid, text[], integer, integer, text)
    to service_role;

notify pgrst, 'reload schema';
