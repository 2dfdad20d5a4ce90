-- Purpose: the life of a launch: may it go ahead, open, chunk by chunk, reconcile, mark sending; and what it asks of others.
-- Tables:  reads the audience; writes campaign_recipients, campaigns.status, activity_events and the ledger
-- Rerun:   safe.
-- Undo:    supabase/uninstall.sql drops the schema campaign_runner.
--
-- SQLSTATEs of our own: CR001 another step of ours has it, or it is not due any more (nothing is recorded); CR002 too late;
-- CR003 left for the next step; CR004 a transaction that is none of ours has locked it; CR403 no membership; CR404 unknown
-- organization; CR409 the run is closed; CR410 unknown campaign; CR422 something of the project refused; CR500
-- misconfiguration; CR503 an upgrade is under way.
--
-- The functions that write to the project's tables have the search path of the app, so that the project's triggers see
-- the tables that they see in the app. Each of them is one statement, in which every name and operator is qualified:
-- operators are looked up in `public` too, where an object of the same name may stand.


create or replace function campaign_runner.lock_key(
    p_kind text,
    p_id uuid
)
returns bigint
language plpgsql
immutable
set search_path = pg_catalog, pg_temp
as $$
begin
    return hashtextextended('campaign_runner ' || p_kind || ' ' || p_id::text, 0);
end;
$$;
comment on function campaign_runner.lock_key(text, uuid) is
    'The advisory lock of a run (kind run), of its entry into the ledger (kind open), or of the opening of a launch '
    '(kind launch).';
revoke execute on function campaign_runner.lock_key(text, uuid) from public, anon, authenticated;
grant execute on function campaign_runner.lock_key(text, uuid) to service_role;


create or replace function campaign_runner.rules_versions(
    p_campaign_ids uuid[],
    p_places tid[] default '{}'
)
returns table (campaign_id uuid, version xid, place tid)
language plpgsql
stable
set search_path = pg_catalog, pg_temp
set row_security = off
set plan_cache_mode = force_generic_plan
set enable_seqscan = off
as $$
#variable_conflict use_column
begin
    if to_regclass('public.campaign_target_rules') is not null then
        return query
            -- A row that stays where it was is read there: the look into the index took five times as long.
            with in_place as materialized (
                select r.campaign_id, r.xmin as version, r.ctid as place
                from public.campaign_target_rules r
                where r.ctid = any (p_places)
            )
            select p.campaign_id, p.version, p.place from in_place p
            union all
            select r.campaign_id, r.xmin, r.ctid
            from public.campaign_target_rules r
            where r.campaign_id = any (array(
                select id from unnest(p_campaign_ids) id
                except
                select p.campaign_id from in_place p
            ));
    end if;
end;
$$;
comment on function campaign_runner.rules_versions(uuid[], tid[]) is
    'Of each campaign with rules the transaction that wrote the rules last, and where their row is. The places where the '
    'rows were make it faster; the result is the same without them.';
revoke execute on function campaign_runner.rules_versions(uuid[], tid[]) from public, anon, authenticated;
grant execute on function campaign_runner.rules_versions(uuid[], tid[]) to service_role;


create or replace function campaign_runner.join_versions(
    p_campaign xid,
    p_rules xid
)
returns text
language sql
immutable
-- Parsed when it is created, and inlined.
return p_campaign::text || ' ' || coalesce(p_rules::text, '');
comment on function campaign_runner.join_versions(xid, xid) is
    'The version of a campaign, from the transactions that wrote the campaign and its rules last.';
revoke execute on function campaign_runner.join_versions(xid, xid) from public, anon, authenticated;
grant execute on function campaign_runner.join_versions(xid, xid) to service_role;


create or replace function campaign_runner.version(
    p_campaign_id uuid
)
returns text
language plpgsql
stable
set search_path = pg_catalog, pg_temp
set row_security = off
as $$
begin
    return (
        select campaign_runner.join_versions(c.xmin, (select r.version from campaign_runner.rules_versions(array[c.id]) r))
        from public.campaigns c
        where c.id = p_campaign_id
    );
end;
$$;
comment on function campaign_runner.version(uuid) is
    'A text that changes with every edit of the campaign or its rules: an edit makes a launch ready that waits. NULL: '
    'there is no such campaign.';
revoke execute on function campaign_runner.version(uuid) from public, anon, authenticated;
grant execute on function campaign_runner.version(uuid) to service_role;


create or replace function campaign_runner.due_campaigns(
    p_campaign_ids uuid[],
    p_now timestamptz default now()
)
returns table (campaign_id uuid, organization_id uuid, name text, scheduled_at timestamptz)
language plpgsql
stable
set search_path = pg_catalog, pg_temp
set row_security = off
set plan_cache_mode = force_generic_plan
set enable_seqscan = off
as $$
#variable_conflict use_column
begin
    -- These columns may be missing, see tagged_contacts(). A campaign without an organization is never due.
    return query
        select campaign.id, campaign.organization_id, campaign.name, campaign.scheduled_at
        from (
            select null::timestamptz as deleted_at, null::timestamptz as archived_at, null::boolean as is_active
        ) absent
        cross join lateral (
            select
                c.id, c.organization_id, coalesce(c.name::text, '') as name, c.scheduled_at,
                deleted_at is null and archived_at is null as is_there
            from public.campaigns c
            where c.id = any (p_campaign_ids)
                -- As a case, which no index is for: the planner took the index of all that are due.
                and case when c.status = 'scheduled' and c.scheduled_at <= p_now then true else false end
        ) campaign
        cross join lateral (
            select
                deleted_at is null and archived_at is null and is_active::text is distinct from 'false' as is_open
            from public.organizations o
            where o.id = campaign.organization_id
        ) organization
        where campaign.is_there and organization.is_open;
end;
$$;
comment on function campaign_runner.due_campaigns(uuid[], timestamptz) is
    'Those of the campaigns that are due: scheduled, their time has come, and neither campaign nor organization '
    'deleted, archived or closed.';
revoke execute on function campaign_runner.due_campaigns(uuid[], timestamptz) from public, anon, authenticated;
grant execute on function campaign_runner.due_campaigns(uuid[], timestamptz) to service_role;


create or replace function campaign_runner.permitted_organizations(
    p_organization_ids uuid[],
    p_system_user_id uuid,
    p_system_user_roles text[]
)
returns setof uuid
language plpgsql
stable
set search_path = pg_catalog, pg_temp
set row_security = off
as $$
begin
    return query
        select distinct m.organization_id
        from public.organization_members m
        where m.organization_id = any (p_organization_ids)
            and m.user_id = p_system_user_id
            and m.role::text = any (p_system_user_roles);
end;
$$;
comment on function campaign_runner.permitted_organizations(uuid[], uuid, text[]) is
    'Those of the organizations of which the system user is a member in one of these roles.';
revoke execute on function campaign_runner.permitted_organizations(uuid[], uuid, text[])
    from public, anon, authenticated;
grant execute on function campaign_runner.permitted_organizations(uuid[], uuid, text[]) to service_role;


create or replace function campaign_runner.obstacle(
    p_organization_id uuid,
    p_scheduled_at timestamptz,
    p_launch campaign_runner.launches,
    p_system_user_id uuid,
    p_system_user_roles text[],
    p_max_lateness_minutes integer,
    p_now timestamptz
)
returns table (code text, message text)
language plpgsql
stable
set search_path = pg_catalog, pg_temp
set row_security = off
as $$
begin
    return query
        select 'CR403', format(
            'The system user may not act for this organization. Add it to organization_members with one of the roles: %s.',
            array_to_string(p_system_user_roles, ', ')
        )
        where not exists (
            select from campaign_runner.permitted_organizations(
                array[p_organization_id], p_system_user_id, p_system_user_roles
            )
        )
        union all
        -- A launch that goes on is finished, however long it takes. One that rested for so long, as while its campaign was
        -- paused, is as late as one that did not begin.
        select 'CR002', format(
            'The campaign is more than %s minutes late, so it was held. Schedule it again to launch it.',
            p_max_lateness_minutes
        )
        where greatest(
            p_scheduled_at,
            (select max(s.worked_at) from campaign_runner.launch_chunks s where s.launch_id = (p_launch).id)
        ) < p_now - make_interval(mins => p_max_lateness_minutes)
        limit 1;
end;
$$;
comment on function
    campaign_runner.obstacle(uuid, timestamptz, campaign_runner.launches, uuid, text[], integer, timestamptz)
is
    'Why a due campaign with this open launch, or NULL, may not be launched, with its SQLSTATE: no row if it may. '
    'Launch and dry run both ask it.';
revoke execute on function campaign_runner.obstacle(uuid, timestamptz, campaign_runner.launches, uuid, text[], integer, timestamptz)
    from public, anon, authenticated;
grant execute on function campaign_runner.obstacle(uuid, timestamptz, campaign_runner.launches, uuid, text[], integer, timestamptz)
    to service_role;


create or replace function campaign_runner.would_generate(
    p_campaign_id uuid
)
returns boolean
language plpgsql
stable
set search_path = pg_catalog, pg_temp
set row_security = off
set enable_seqscan = off
as $$
begin
    -- "Recipients exist" is not "recipients complete": rows that an interrupted launch of ours left are resumed.
    return (
        select coalesce(
            (
                select l.left_recipients
                from campaign_runner.launches l
                where l.campaign_id = p_campaign_id and l.closed_at is not null
                order by l.id desc
                limit 1
            ),
            false
        )
        or not exists (select from public.campaign_recipients r where r.campaign_id = p_campaign_id)
    );
end;
$$;
comment on function campaign_runner.would_generate(uuid) is
    'Whether a launch that begins now generates recipients: not where recipients exist that no launch of ours left '
    'behind.';
revoke execute on function campaign_runner.would_generate(uuid) from public, anon, authenticated;
grant execute on function campaign_runner.would_generate(uuid) to service_role;


create or replace function campaign_runner.is_ready(
    p_waiting text,
    p_next_attempt_at timestamptz,
    p_failed_with text,
    p_failed_version text,
    p_version text,
    p_is_permitted boolean,
    p_now timestamptz
)
returns boolean
language sql
immutable
-- Parsed when it is created, and inlined: a step asks for a thousand launches.
return p_waiting is null
    or (p_waiting = 'backoff' and p_next_attempt_at <= p_now)
    or p_failed_version is distinct from p_version
    or (p_failed_with = 'CR403' and p_is_permitted);
comment on function campaign_runner.is_ready(text, timestamptz, text, text, text, boolean, timestamptz) is
    'Whether a launch may be worked on: not while it waits, unless its backoff is over, its campaign was edited since, or '
    'the system user became a member.';
revoke execute on function campaign_runner.is_ready(text, timestamptz, text, text, text, boolean, timestamptz)
    from public, anon, authenticated;
grant execute on function campaign_runner.is_ready(text, timestamptz, text, text, text, boolean, timestamptz)
    to service_role;


create or replace function campaign_runner.is_launch_ready(
    p_launch campaign_runner.launches,
    p_system_user_id uuid,
    p_system_user_roles text[],
    p_now timestamptz
)
returns boolean
language plpgsql
stable
set search_path = pg_catalog, pg_temp
set row_security = off
as $$
begin
    return (p_launch).waiting is null
        or campaign_runner.is_ready(
            (p_launch).waiting, (p_launch).next_attempt_at, (p_launch).failed_with, (p_launch).failed_version,
            campaign_runner.version((p_launch).campaign_id),
            exists (
                select from campaign_runner.permitted_organizations(
                    array[(p_launch).organization_id], p_system_user_id, p_system_user_roles
                )
            ),
            p_now
        );
end;
$$;
comment on function campaign_runner.is_launch_ready(campaign_runner.launches, uuid, text[], timestamptz) is
    'is_ready() for one launch, which reads the version of the campaign and the membership itself.';
revoke execute on function campaign_runner.is_launch_ready(campaign_runner.launches, uuid, text[], timestamptz)
    from public, anon, authenticated;
grant execute on function campaign_runner.is_launch_ready(campaign_runner.launches, uuid, text[], timestamptz)
    to service_role;


create or replace function campaign_runner.add_counts(
    p_left jsonb,
    p_right jsonb
)
returns jsonb
language plpgsql
immutable
set search_path = pg_catalog, pg_temp
as $$
declare
    v_project_reasons_at_most constant integer := 20;
begin
    if p_left = '{}' then
        return p_right;
    end if;
    return (
        select jsonb_object_agg(total.reason, total.n)
        from (
            select named.reason, sum(named.n) as n
            from (
                select
                    case
                        when counted.key like 'project:%'
                            and dense_rank() over (partition by counted.key like 'project:%' order by counted.key)
                            > v_project_reasons_at_most
                            then 'project:other'
                        else counted.key
                    end as reason,
                    counted.value::bigint as n
                from (
                    select l.key, l.value from jsonb_each_text(p_left) l
                    union all
                    select r.key, r.value from jsonb_each_text(p_right) r
                ) counted
            ) named
            group by named.reason
        ) total
    );
end;
$$;
comment on function campaign_runner.add_counts(jsonb, jsonb) is
    'Adds two objects of reason to number. The project''s own reasons after the twentieth are project:other.';
revoke execute on function campaign_runner.add_counts(jsonb, jsonb) from public, anon, authenticated;
grant execute on function campaign_runner.add_counts(jsonb, jsonb) to service_role;


create or replace function campaign_runner.nth_contact(
    p_organization_id uuid,
    p_from uuid,
    p_to uuid,
    p_n bigint
)
returns uuid
language plpgsql
stable
set search_path = pg_catalog, pg_temp
set row_security = off
set plan_cache_mode = force_generic_plan
set enable_seqscan = off
set enable_bitmapscan = off
set enable_sort = off
set enable_incremental_sort = off
as $$
begin
    -- The highest uuid is no bound: it belongs to the range before it.
    return (
        select c.id
        from public.contacts c
        where c.organization_id = any (array[p_organization_id]) and c.id >= p_from and c.id < p_to
        order by c.organization_id, c.id
        offset p_n
        limit 1
    );
end;
$$;
comment on function campaign_runner.nth_contact(uuid, uuid, uuid, bigint) is
    'The contact after the first p_n of the range, by id. NULL: the range has no more than p_n.';
revoke execute on function campaign_runner.nth_contact(uuid, uuid, uuid, bigint) from public, anon, authenticated;
grant execute on function campaign_runner.nth_contact(uuid, uuid, uuid, bigint) to service_role;


create or replace function campaign_runner.lock_contacts(
    p_organization_id uuid,
    p_from uuid,
    p_to uuid
)
returns void
language plpgsql
volatile
set search_path = pg_catalog, pg_temp
set row_security = off
set enable_seqscan = off
set enable_bitmapscan = off
set enable_sort = off
set enable_incremental_sort = off
as $$
begin
    perform
    from public.contacts c
    where c.organization_id = any (array[p_organization_id])
        and c.id >= p_from
        and c.id <= p_to
        and (c.id < p_to or p_to = 'ffffffff-ffff-ffff-ffff-ffffffffffff') is true
    order by c.organization_id, c.id
    for key share;
end;
$$;
comment on function campaign_runner.lock_contacts(uuid, uuid, uuid) is
    'Keeps the contacts of the range from being deleted until the end of the transaction. Edits do not wait.';
revoke execute on function campaign_runner.lock_contacts(uuid, uuid, uuid) from public, anon, authenticated;
grant execute on function campaign_runner.lock_contacts(uuid, uuid, uuid) to service_role;


create or replace function campaign_runner.delete_recipients(
    p_campaign_id uuid,
    p_contact_ids uuid[],
    p_places tid[],
    out deleted bigint
)
language plpgsql
volatile
set search_path = public, extensions
set enable_seqscan = off
set enable_hashjoin = off
set enable_mergejoin = off
as $$
begin
    -- By their places. By the ids, the planner took an index on contact_id, where the project has one, and looked at the
    -- recipients that the contacts were in all campaigns.
    delete from public.campaign_recipients r
    using rows from (pg_catalog.unnest(p_contact_ids), pg_catalog.unnest(p_places)) as d (contact_id, place)
    where r.ctid operator(pg_catalog.=) d.place
        and (
            r.contact_id operator(pg_catalog.=) d.contact_id
            and r.campaign_id operator(pg_catalog.=) p_campaign_id
            and r.status operator(pg_catalog.=) 'pending'
        ) is true;
    get diagnostics deleted = row_count;
end;
$$;
comment on function campaign_runner.delete_recipients(uuid, uuid[], tid[]) is
    'Deletes the pending recipients of the campaign that are still in these places, and counts those that no trigger kept. '
    'Only for sync_recipients().';
revoke execute on function campaign_runner.delete_recipients(uuid, uuid[], tid[]) from public, anon, authenticated;
grant execute on function campaign_runner.delete_recipients(uuid, uuid[], tid[]) to service_role;


create or replace function campaign_runner.insert_recipients(
    p_campaign_id uuid,
    p_organization_id uuid,
    p_contact_ids uuid[],
    out inserted bigint
)
language plpgsql
volatile
set search_path = public, extensions
as $$
begin
    insert into public.campaign_recipients (campaign_id, contact_id, organization_id, status)
    select p_campaign_id, c.id, p_organization_id, 'pending'
    from pg_catalog.unnest(p_contact_ids) as c (id);
    get diagnostics inserted = row_count;
end;
$$;
comment on function campaign_runner.insert_recipients(uuid, uuid, uuid[]) is
    'Inserts pending recipients in this order, and counts those that no trigger suppressed. Only for '
    'sync_recipients().';
revoke execute on function campaign_runner.insert_recipients(uuid, uuid, uuid[]) from public, anon, authenticated;
grant execute on function campaign_runner.insert_recipients(uuid, uuid, uuid[]) to service_role;


create or replace function campaign_runner.sync_recipients(
    p_campaign_id uuid,
    p_rules campaign_runner.rules,
    p_from uuid,
    p_to uuid,
    p_launch_id bigint,
    out contacts bigint,
    out inserted bigint,
    out excluded jsonb,
    out excluded_countries text[]
)
language plpgsql
volatile
set search_path = pg_catalog, pg_temp
set row_security = off
as $$
declare
    v_tries_at_most constant integer := 3;
    v_inserts uuid[];
    v_deletes uuid[];
    v_places tid[];
    v_deleted bigint;
begin
    for v_try in 1..v_tries_at_most loop
        begin
            -- In the order of contact ids, against deadlocks with another writer of the same rows.
            with diff as materialized (
                select d.contact_id, d.reason, d.country, d.change, d.place
                from campaign_runner.diff_recipients(p_campaign_id, p_rules, p_from, p_to, p_launch_id) d
            ),
            reasons as (
                select d.reason, count(*) as n from diff d where d.reason <> 'orphaned' group by d.reason
            )
            select
                count(*) filter (where d.reason is distinct from 'orphaned'),
                coalesce(array_agg(d.contact_id order by d.contact_id) filter (where d.change = 'insert'), '{}'),
                coalesce(array_agg(d.contact_id order by d.contact_id) filter (where d.change = 'delete'), '{}'),
                coalesce(array_agg(d.place order by d.contact_id) filter (where d.change = 'delete'), '{}'),
                (select coalesce(jsonb_object_agg(r.reason, r.n), '{}') from reasons r),
                coalesce(array_agg(distinct d.country) filter (where d.country is not null), '{}')
            into contacts, v_inserts, v_deletes, v_places, excluded, excluded_countries
            from diff d;

            if cardinality(v_deletes) > 0 then
                v_deleted := campaign_runner.delete_recipients(p_campaign_id, v_deletes, v_places);
                -- In a statement of its own, which sees a row that another writer changed meanwhile.
                if v_deleted < cardinality(v_deletes)
                    and exists (
                        select from public.campaign_recipients r
                        where r.campaign_id = p_campaign_id and r.contact_id = any (v_deletes) and r.status = 'pending'
                    )
                then
                    continue when v_try < v_tries_at_most; -- such a row is elsewhere now
                    raise exception 'A trigger on campaign_recipients keeps recipients from being deleted.'
                        using errcode = 'CR422';
                end if;
            end if;
            inserted := 0;
            if cardinality(v_inserts) > 0 then
                inserted := campaign_runner.insert_recipients(p_campaign_id, p_rules.organization_id, v_inserts);
            end if;
            if inserted < cardinality(v_inserts) then
                excluded := excluded
                    || jsonb_build_object('dropped_by_trigger', cardinality(v_inserts) - inserted);
            end if;
            return;
        exception
            -- Since the snapshot, a contact was deleted, or another writer committed a recipient. Evaluate again, by a new
            -- snapshot, in which the contacts stay.
            when foreign_key_violation or unique_violation then
                if v_try = v_tries_at_most then
                    raise;
                end if;
                perform campaign_runner.lock_contacts(p_rules.organization_id, p_from, p_to);
        end;
    end loop;
end;
$$;
comment on function campaign_runner.sync_recipients(uuid, campaign_runner.rules, uuid, uuid, bigint) is
    'Makes the pending recipients in the range what the rules say at this moment, and counts contacts, inserted '
    'recipients and reasons. With the excluded countries that kept a contact out.';
revoke execute on function campaign_runner.sync_recipients(uuid, campaign_runner.rules, uuid, uuid, bigint)
    from public, anon, authenticated;
grant execute on function campaign_runner.sync_recipients(uuid, campaign_runner.rules, uuid, uuid, bigint)
    to service_role;


create or replace function campaign_runner.plan_chunks(
    p_launch_id bigint,
    p_lo uuid,
    p_organization_id uuid,
    p_max_rows integer
)
returns void
language plpgsql
volatile
set search_path = pg_catalog, pg_temp
set row_security = off
set enable_seqscan = off
set enable_bitmapscan = off
set enable_sort = off
set enable_incremental_sort = off
as $$
declare
    v_chunks_at_most constant integer := 8;
    v_last constant uuid := 'ffffffff-ffff-ffff-ffff-ffffffffffff';
    v_half_a_step constant integer := greatest(p_max_rows / 2, 1);
    v_lo uuid := p_lo;
    v_bound uuid;
    v_contacts bigint;
    v_chunks integer := v_chunks_at_most;
    v_contacts_each integer := v_half_a_step;
begin
    -- Halves of a step, and a few at a time: what the first have taught makes the next ones larger.
    select count(*) into v_contacts
    from (
        select from public.contacts c
        where c.organization_id = any (array[p_organization_id]) and c.id >= p_lo and c.id < v_last
        order by c.organization_id, c.id
        limit p_max_rows::bigint * v_chunks_at_most + 1
    ) ahead;
    -- The end of an audience in equal parts, and an even number of them, so that none runs alone for long: 100,000 in eight
    -- halves of a step, and a last chunk of the rest, took 6 % longer.
    if v_contacts <= p_max_rows::bigint * v_chunks_at_most then
        v_chunks := least(v_chunks_at_most, 2 * ceil(greatest(v_contacts, 1) / (2.0 * v_half_a_step)));
        v_contacts_each := greatest(ceil(v_contacts / v_chunks::numeric), 1);
    end if;

    -- The index tells where the bounds lie, since ids need not be uniform.
    for i in 1..v_chunks loop
        v_bound := campaign_runner.nth_contact(p_organization_id, v_lo, v_last, v_contacts_each);
        exit when v_bound is null;
        update campaign_runner.launch_chunks s set hi = v_bound where s.launch_id = p_launch_id and s.lo = v_lo;
        insert into campaign_runner.launch_chunks (launch_id, lo, hi, "cursor")
        values (p_launch_id, v_bound, v_last, v_bound);
        v_lo := v_bound;
    end loop;
end;
$$;
comment on function campaign_runner.plan_chunks(bigint, uuid, uuid, integer) is
    'Cuts the last chunk of a launch, which no step has begun, into chunks that fit in a step of so many contacts; of '
    'a long one, the rest stays the last chunk.';
revoke execute on function campaign_runner.plan_chunks(bigint, uuid, uuid, integer) from public, anon, authenticated;
grant execute on function campaign_runner.plan_chunks(bigint, uuid, uuid, integer) to service_role;


create or replace function campaign_runner.restart_reconcile(
    p_launch_id bigint
)
returns void
language plpgsql
volatile
set search_path = pg_catalog, pg_temp
set row_security = off
as $$
declare
    v_free bigint;
begin
    perform from campaign_runner.launches l
    where l.id = p_launch_id and l.closed_at is null
    for update skip locked;
    if not found then
        raise exception 'another step is at work on the launch' using errcode = 'CR001';
    end if;

    -- A chunk that another step is at work on would come through with what that step read before.
    select count(*) into v_free
    from (
        select from campaign_runner.launch_chunks s
        where s.launch_id = p_launch_id
        order by s.lo
        for update skip locked
    ) free_chunks;
    if v_free < (select count(*) from campaign_runner.launch_chunks s where s.launch_id = p_launch_id) then
        raise exception 'another step is at work on a chunk of the launch' using errcode = 'CR001';
    end if;

    update campaign_runner.launch_chunks s
    set "cursor" = s.lo, contacts = 0, excluded = '{}', excluded_countries = '{}', worked_at = clock_timestamp()
    where s.launch_id = p_launch_id;

    update campaign_runner.launches l
    set
        state = 'reconciling',
        organization_id = c.organization_id,
        campaign_name = coalesce(c.name::text, ''),
        scheduled_at = c.scheduled_at,
        rules_hash = (campaign_runner.read_rules(c.id)).hash
    from public.campaigns c
    where l.id = p_launch_id and c.id = l.campaign_id and c.organization_id is not null and c.scheduled_at is not null;
    if not found then
        raise exception 'the campaign is not due any more' using errcode = 'CR001';
    end if;
end;
$$;
comment on function campaign_runner.restart_reconcile(bigint) is
    'Sends a launch to reconciling from the start, by the schedule and rules of now. Raises CR001 where another step '
    'is at work on it.';
revoke execute on function campaign_runner.restart_reconcile(bigint) from public, anon, authenticated;
grant execute on function campaign_runner.restart_reconcile(bigint) to service_role;


create or replace function campaign_runner.set_sending(
    p_campaign_id uuid
)
returns void
language plpgsql
volatile
set search_path = public, extensions
as $$
begin
    update public.campaigns c
    set status = 'sending'
    where c.id operator(pg_catalog.=) p_campaign_id and c.status operator(pg_catalog.=) 'scheduled';
end;
$$;
comment on function campaign_runner.set_sending(uuid) is
    'Sets the status of a scheduled campaign. Only for mark_sending().';
revoke execute on function campaign_runner.set_sending(uuid) from public, anon, authenticated;
grant execute on function campaign_runner.set_sending(uuid) to service_role;


create or replace function campaign_runner.set_sending_and_time(
    p_campaign_id uuid,
    p_now timestamptz
)
returns void
language plpgsql
volatile
set search_path = public, extensions
as $$
begin
    update public.campaigns c
    set status = 'sending', updated_at = p_now
    where c.id operator(pg_catalog.=) p_campaign_id and c.status operator(pg_catalog.=) 'scheduled';
end;
$$;
comment on function campaign_runner.set_sending_and_time(uuid, timestamptz) is
    'Sets the status of a scheduled campaign, and when it was updated. Only for mark_sending().';
revoke execute on function campaign_runner.set_sending_and_time(uuid, timestamptz) from public, anon, authenticated;
grant execute on function campaign_runner.set_sending_and_time(uuid, timestamptz) to service_role;


create or replace function campaign_runner.insert_event(
    p_organization_id uuid,
    p_system_user_id uuid,
    p_payload jsonb
)
returns void
language plpgsql
volatile
set search_path = public, extensions
as $$
begin
    -- The type as a literal, which fits a text and an enum.
    insert into public.activity_events (organization_id, user_id, event_type, payload)
    values (p_organization_id, p_system_user_id, 'campaign.sending', p_payload);
end;
$$;
comment on function campaign_runner.insert_event(uuid, uuid, jsonb) is
    'Writes an activity event. Only for mark_sending().';
revoke execute on function campaign_runner.insert_event(uuid, uuid, jsonb) from public, anon, authenticated;
grant execute on function campaign_runner.insert_event(uuid, uuid, jsonb) to service_role;


create or replace function campaign_runner.mark_sending(
    p_run_id uuid,
    p_launch campaign_runner.launches,
    p_system_user_id uuid,
    p_now timestamptz
)
returns void
language plpgsql
volatile
set search_path = pg_catalog, pg_temp
set row_security = off
set enable_seqscan = off
as $$
declare
    v_chunk campaign_runner.launch_chunks;
    v_campaign record;
    v_is_locked boolean;
    v_rules campaign_runner.rules;
    v_contacts bigint := 0;
    v_inserted bigint := 0;
    v_excluded jsonb := '{}';
    v_excluded_countries text[] := '{}';
    v_recipient_count bigint;
    v_status text;
begin
    -- All that takes time comes before the campaign is locked.
    for v_chunk in select * from campaign_runner.launch_chunks s where s.launch_id = p_launch.id loop
        v_contacts := v_contacts + v_chunk.contacts;
        v_inserted := v_inserted + v_chunk.inserted;
        v_excluded := campaign_runner.add_counts(v_excluded, v_chunk.excluded);
        v_excluded_countries := v_excluded_countries || v_chunk.excluded_countries;
    end loop;
    select count(*) into v_recipient_count
    from public.campaign_recipients r
    where r.campaign_id = p_launch.campaign_id;

    -- An edit of the campaign or its rules at this moment wins: do not wait, come back.
    perform from public.campaigns c where c.id = p_launch.campaign_id for no key update skip locked;
    v_is_locked := found;
    select d.organization_id, d.name into v_campaign
    from campaign_runner.due_campaigns(array[p_launch.campaign_id], p_now) d;
    if not found then
        raise exception 'the campaign is not due any more' using errcode = 'CR001';
    end if;
    if not v_is_locked then
        raise exception 'the campaign is locked' using errcode = 'CR004';
    end if;
    if to_regclass('public.campaign_target_rules') is not null then
        perform from public.campaign_target_rules r where r.campaign_id = p_launch.campaign_id for share skip locked;
        if not found
            and exists (select from public.campaign_target_rules r where r.campaign_id = p_launch.campaign_id)
        then
            raise exception 'the rules are locked' using errcode = 'CR004';
        end if;
    end if;
    -- Read under the locks.
    v_rules := campaign_runner.read_rules(p_launch.campaign_id);
    if p_launch.rules_hash is distinct from v_rules.hash then
        raise exception 'schedule or rules were changed' using errcode = 'CR001';
    end if;

    if exists (
        select from pg_attribute a
        where a.attrelid = 'public.campaigns'::regclass
            and a.attname = 'updated_at'
            and a.atttypid in ('timestamptz'::regtype, 'timestamp'::regtype)
    ) then
        perform campaign_runner.set_sending_and_time(p_launch.campaign_id, p_now);
    else
        perform campaign_runner.set_sending(p_launch.campaign_id);
    end if;
    select c.status::text into v_status from public.campaigns c where c.id = p_launch.campaign_id;
    if v_status is distinct from 'sending' then
        raise exception 'The status could not be set: a trigger on campaigns keeps it at %.', coalesce(v_status, 'NULL')
            using errcode = 'CR422';
    end if;

    if to_regclass('public.activity_events') is not null then
        perform campaign_runner.insert_event(
            v_campaign.organization_id,
            p_system_user_id,
            jsonb_build_object(
                'campaign_id', p_launch.campaign_id,
                'name', v_campaign.name,
                'run_id', p_run_id,
                'previous_status', 'scheduled',
                'new_status', 'sending',
                'recipients_generated', v_inserted > 0,
                'recipient_count', v_recipient_count
            )
        );
    end if;

    update campaign_runner.launches l
    set
        state = 'launched',
        closed_at = clock_timestamp(),
        campaign_name = v_campaign.name,
        run_id = p_run_id,
        system_user_id = p_system_user_id,
        late_by = case when isfinite(l.scheduled_at) then p_now - l.scheduled_at end,
        contacts = v_contacts,
        recipients_inserted = v_inserted,
        recipient_count = v_recipient_count,
        excluded = v_excluded,
        unmatched = case when l.generates then jsonb_build_object(
            'exclude_tags', v_rules.unmatched_tags,
            'exclude_countries', array(select e from unnest(v_rules.exclude_countries) e where e <> all (v_excluded_countries))
        ) end,
        waiting = null,
        next_attempt_at = null
    where l.id = p_launch.id;
    delete from campaign_runner.launch_chunks s where s.launch_id = p_launch.id;
end;
$$;
comment on function campaign_runner.mark_sending(uuid, campaign_runner.launches, uuid, timestamptz) is
    'Sets the campaign to sending if it is still what the launch worked by, and writes the outcome. Raises CR004 '
    'where another transaction has locked the campaign or its rules, CR001 where they were changed, CR422 where a '
    'trigger keeps the status.';
revoke execute on function campaign_runner.mark_sending(uuid, campaign_runner.launches, uuid, timestamptz)
    from public, anon, authenticated;
grant execute on function campaign_runner.mark_sending(uuid, campaign_runner.launches, uuid, timestamptz) to service_role;


create or replace function campaign_runner.lock_launch(
    p_campaign_id uuid
)
returns campaign_runner.launches
language plpgsql
volatile
set search_path = pg_catalog, pg_temp
set row_security = off
as $$
begin
    -- `insert … on conflict` would wait for a rival; this lock does not. It is held to the end of the transaction, and the
    -- next step that gets it sees what the one before has committed.
    if not pg_try_advisory_xact_lock(campaign_runner.lock_key('launch', p_campaign_id)) then
        raise exception 'another step opens the launch' using errcode = 'CR001';
    end if;
    return (select l from campaign_runner.launches l where l.campaign_id = p_campaign_id and l.closed_at is null);
end;
$$;
comment on function campaign_runner.lock_launch(uuid) is
    'The open launch of a campaign, or NULL, with the lock on its opening held to the end of the transaction. Raises CR001 '
    'where a rival holds that lock.';
revoke execute on function campaign_runner.lock_launch(uuid) from public, anon, authenticated;
grant execute on function campaign_runner.lock_launch(uuid) to service_role;


create or replace function campaign_runner.open_launch(
    p_campaign_id uuid
)
returns campaign_runner.launches
language plpgsql
volatile
set search_path = pg_catalog, pg_temp
set row_security = off
as $$
declare
    v_launch campaign_runner.launches := campaign_runner.lock_launch(p_campaign_id);
begin
    if v_launch.id is null then
        insert into campaign_runner.launches (campaign_id, organization_id, campaign_name, scheduled_at)
        select d.campaign_id, d.organization_id, d.name, d.scheduled_at
        from campaign_runner.due_campaigns(array[p_campaign_id]) d
        returning * into v_launch;
        if not found then
            raise exception 'the campaign is not due any more' using errcode = 'CR001';
        end if;
    end if;
    return v_launch;
end;
$$;
comment on function campaign_runner.open_launch(uuid) is
    'The open launch of a campaign, made where there is none, for what is to be recorded of it before it begins. Raises '
    'CR001 where a rival opens it.';
revoke execute on function campaign_runner.open_launch(uuid) from public, anon, authenticated;
grant execute on function campaign_runner.open_launch(uuid) to service_role;


create or replace function campaign_runner.begin_launch(
    p_campaign_id uuid,
    p_rules campaign_runner.rules
)
returns campaign_runner.launches
language plpgsql
volatile
set search_path = pg_catalog, pg_temp
set row_security = off
set enable_seqscan = off
as $$
declare
    v_launch campaign_runner.launches;
begin
    -- The one moment at which it is decided whether recipients exist already. From here on every pending row of the
    -- campaign belongs to the launch, if it generates.
    insert into campaign_runner.launches as l (
        campaign_id, organization_id, campaign_name, scheduled_at, state, generates, rules_hash
    )
    select
        c.id, c.organization_id, coalesce(c.name::text, ''), c.scheduled_at,
        'generating', campaign_runner.would_generate(c.id), p_rules.hash
    from public.campaigns c
    where c.id = p_campaign_id and c.organization_id is not null and c.scheduled_at is not null
    on conflict (campaign_id) where closed_at is null do update
    set
        organization_id = excluded.organization_id,
        campaign_name = excluded.campaign_name,
        scheduled_at = excluded.scheduled_at,
        state = excluded.state,
        generates = excluded.generates,
        rules_hash = excluded.rules_hash
    returning l.* into v_launch;
    if not found then
        raise exception 'the campaign is not due any more' using errcode = 'CR001';
    end if;

    if v_launch.generates then
        insert into campaign_runner.launch_chunks (launch_id, lo, hi, "cursor")
        values (
            v_launch.id,
            '00000000-0000-0000-0000-000000000000',
            'ffffffff-ffff-ffff-ffff-ffffffffffff',
            '00000000-0000-0000-0000-000000000000'
        );
    else
        update campaign_runner.launches l
        set recipients_before = present.n, pending_before = present.pending
        from (
            select count(*) as n, count(*) filter (where r.status = 'pending') as pending
            from public.campaign_recipients r
            where r.campaign_id = v_launch.campaign_id
        ) present
        where l.id = v_launch.id;
    end if;
    return v_launch;
end;
$$;
comment on function campaign_runner.begin_launch(uuid, campaign_runner.rules) is
    'Takes the launch of a campaign, opened or not yet, to generating, under the lock on its opening: decides whether it '
    'generates, and lays out its first chunk, or counts the recipients that are there.';
revoke execute on function campaign_runner.begin_launch(uuid, campaign_runner.rules) from public, anon, authenticated;
grant execute on function campaign_runner.begin_launch(uuid, campaign_runner.rules) to service_role;


create or replace function campaign_runner.begin_reconcile(
    p_launch_id bigint,
    p_max_rows integer
)
returns void
language plpgsql
volatile
set search_path = pg_catalog, pg_temp
set row_security = off
as $$
declare
    v_contacts bigint;
begin
    select sum(s.contacts) into v_contacts from campaign_runner.launch_chunks s where s.launch_id = p_launch_id;

    -- One chunk, where a step can reconcile all, so that the audience is exact as of the moment of sending. Otherwise
    -- neighbours become one, by where their middles lie, up to a quarter of all: with eighths, whose contacts lie further
    -- apart, and whose addresses are looked for by as many walks, 100,000 took a twentieth longer. And up to three quarters
    -- of what a step can reconcile, since they may be longer by one chunk.
    with grouped as (
        select
            s.lo, s.hi, s.inserted,
            case
                when v_contacts > p_max_rows
                then div(
                    sum(s.contacts) over (order by s.lo) - s.contacts / 2.0,
                    least(ceil(v_contacts / 4.0), ceil(p_max_rows * 0.75))
                )
            end as piece
        from campaign_runner.launch_chunks s
        where s.launch_id = p_launch_id
    ),
    merged as (
        select
            (array_agg(g.lo order by g.lo))[1] as lo, (array_agg(g.hi order by g.lo desc))[1] as hi,
            sum(g.inserted) as inserted
        from grouped g
        group by g.piece
    ),
    deleted as (
        delete from campaign_runner.launch_chunks s
        where s.launch_id = p_launch_id and s.lo not in (select m.lo from merged m)
    )
    update campaign_runner.launch_chunks s
    set hi = m.hi, inserted = m.inserted
    from merged m
    where s.launch_id = p_launch_id and s.lo = m.lo;
    perform campaign_runner.restart_reconcile(p_launch_id);
end;
$$;
comment on function campaign_runner.begin_reconcile(bigint, integer) is
    'Takes a launch whose chunks are all generated to reconciling, in fewer chunks: in one, where a step, which '
    'reconciles up to so many rows, can reconcile all.';
revoke execute on function campaign_runner.begin_reconcile(bigint, integer) from public, anon, authenticated;
grant execute on function campaign_runner.begin_reconcile(bigint, integer) to service_role;


create or replace function campaign_runner.sync_chunk(
    p_launch_id bigint,
    p_rules campaign_runner.rules,
    p_max_rows integer,
    p_may_split boolean,
    out outcome text,
    out contacts bigint,
    out reconciled bigint,
    out is_whole boolean
)
language plpgsql
volatile
set search_path = pg_catalog, pg_temp
set row_security = off
as $$
declare
    -- Reconciling reads as much as generating but writes almost nothing.
    v_reconcile_factor constant integer := 4;
    v_first constant uuid := '00000000-0000-0000-0000-000000000000';
    v_last constant uuid := 'ffffffff-ffff-ffff-ffff-ffffffffffff';
    v_chunk campaign_runner.launch_chunks;
    v_launch campaign_runner.launches;
    v_is_again boolean;
    v_next uuid;
    v_synced record;
begin
    contacts := 0;
    reconciled := 0;
    is_whole := false;
    select * into v_chunk
    from campaign_runner.launch_chunks s
    where s.launch_id = p_launch_id and s."cursor" is not null
    order by s.lo
    limit 1
    for update skip locked;
    if not found then
        if exists (
            select from campaign_runner.launch_chunks s where s.launch_id = p_launch_id and s."cursor" is not null
        ) then
            raise exception 'other steps have the chunks' using errcode = 'CR001';
        end if;
        outcome := 'through';
        return;
    end if;
    -- Under the lock of a chunk, without which nothing sends the launch back.
    select * into v_launch from campaign_runner.launches l where l.id = p_launch_id;
    if v_launch.rules_hash is distinct from p_rules.hash then
        perform campaign_runner.restart_reconcile(p_launch_id);
        outcome := 'laid_out';
        return;
    end if;

    -- After an edit in mid-generation there are chunks in a reconcile that were never generated.
    v_is_again := v_launch.state = 'reconciling' and v_chunk.inserted > 0;
    v_next := campaign_runner.nth_contact(
        v_launch.organization_id, v_chunk."cursor", v_chunk.hi,
        p_max_rows::bigint * case when v_is_again then v_reconcile_factor else 1 end
    );
    -- A campaign that does not fit in the rest of this step waits for the next step: a split audience costs a second pass.
    if v_next is not null and not p_may_split then
        raise exception 'the campaign does not fit in what is left of the step' using errcode = 'CR003';
    end if;
    -- A long audience is cut first, by a step that does nothing else, so that other steps begin at once. An audience that
    -- fits in one step is left whole.
    if v_next is not null and not v_is_again and v_chunk."cursor" = v_chunk.lo and v_chunk.hi = v_last then
        perform campaign_runner.plan_chunks(p_launch_id, v_chunk.lo, v_launch.organization_id, p_max_rows);
        outcome := 'laid_out';
        return;
    end if;

    select * into v_synced
    from campaign_runner.sync_recipients(
        v_launch.campaign_id, p_rules, v_chunk."cursor", coalesce(v_next, v_chunk.hi), p_launch_id
    );
    contacts := v_synced.contacts;
    reconciled := case when v_is_again then contacts else 0 end;
    update campaign_runner.launch_chunks s
    set
        "cursor" = v_next,
        contacts = s.contacts + v_synced.contacts,
        inserted = s.inserted + v_synced.inserted,
        excluded = campaign_runner.add_counts(s.excluded, v_synced.excluded),
        excluded_countries = array(
            select distinct k from unnest(s.excluded_countries || v_synced.excluded_countries) k
        ),
        worked_at = clock_timestamp()
    where s.launch_id = v_chunk.launch_id and s.lo = v_chunk.lo;
    is_whole := v_next is null and v_chunk."cursor" = v_first and v_chunk.hi = v_last;

    -- The last chunk to come through ends the pass. Where two come through at once, each may see the other's as
    -- unfinished: then the next step, which finds no chunk to work on, ends the pass.
    outcome := case
        when v_next is null
            and not exists (
                select from campaign_runner.launch_chunks s
                where s.launch_id = p_launch_id and s."cursor" is not null
            )
            then 'through'
        else 'progressed'
    end;
end;
$$;
comment on function campaign_runner.sync_chunk(bigint, campaign_runner.rules, integer, boolean) is
    'Syncs the next part of a chunk that no other step has. Outcome: progressed; laid_out, chunks wait for any step; '
    'through, all chunks are. is_whole: this step synced the whole audience. Raises CR001 where other steps have the '
    'chunks, CR003 where the part does not fit and may not be split.';
revoke execute on function campaign_runner.sync_chunk(bigint, campaign_runner.rules, integer, boolean)
    from public, anon, authenticated;
grant execute on function campaign_runner.sync_chunk(bigint, campaign_runner.rules, integer, boolean) to service_role;


create or replace function campaign_runner.end_pass(
    p_run_id uuid,
    p_launch_id bigint,
    p_is_whole boolean,
    p_max_rows integer,
    p_system_user_id uuid,
    p_now timestamptz
)
returns text
language plpgsql
volatile
set search_path = pg_catalog, pg_temp
set row_security = off
as $$
declare
    v_reconcile_factor constant integer := 4;
    v_launch campaign_runner.launches;
begin
    select * into v_launch
    from campaign_runner.launches l
    where l.id = p_launch_id and l.closed_at is null
    for update skip locked;
    if not found then
        raise exception 'another step ends the pass' using errcode = 'CR001';
    end if;
    -- Once more, under the lock: another step may have been here, and have laid out the next pass.
    if exists (
        select from campaign_runner.launch_chunks s where s.launch_id = p_launch_id and s."cursor" is not null
    ) then
        raise exception 'another step has laid out chunks' using errcode = 'CR001';
    end if;
    if v_launch.generates and v_launch.state = 'generating' and not p_is_whole then
        perform campaign_runner.begin_reconcile(p_launch_id, p_max_rows * v_reconcile_factor);
        return 'laid_out';
    end if;
    perform campaign_runner.mark_sending(p_run_id, v_launch, p_system_user_id, p_now);
    return 'launched';
end;
$$;
comment on function campaign_runner.end_pass(uuid, bigint, boolean, integer, uuid, timestamptz) is
    'Ends a pass all of whose chunks are through: begins the reconcile (laid_out), or marks the campaign sending '
    '(launched).';
revoke execute on function campaign_runner.end_pass(uuid, bigint, boolean, integer, uuid, timestamptz)
    from public, anon, authenticated;
grant execute on function campaign_runner.end_pass(uuid, bigint, boolean, integer, uuid, timestamptz) to service_role;


create or replace function campaign_runner.advance_launch(
    p_run_id uuid,
    p_campaign_id uuid,
    p_system_user_id uuid,
    p_system_user_roles text[],
    p_max_rows integer,
    p_may_split boolean,
    p_max_lateness_minutes integer,
    p_now timestamptz,
    out outcome text,
    out contacts bigint,
    out reconciled bigint
)
language plpgsql
volatile
set search_path = pg_catalog, pg_temp
set row_security = off
as $$
declare
    -- Longer than any schedule of calls: what a reconcile read before such a rest speaks of other contacts.
    v_stale_after constant interval := '1 day';
    v_campaign record;
    v_launch campaign_runner.launches;
    v_obstacle record;
    v_was_waiting boolean;
    v_rules campaign_runner.rules;
    v_chunk record;
    v_is_whole boolean := false;
begin
    contacts := 0;
    reconciled := 0;
    select * into v_launch
    from campaign_runner.launches l
    where l.campaign_id = p_campaign_id and l.closed_at is null;
    if not found or v_launch.state = 'opened' then
        v_launch := campaign_runner.lock_launch(p_campaign_id);
    end if;

    -- Read under the lock, so that a launch that a rival has just ended is seen: the list of the step is old.
    select d.organization_id, d.scheduled_at into v_campaign
    from campaign_runner.due_campaigns(array[p_campaign_id], p_now) d;
    if not found or not campaign_runner.is_launch_ready(v_launch, p_system_user_id, p_system_user_roles, p_now) then
        raise exception 'the campaign is not due any more' using errcode = 'CR001';
    end if;
    select * into v_obstacle
    from campaign_runner.obstacle(
        v_campaign.organization_id, v_campaign.scheduled_at, v_launch,
        p_system_user_id, p_system_user_roles, p_max_lateness_minutes, p_now
    );
    if found then
        raise exception '%', v_obstacle.message using errcode = v_obstacle.code;
    end if;

    v_was_waiting := v_launch.waiting is not null;
    if v_was_waiting or v_launch.troubled_at is not null or v_launch.failed_with is not null then
        perform from campaign_runner.launches l where l.id = v_launch.id for update skip locked;
        if not found then
            raise exception 'another step is at work on the launch' using errcode = 'CR001';
        end if;
        update campaign_runner.launches l
        set waiting = null, next_attempt_at = null, troubled_at = null, failed_with = null
        where l.id = v_launch.id;
    end if;
    v_rules := campaign_runner.read_rules(p_campaign_id);
    if v_launch.id is null or v_launch.state = 'opened' then
        v_launch := campaign_runner.begin_launch(p_campaign_id, v_rules);
    end if;

    -- A reconcile that waited starts over, too: its campaign may have been deleted meanwhile, with the recipients that it
    -- synced, and made again.
    if v_launch.rules_hash is distinct from v_rules.hash
        or v_launch.state = 'reconciling' and v_was_waiting
        or v_launch.state = 'reconciling' and clock_timestamp() - v_stale_after > (
            select max(s.worked_at) from campaign_runner.launch_chunks s where s.launch_id = v_launch.id
        )
    then
        perform campaign_runner.restart_reconcile(v_launch.id);
        outcome := 'laid_out';
        return;
    end if;
    if v_launch.generates then
        select * into v_chunk
        from campaign_runner.sync_chunk(v_launch.id, v_rules, p_max_rows, p_may_split);
        contacts := v_chunk.contacts;
        reconciled := v_chunk.reconciled;
        outcome := v_chunk.outcome;
        if outcome <> 'through' then
            return;
        end if;
        v_is_whole := v_chunk.is_whole;
    end if;
    outcome := campaign_runner.end_pass(p_run_id, v_launch.id, v_is_whole, p_max_rows, p_system_user_id, p_now);
end;
$$;
comment on function campaign_runner.advance_launch(uuid, uuid, uuid, text[], integer, boolean, integer, timestamptz) is
    'Does the next bounded piece of work on one due campaign, on so many contacts, of which so many were evaluated '
    'before. Outcome: launched, progressed, or laid_out: chunks wait for any step. Raises CR001 where another step '
    'has it, CR004 where another transaction has locked it, CR003 where the piece does not fit and may not be split, '
    'and any error of the campaign''s own.';
revoke execute on function campaign_runner.advance_launch(uuid, uuid, uuid, text[], integer, boolean, integer, timestamptz)
    from public, anon, authenticated;
grant execute on function campaign_runner.advance_launch(uuid, uuid, uuid, text[], integer, boolean, integer, timestamptz)
    to service_role;
