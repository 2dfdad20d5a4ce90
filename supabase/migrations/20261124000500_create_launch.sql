-- Purpose: the life of a launch: may it go ahead, claim, slice by slice, reconcile, flip; and what a failure leaves.
-- Tables:  reads the audience; writes campaign_recipients, campaigns.status, activity_events and the ledger
-- Rerun:   safe.
-- Undo:    supabase/uninstall.sql drops the schema campaign_runner.
--
-- SQLSTATEs of our own: CR001 not now, somebody holds it (nothing is recorded); CR002 too late; CR003 left for the next
-- step; CR403 no membership; CR404 unknown organization; CR409 the run is closed; CR410 unknown campaign; CR422 a trigger
-- of the project refused; CR500 misconfiguration.

create or replace function campaign_runner.lock_key(
    p_kind text,
    p_id uuid
)
returns bigint
language plpgsql
immutable
set search_path = ''
as $$
begin
    return hashtextextended('campaign_runner ' || p_kind || ' ' || p_id::text, 0);
end;
$$;
comment on function campaign_runner.lock_key(text, uuid) is
    'The advisory lock of a run (kind run), of its entry into the ledger (kind open), or of a claim (kind claim).';
revoke execute on function campaign_runner.lock_key(text, uuid) from public, anon, authenticated;
grant execute on function campaign_runner.lock_key(text, uuid) to service_role;


create or replace function campaign_runner.version(
    p_campaign_id uuid
)
returns text
language plpgsql
stable
set search_path = ''
set row_security = off
as $$
begin
    return (
        select concat_ws(' ', c.xmin, coalesce(r.xmin::text, '-'))
        from public.campaigns c
        left join public.campaign_target_rules r on r.campaign_id = c.id
        where c.id = p_campaign_id
    );
end;
$$;
comment on function campaign_runner.version(uuid) is
    'Changes with every edit of the campaign or its rules: an edit frees a launch that backs off or needs attention.';
revoke execute on function campaign_runner.version(uuid) from public, anon, authenticated;
grant execute on function campaign_runner.version(uuid) to service_role;


create or replace function campaign_runner.is_permitted(
    p_organization_id uuid,
    p_system_user_id uuid,
    p_system_user_roles text[]
)
returns boolean
language plpgsql
stable
set search_path = ''
set row_security = off
as $$
begin
    return (
        select exists (
            select from public.organization_members m
            where m.organization_id = p_organization_id
                and m.user_id = p_system_user_id
                and m.role::text = any (p_system_user_roles)
        )
    );
end;
$$;
comment on function campaign_runner.is_permitted(uuid, uuid, text[]) is
    'Whether the system user is a member of the organization in one of these roles.';
revoke execute on function campaign_runner.is_permitted(uuid, uuid, text[]) from public, anon, authenticated;
grant execute on function campaign_runner.is_permitted(uuid, uuid, text[]) to service_role;


create or replace function campaign_runner.obstacle(
    p_organization_id uuid,
    p_scheduled_at timestamptz,
    p_has_begun boolean,
    p_system_user_id uuid,
    p_system_user_roles text[],
    p_max_lateness_minutes integer,
    p_now timestamptz
)
returns table (code text, message text)
language plpgsql
stable
set search_path = ''
set row_security = off
as $$
begin
    return query
        select 'CR403', format(
            'The system user may not act for this organization. Add it to organization_members with one of the roles: %s.',
            array_to_string(p_system_user_roles, ', ')
        )
        where not campaign_runner.is_permitted(p_organization_id, p_system_user_id, p_system_user_roles)
        union all
        -- A launch that began in time is finished, however long it takes.
        select 'CR002', format(
            'The campaign is more than %s minutes late, so it was held. Schedule it again to launch it.',
            p_max_lateness_minutes
        )
        where not p_has_begun and p_scheduled_at < p_now - make_interval(mins => p_max_lateness_minutes)
        limit 1;
end;
$$;
comment on function campaign_runner.obstacle(uuid, timestamptz, boolean, uuid, text[], integer, timestamptz) is
    'Why a due campaign may not be launched, with its SQLSTATE: no row if it may. Launch and dry run both ask it.';
revoke execute on function campaign_runner.obstacle(uuid, timestamptz, boolean, uuid, text[], integer, timestamptz)
    from public, anon, authenticated;
grant execute on function campaign_runner.obstacle(uuid, timestamptz, boolean, uuid, text[], integer, timestamptz)
    to service_role;


create or replace function campaign_runner.would_generate(
    p_campaign_id uuid
)
returns boolean
language plpgsql
stable
set search_path = ''
set row_security = off
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
    'Whether a launch that begins now generates recipients: not where recipients exist that no launch of ours left behind.';
revoke execute on function campaign_runner.would_generate(uuid) from public, anon, authenticated;
grant execute on function campaign_runner.would_generate(uuid) to service_role;


create or replace function campaign_runner.is_free(
    p_launch campaign_runner.launches,
    p_system_user_id uuid,
    p_system_user_roles text[],
    p_now timestamptz
)
returns boolean
language plpgsql
stable
set search_path = ''
set row_security = off
as $$
begin
    return p_launch.next_attempt_at is null
        or p_launch.next_attempt_at <= p_now
        or p_launch.failed_version is distinct from campaign_runner.version(p_launch.campaign_id)
        or (
            p_launch.failed_with = 'CR403'
            and campaign_runner.is_permitted(p_launch.organization_id, p_system_user_id, p_system_user_roles)
        );
end;
$$;
comment on function campaign_runner.is_free(campaign_runner.launches, uuid, text[], timestamptz) is
    'Whether a launch may be worked on: not while it backs off, is held or needs attention, unless somebody edited the '
    'campaign since, or made the system user a member.';
revoke execute on function campaign_runner.is_free(campaign_runner.launches, uuid, text[], timestamptz)
    from public, anon, authenticated;
grant execute on function campaign_runner.is_free(campaign_runner.launches, uuid, text[], timestamptz) to service_role;


create or replace function campaign_runner.due_campaigns(
    p_organization_id uuid,
    p_system_user_id uuid,
    p_system_user_roles text[],
    p_now timestamptz default now()
)
returns table (campaign_id uuid, organization_id uuid, name text, scheduled_at timestamptz, launch campaign_runner.launches)
language plpgsql
stable
set search_path = ''
set row_security = off
as $$
#variable_conflict use_column
begin
    return query
        select c.id, c.organization_id, c.name::text, c.scheduled_at, l
        from public.campaigns c
        left join campaign_runner.launches l on l.campaign_id = c.id and l.closed_at is null
        where c.status = 'scheduled'
            and c.scheduled_at <= p_now
            and (p_organization_id is null or c.organization_id = p_organization_id)
            and (
                l.next_attempt_at is null
                or campaign_runner.is_free(l, p_system_user_id, p_system_user_roles, p_now)
            );
end;
$$;
comment on function campaign_runner.due_campaigns(uuid, uuid, text[], timestamptz) is
    'The campaigns that are due and free to be worked on, each with its open launch.';
revoke execute on function campaign_runner.due_campaigns(uuid, uuid, text[], timestamptz) from public, anon, authenticated;
grant execute on function campaign_runner.due_campaigns(uuid, uuid, text[], timestamptz) to service_role;


create or replace function campaign_runner.add_counts(
    p_left jsonb,
    p_right jsonb
)
returns jsonb
language plpgsql
immutable
set search_path = ''
as $$
begin
    return (
        select coalesce(jsonb_object_agg(total.key, total.n), '{}')
        from (
            select counted.key, sum(counted.value::bigint) as n
            from (
                select l.key, l.value from jsonb_each_text(p_left) l
                union all
                select r.key, r.value from jsonb_each_text(p_right) r
            ) counted
            group by counted.key
        ) total
    );
end;
$$;
comment on function campaign_runner.add_counts(jsonb, jsonb) is 'Adds two objects of reason to number.';
revoke execute on function campaign_runner.add_counts(jsonb, jsonb) from public, anon, authenticated;
grant execute on function campaign_runner.add_counts(jsonb, jsonb) to service_role;


create or replace function campaign_runner.cover(
    p_campaign_id uuid,
    p_organization_id uuid,
    p_fingerprint text,
    p_from uuid,
    p_to uuid,
    p_recipients bigint,
    p_digest bigint,
    out is_current boolean,
    out contacts bigint,
    out inserted bigint,
    out recipients bigint,
    out digest bigint,
    out excluded jsonb
)
language plpgsql
volatile
set search_path = ''
set row_security = off
-- A plan that was made while the table was small is kept, and would read all recipients of all campaigns for each range.
set enable_seqscan = off
as $$
#variable_conflict use_column
declare
    v_has_conflicts boolean := false;
begin
    -- `on conflict` costs an eighth of an insert, and hardly ever is there a conflict: only a row that somebody commits after
    -- the snapshot was taken. Then once more, with it.
    loop
        begin
            -- One statement, so one snapshot: the rules that the fingerprint vouches for are those that the audience was
            -- read by. In the order of contact ids, against deadlocks with another writer of the same rows.
            with current as materialized (
                select campaign_runner.fingerprint(p_campaign_id) = p_fingerprint as is_current
            ),
            judged as materialized (
                select c.contact_id, c.reason, c.change
                from campaign_runner.changes(p_campaign_id, p_from, p_to, p_recipients, p_digest) c
                where (select current.is_current from current)
            ),
            deleted as (
                -- An array, and not a join: on a table that was never analyzed the planner took one with a nested loop
                -- over `judged`, and 20,000 contacts cost 24 s instead of 0.5.
                delete from public.campaign_recipients r
                where r.campaign_id = p_campaign_id
                    and r.contact_id = any (array(select j.contact_id from judged j where j.change = 'delete'))
                    and r.status = 'pending'
            ),
            inserted_plainly as (
                insert into public.campaign_recipients (campaign_id, contact_id, organization_id, status)
                select p_campaign_id, j.contact_id, p_organization_id, 'pending'
                from judged j
                where j.change = 'insert' and not v_has_conflicts
                order by j.contact_id
                returning campaign_recipients.contact_id
            ),
            inserted_beside_others as (
                insert into public.campaign_recipients (campaign_id, contact_id, organization_id, status)
                select p_campaign_id, j.contact_id, p_organization_id, 'pending'
                from judged j
                where j.change = 'insert' and v_has_conflicts
                order by j.contact_id
                on conflict (campaign_id, contact_id) do nothing
                returning campaign_recipients.contact_id
            ),
            counted as (
                select
                    count(*) filter (where j.reason is distinct from 'foreign' and j.change is distinct from 'unchanged')
                        + coalesce(max(p_recipients) filter (where j.change = 'unchanged'), 0) as contacts,
                    count(*) filter (where j.change = 'insert') as wanted,
                    count(*) filter (where j.change = 'keep')
                        + coalesce(max(p_recipients) filter (where j.change = 'unchanged'), 0) as kept,
                    coalesce(bit_xor(uuid_hash_extended(j.contact_id, 0)) filter (where j.change = 'keep'), 0)
                        # coalesce(max(p_digest) filter (where j.change = 'unchanged'), 0) as digest
                from judged j
            ),
            added as (
                select count(*) as n, coalesce(bit_xor(uuid_hash_extended(i.contact_id, 0)), 0) as digest
                from (
                    select a.contact_id from inserted_plainly a
                    union all
                    select b.contact_id from inserted_beside_others b
                ) i
            ),
            reasons as (
                select j.reason, count(*) as n from judged j where j.reason <> 'foreign' group by j.reason
                union all
                -- A suppression list of the project's own. (A row that somebody has just written counts here as well,
                -- until the recheck before the flip finds one more than expected.)
                select 'dropped_by_trigger', c.wanted - a.n from counted c cross join added a where c.wanted > a.n
            )
            select
                (select coalesce(current.is_current, false) from current),
                c.contacts, a.n, c.kept + a.n, c.digest # a.digest,
                (select coalesce(jsonb_object_agg(reasons.reason, reasons.n), '{}') from reasons)
            from counted c
            cross join added a
            into is_current, contacts, inserted, recipients, digest, excluded;
            return;
        exception
            when unique_violation then
                if v_has_conflicts then
                    raise;
                end if;
                v_has_conflicts := true;
        end;
    end loop;
end;
$$;
comment on function campaign_runner.cover(uuid, uuid, text, uuid, uuid, bigint, bigint) is
    'Makes the pending recipients in the range what the rules say at this moment, and counts. Where these are just so many '
    'with this digest, which a pass before has left there, they are taken to be there still. Writes nothing where the '
    'fingerprint is not that of the campaign any more.';
revoke execute on function campaign_runner.cover(uuid, uuid, text, uuid, uuid, bigint, bigint)
    from public, anon, authenticated;
grant execute on function campaign_runner.cover(uuid, uuid, text, uuid, uuid, bigint, bigint) to service_role;


create or replace function campaign_runner.split_slice(
    p_launch_id bigint,
    p_lo uuid,
    p_organization_id uuid,
    p_max_rows integer
)
returns void
language plpgsql
volatile
set search_path = ''
set row_security = off
as $$
declare
    v_slices_at_most constant integer := 8;
    v_last constant uuid := 'ffffffff-ffff-ffff-ffff-ffffffffffff';
    v_half_a_step constant integer := greatest(p_max_rows / 2, 1);
    v_lo uuid := p_lo;
    v_bound uuid;
    v_contacts bigint;
    v_slices integer := v_slices_at_most;
    v_contacts_each integer := v_half_a_step;
begin
    -- Halves of a step, and a few at a time: what the first have taught makes the next ones larger.
    select count(*) into v_contacts
    from (
        select from public.contacts c
        where c.organization_id = p_organization_id and c.id >= p_lo and c.id < v_last
        limit p_max_rows::bigint * v_slices_at_most + 1
    ) ahead;
    -- The end of an audience in equal parts, and an even number of them, so that none runs alone for long: 100,000 in eight
    -- halves of a step, and a last slice of the rest, took 6 % longer.
    if v_contacts <= p_max_rows::bigint * v_slices_at_most then
        v_slices := least(v_slices_at_most, 2 * ceil(greatest(v_contacts, 1) / (2.0 * v_half_a_step)));
        v_contacts_each := greatest(ceil(v_contacts / v_slices::numeric), 1);
    end if;

    -- The index tells where the bounds lie, since ids need not be uniform.
    for i in 1..v_slices loop
        select c.id into v_bound
        from public.contacts c
        where c.organization_id = p_organization_id and c.id >= v_lo and c.id < v_last
        order by c.id
        offset v_contacts_each
        limit 1;
        exit when not found;

        update campaign_runner.launch_slices s set hi = v_bound where s.launch_id = p_launch_id and s.lo = v_lo;
        insert into campaign_runner.launch_slices (launch_id, lo, hi, "cursor")
        values (p_launch_id, v_bound, v_last, v_bound);
        v_lo := v_bound;
    end loop;
end;
$$;
comment on function campaign_runner.split_slice(bigint, uuid, uuid, integer) is
    'Cuts the last slice of a launch, which nobody has begun, into slices that fit in a step of so many contacts; '
    'of a long one, what is left over stays the last slice.';
revoke execute on function campaign_runner.split_slice(bigint, uuid, uuid, integer) from public, anon, authenticated;
grant execute on function campaign_runner.split_slice(bigint, uuid, uuid, integer) to service_role;


create or replace function campaign_runner.start_over(
    p_launch_id bigint
)
returns boolean
language plpgsql
volatile
set search_path = ''
set row_security = off
as $$
declare
    v_free bigint;
begin
    perform from campaign_runner.launches l
    where l.id = p_launch_id and l.closed_at is null
    for update skip locked;
    if not found then
        return false;
    end if;

    -- A slice that another step is at work on would come through with what it read before.
    select count(*) into v_free
    from (
        select from campaign_runner.launch_slices s
        where s.launch_id = p_launch_id
        order by s.lo
        for update skip locked
    ) free_slices;
    if v_free < (select count(*) from campaign_runner.launch_slices s where s.launch_id = p_launch_id) then
        return false;
    end if;

    update campaign_runner.launch_slices s
    set
        "cursor" = s.lo,
        contacts = 0,
        recipients = 0,
        digest = 0,
        recipients_before = case when s."cursor" is null then s.recipients end,
        digest_before = case when s."cursor" is null then s.digest end,
        excluded = '{}',
        worked_at = clock_timestamp()
    where s.launch_id = p_launch_id;

    update campaign_runner.launches l
    set
        state = 'reconciling',
        organization_id = c.organization_id,
        campaign_name = c.name,
        scheduled_at = c.scheduled_at,
        fingerprint = campaign_runner.fingerprint(c.id)
    from public.campaigns c
    where l.id = p_launch_id and c.id = l.campaign_id;
    return true;
end;
$$;
comment on function campaign_runner.start_over(bigint) is
    'Sends a launch back to reconciling from the start, by the schedule and rules of now. False: somebody is at work on it.';
revoke execute on function campaign_runner.start_over(bigint) from public, anon, authenticated;
grant execute on function campaign_runner.start_over(bigint) to service_role;


create or replace function campaign_runner.recheck_slices(
    p_launch_id bigint
)
returns bigint
language plpgsql
volatile
set search_path = ''
set row_security = off
as $$
declare
    v_rechecks_at_most constant integer := 10;
    v_total bigint;
    v_is_same boolean;
begin
    -- Behind the cursor somebody may have added rows by hand, deleted some, or put another campaign in the place of this
    -- one. Counts alone do not tell: one row more and one less look the same.
    with present as materialized (
        select s.launch_id, s.lo, found.recipients, s.recipients = found.recipients and s.digest = found.digest as is_same
        from campaign_runner.launch_slices s
        join campaign_runner.launches l on l.id = s.launch_id
        cross join lateral (
            select count(*) as recipients, coalesce(bit_xor(uuid_hash_extended(r.contact_id, 0)), 0) as digest
            from public.campaign_recipients r
            where (r.campaign_id, r.contact_id) >= (l.campaign_id, s.lo)
                and (r.campaign_id, r.contact_id) <= (l.campaign_id, s.hi)
                and (r.contact_id < s.hi or s.hi = 'ffffffff-ffff-ffff-ffff-ffffffffffff') is true
        ) found
        where s.launch_id = p_launch_id
    ),
    sent_back as (
        update campaign_runner.launch_slices s
        set
            "cursor" = s.lo,
            contacts = 0,
            recipients = 0,
            digest = 0,
            recipients_before = null,
            digest_before = null,
            excluded = '{}',
            worked_at = clock_timestamp()
        from present p
        where s.launch_id = p.launch_id and s.lo = p.lo and not p.is_same
    )
    select sum(p.recipients), bool_and(p.is_same) into v_total, v_is_same from present p;
    if v_is_same then
        return v_total;
    end if;

    update campaign_runner.launches l set rechecks = l.rechecks + 1 where l.id = p_launch_id;
    if (select l.rechecks >= v_rechecks_at_most from campaign_runner.launches l where l.id = p_launch_id) then
        raise exception
            'The recipients were not what was written, % times over: a trigger changes them, or somebody adds or deletes '
            'them all the time.', v_rechecks_at_most
            using errcode = 'CR422';
    end if;
    return null;
end;
$$;
comment on function campaign_runner.recheck_slices(bigint) is
    'The number of recipients, where each slice holds just the rows that the last pass left there. The slices that do not '
    'are sent through again, and the answer is NULL; at the tenth time CR422 is raised.';
revoke execute on function campaign_runner.recheck_slices(bigint) from public, anon, authenticated;
grant execute on function campaign_runner.recheck_slices(bigint) to service_role;


create or replace function campaign_runner.flip(
    p_run_id uuid,
    p_launch_id bigint,
    p_recipient_count bigint,
    p_system_user_id uuid,
    p_now timestamptz
)
returns void
language plpgsql
volatile
set search_path = ''
set row_security = off
as $$
declare
    v_launch campaign_runner.launches;
    v_campaign record;
    v_contacts bigint;
    v_inserted bigint;
    v_excluded jsonb;
begin
    select * into strict v_launch from campaign_runner.launches l where l.id = p_launch_id;

    -- All that takes time comes before the campaign is locked.
    select coalesce(sum(s.contacts), 0), coalesce(sum(s.inserted), 0)
    into v_contacts, v_inserted
    from campaign_runner.launch_slices s
    where s.launch_id = p_launch_id;
    select coalesce(jsonb_object_agg(total.key, total.n), '{}') into v_excluded
    from (
        select e.key, sum(e.value::bigint) as n
        from campaign_runner.launch_slices s
        cross join lateral jsonb_each_text(s.excluded) e
        where s.launch_id = p_launch_id
        group by e.key
    ) total;

    -- Somebody who is editing the campaign or its rules at this moment wins: we do not wait, we come back.
    select c.organization_id, c.name into v_campaign
    from public.campaigns c
    where c.id = v_launch.campaign_id and c.status = 'scheduled' and c.scheduled_at <= p_now
    for no key update skip locked;
    if not found then
        raise exception 'the campaign is locked or no longer due' using errcode = 'CR001';
    end if;
    perform from public.campaign_target_rules r where r.campaign_id = v_launch.campaign_id for share skip locked;
    if not found
        and exists (select from public.campaign_target_rules r where r.campaign_id = v_launch.campaign_id)
    then
        raise exception 'the rules are locked' using errcode = 'CR001';
    end if;
    if v_launch.fingerprint is distinct from campaign_runner.fingerprint(v_launch.campaign_id) then
        raise exception 'schedule or rules were changed' using errcode = 'CR001';
    end if;

    if exists (
        select from pg_catalog.pg_attribute a
        where a.attrelid = 'public.campaigns'::regclass and a.attname = 'updated_at' and not a.attisdropped
    ) then
        update public.campaigns c
        set status = 'sending', updated_at = p_now
        where c.id = v_launch.campaign_id and c.status = 'scheduled';
    else
        update public.campaigns c
        set status = 'sending'
        where c.id = v_launch.campaign_id and c.status = 'scheduled';
    end if;
    if not found then
        raise exception 'The status could not be set: a trigger on campaigns suppressed the update.'
            using errcode = 'CR422';
    end if;

    if to_regclass('public.activity_events') is not null then
        insert into public.activity_events (organization_id, user_id, event_type, payload)
        values (
            v_campaign.organization_id,
            p_system_user_id,
            'campaign.sending',
            jsonb_build_object(
                'campaign_id', v_launch.campaign_id,
                'name', v_campaign.name,
                'run_id', p_run_id,
                'previous_status', 'scheduled',
                'new_status', 'sending',
                'recipients_generated', v_inserted > 0,
                'recipient_count', p_recipient_count
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
        recipient_count = p_recipient_count,
        excluded = v_excluded
    where l.id = p_launch_id;
    delete from campaign_runner.launch_slices s where s.launch_id = p_launch_id;
end;
$$;
comment on function campaign_runner.flip(uuid, bigint, bigint, uuid, timestamptz) is
    'Sets the campaign to sending if it is still what the launch worked by, and writes the outcome. Raises CR001 where '
    'somebody holds the campaign or its rules, or has changed them.';
revoke execute on function campaign_runner.flip(uuid, bigint, bigint, uuid, timestamptz) from public, anon, authenticated;
grant execute on function campaign_runner.flip(uuid, bigint, bigint, uuid, timestamptz) to service_role;


create or replace function campaign_runner.claim(
    p_campaign_id uuid
)
returns campaign_runner.launches
language plpgsql
volatile
set search_path = ''
set row_security = off
as $$
declare
    v_launch campaign_runner.launches;
begin
    -- `insert … on conflict` would wait for a rival's claim; this lock does not. It is held to the end of the
    -- transaction, and whoever gets it sees what the one before has committed.
    if not pg_try_advisory_xact_lock(campaign_runner.lock_key('claim', p_campaign_id)) then
        raise exception 'another run claims the campaign' using errcode = 'CR001';
    end if;

    select * into v_launch
    from campaign_runner.launches l
    where l.campaign_id = p_campaign_id and l.closed_at is null;
    if not found then
        insert into campaign_runner.launches (campaign_id, organization_id, campaign_name, scheduled_at)
        select c.id, c.organization_id, c.name, c.scheduled_at
        from public.campaigns c
        where c.id = p_campaign_id and c.status = 'scheduled'
        returning * into v_launch;
        if not found then
            raise exception 'the campaign is no longer scheduled' using errcode = 'CR001';
        end if;
    end if;
    return v_launch;
end;
$$;
comment on function campaign_runner.claim(uuid) is
    'The open launch of a campaign, made where there is none, with its claim held to the end of the transaction. Raises '
    'CR001 where a rival holds it.';
revoke execute on function campaign_runner.claim(uuid) from public, anon, authenticated;
grant execute on function campaign_runner.claim(uuid) to service_role;


create or replace function campaign_runner.begin_launch(
    p_launch_id bigint
)
returns campaign_runner.launches
language plpgsql
volatile
set search_path = ''
set row_security = off
as $$
declare
    v_launch campaign_runner.launches;
begin
    -- The one moment at which it is decided whether recipients exist already. From here on every pending row of the
    -- campaign belongs to the launch, if it generates.
    update campaign_runner.launches l
    set
        state = 'generating',
        generates = campaign_runner.would_generate(c.id),
        organization_id = c.organization_id,
        campaign_name = c.name,
        scheduled_at = c.scheduled_at,
        fingerprint = campaign_runner.fingerprint(c.id)
    from public.campaigns c
    where l.id = p_launch_id and c.id = l.campaign_id
    returning l.* into strict v_launch;

    if v_launch.generates then
        insert into campaign_runner.launch_slices (launch_id, lo, hi, "cursor")
        values (
            v_launch.id,
            '00000000-0000-0000-0000-000000000000',
            'ffffffff-ffff-ffff-ffff-ffffffffffff',
            '00000000-0000-0000-0000-000000000000'
        );
    end if;
    return v_launch;
end;
$$;
comment on function campaign_runner.begin_launch(bigint) is
    'Takes a claimed launch to generating: decides whether it generates, and lays out its first slice.';
revoke execute on function campaign_runner.begin_launch(bigint) from public, anon, authenticated;
grant execute on function campaign_runner.begin_launch(bigint) to service_role;


create or replace function campaign_runner.begin_reconcile(
    p_launch_id bigint,
    p_max_rows integer
)
returns void
language plpgsql
volatile
set search_path = ''
set row_security = off
as $$
declare
    v_contacts bigint;
begin
    select sum(s.contacts) into v_contacts from campaign_runner.launch_slices s where s.launch_id = p_launch_id;

    -- One slice, where a step can reconcile that, so that the audience is exact as of the flip itself. Otherwise neighbours
    -- become one, by where their middles lie, up to a quarter of all: with eighths, whose contacts lie further apart, and
    -- whose addresses are looked for below by as many walks, 100,000 took a twentieth longer. And up to three quarters of
    -- what a step can reconcile, since they may be longer by one slice.
    with grouped as (
        select
            s.lo, s.hi, s.inserted, s.recipients, s.digest,
            case
                when v_contacts > p_max_rows
                then div(
                    sum(s.contacts) over (order by s.lo) - s.contacts / 2.0,
                    least(ceil(v_contacts / 4.0), ceil(p_max_rows * 0.75))
                )
            end as piece
        from campaign_runner.launch_slices s
        where s.launch_id = p_launch_id
    ),
    merged as (
        select
            (array_agg(g.lo order by g.lo))[1] as lo, (array_agg(g.hi order by g.lo desc))[1] as hi,
            sum(g.inserted) as inserted, sum(g.recipients) as recipients, bit_xor(g.digest) as digest
        from grouped g
        group by g.piece
    ),
    deleted as (
        delete from campaign_runner.launch_slices s
        where s.launch_id = p_launch_id and s.lo not in (select m.lo from merged m)
    )
    update campaign_runner.launch_slices s
    set hi = m.hi, inserted = m.inserted, recipients = m.recipients, digest = m.digest
    from merged m
    where s.launch_id = p_launch_id and s.lo = m.lo;
    if not campaign_runner.start_over(p_launch_id) then
        raise exception 'somebody is at work on the launch' using errcode = 'CR001';
    end if;
end;
$$;
comment on function campaign_runner.begin_reconcile(bigint, integer) is
    'Takes a launch whose slices are all generated to reconciling, in fewer slices: in one, where a step, which reconciles '
    'up to so many rows, can reconcile all.';
revoke execute on function campaign_runner.begin_reconcile(bigint, integer) from public, anon, authenticated;
grant execute on function campaign_runner.begin_reconcile(bigint, integer) to service_role;


create or replace function campaign_runner.advance(
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
set search_path = ''
set row_security = off
as $$
declare
    -- Reconciling reads as much as generating but writes almost nothing.
    v_reconcile_factor constant integer := 4;
    v_stale_after constant interval := '2 minutes';
    v_last constant uuid := 'ffffffff-ffff-ffff-ffff-ffffffffffff';
    v_campaign record;
    v_launch campaign_runner.launches;
    v_obstacle record;
    v_slice campaign_runner.launch_slices;
    v_max_rows integer := p_max_rows;
    v_is_again boolean;
    v_next uuid;
    v_is_written boolean;
    v_covered record;
    v_is_whole boolean := false;
    v_recipient_count bigint;
begin
    contacts := 0;
    reconciled := 0;

    select * into v_launch
    from campaign_runner.launches l
    where l.campaign_id = p_campaign_id and l.closed_at is null;
    if not found or v_launch.state = 'claimed' then
        v_launch := campaign_runner.claim(p_campaign_id);
    end if;

    -- Read after the claim, so that what a rival has just finished is seen: the list of the step may be old.
    select c.organization_id, c.scheduled_at into v_campaign
    from public.campaigns c
    where c.id = p_campaign_id and c.status = 'scheduled' and c.scheduled_at <= p_now;
    if not found or not campaign_runner.is_free(v_launch, p_system_user_id, p_system_user_roles, p_now) then
        raise exception 'the campaign is not due any more' using errcode = 'CR001';
    end if;

    select * into v_obstacle
    from campaign_runner.obstacle(
        v_campaign.organization_id, v_campaign.scheduled_at, v_launch.state <> 'claimed',
        p_system_user_id, p_system_user_roles, p_max_lateness_minutes, p_now
    );
    if found then
        raise exception '%', v_obstacle.message using errcode = v_obstacle.code;
    end if;

    if v_launch.state = 'claimed' then
        v_launch := campaign_runner.begin_launch(v_launch.id);
    end if;

    if v_launch.generates then
        -- A reconcile that stood still speaks of contacts as they were then.
        if v_launch.state = 'reconciling'
            and clock_timestamp() - v_stale_after > (
                select max(s.worked_at) from campaign_runner.launch_slices s where s.launch_id = v_launch.id
            )
        then
            if not campaign_runner.start_over(v_launch.id) then
                raise exception 'somebody is at work on the launch' using errcode = 'CR001';
            end if;
            select * into strict v_launch from campaign_runner.launches l where l.id = v_launch.id;
        end if;
        select * into v_slice
        from campaign_runner.launch_slices s
        where s.launch_id = v_launch.id and s."cursor" is not null
        order by s.lo
        limit 1
        for update skip locked;

        if found then
            -- After an edit in mid-generation there are slices in a reconcile that nobody has written yet.
            v_is_again := v_launch.state = 'reconciling'
                and (v_slice.inserted > 0 or v_slice.recipients_before is not null);
            if v_is_again then
                v_max_rows := p_max_rows * v_reconcile_factor;
            end if;
            select c.id into v_next
            from public.contacts c
            where c.organization_id = v_launch.organization_id
                and c.id >= v_slice."cursor"
                and c.id < v_slice.hi -- the highest uuid is no bound: it belongs to the range before it
            order by c.id
            offset v_max_rows
            limit 1;
            -- Half a bite would make two steps, and a reconcile, of a campaign that fits in one.
            if v_next is not null and not p_may_split then
                raise exception 'the campaign does not fit in what is left of the step' using errcode = 'CR003';
            end if;
            -- What is not laid out yet is cut first, and by a step that does nothing else, so that others begin at once. Only
            -- what fits in one step is left whole.
            if v_next is not null and not v_is_again and v_slice."cursor" = v_slice.lo and v_slice.hi = v_last then
                perform campaign_runner.split_slice(v_launch.id, v_slice.lo, v_launch.organization_id, p_max_rows);
                outcome := 'laid_out';
                return;
            end if;

            -- Rows that were once found to be others than those that were written are not believed again.
            v_is_written := v_launch.rechecks = 0 and v_slice."cursor" = v_slice.lo and v_next is null;
            select * into v_covered
            from campaign_runner.cover(
                p_campaign_id, v_launch.organization_id, v_launch.fingerprint,
                v_slice."cursor", coalesce(v_next, v_slice.hi),
                case when v_is_written then v_slice.recipients_before end,
                case when v_is_written then v_slice.digest_before end
            );
            if not v_covered.is_current then
                if not campaign_runner.start_over(v_launch.id) then
                    raise exception 'somebody is at work on the launch' using errcode = 'CR001';
                end if;
                outcome := 'laid_out';
                return;
            end if;
            outcome := 'progressed';

            contacts := v_covered.contacts;
            reconciled := case when v_is_again then contacts else 0 end;
            update campaign_runner.launch_slices s
            set
                "cursor" = v_next,
                contacts = s.contacts + v_covered.contacts,
                inserted = s.inserted + v_covered.inserted,
                recipients = s.recipients + v_covered.recipients,
                digest = s.digest # v_covered.digest,
                excluded = case
                    when s.excluded = '{}' then v_covered.excluded
                    else campaign_runner.add_counts(s.excluded, v_covered.excluded)
                end,
                worked_at = clock_timestamp()
            where s.launch_id = v_slice.launch_id and s.lo = v_slice.lo;

            if v_next is not null then
                return;
            end if;
            v_is_whole := v_slice."cursor" = '00000000-0000-0000-0000-000000000000' and v_slice.hi = v_last;
        end if;

        -- The last slice to come through ends the pass. Where two come through at once, each may see the other's as
        -- unfinished: then the next step, which finds no slice to work on, ends it.
        if exists (
            select from campaign_runner.launch_slices s where s.launch_id = v_launch.id and s."cursor" is not null
        ) then
            if v_slice.launch_id is null then
                raise exception 'the slices are taken' using errcode = 'CR001';
            end if;
            return;
        end if;
    end if;

    perform from campaign_runner.launches l
    where l.id = v_launch.id and l.closed_at is null and l.state = v_launch.state
    for update skip locked;
    if not found then
        raise exception 'another step ends the launch' using errcode = 'CR001';
    end if;
    -- Once more, under the lock: another step may have been here, and have sent a slice back.
    if exists (
        select from campaign_runner.launch_slices s where s.launch_id = v_launch.id and s."cursor" is not null
    ) then
        raise exception 'another step has laid out slices' using errcode = 'CR001';
    end if;
    if v_launch.generates and v_launch.state = 'generating' and not v_is_whole then
        perform campaign_runner.begin_reconcile(v_launch.id, p_max_rows * v_reconcile_factor);
        outcome := 'laid_out';
        return;
    end if;

    if v_launch.generates then
        -- The rules may have changed after the last slice came through, where that step could not flip. (Of an audience that
        -- is generated in one piece the flip finds out soon enough.)
        if v_launch.state = 'reconciling'
            and v_launch.fingerprint is distinct from campaign_runner.fingerprint(p_campaign_id)
        then
            if not campaign_runner.start_over(v_launch.id) then
                raise exception 'somebody is at work on the launch' using errcode = 'CR001';
            end if;
            outcome := 'laid_out';
            return;
        end if;
        v_recipient_count := campaign_runner.recheck_slices(v_launch.id);
        if v_recipient_count is null then
            outcome := 'laid_out';
            return;
        end if;
    else
        select count(*) into v_recipient_count from public.campaign_recipients r where r.campaign_id = p_campaign_id;
    end if;
    perform campaign_runner.flip(p_run_id, v_launch.id, v_recipient_count, p_system_user_id, p_now);
    outcome := 'launched';
end;
$$;
comment on function campaign_runner.advance(uuid, uuid, uuid, text[], integer, boolean, integer, timestamptz) is
    'Does the next bounded piece of work on one due campaign, on so many contacts, of which so many were judged before. '
    'Outcome: launched, progressed, or laid_out: slices wait for whoever comes. Raises CR001 where somebody else holds it, '
    'CR003 where the piece does not fit and may not be split, and any error of the campaign''s own.';
revoke execute on function campaign_runner.advance(uuid, uuid, uuid, text[], integer, boolean, integer, timestamptz)
    from public, anon, authenticated;
grant execute on function campaign_runner.advance(uuid, uuid, uuid, text[], integer, boolean, integer, timestamptz)
    to service_role;
