-- Purpose: what the runner looks like from outside (GET /health, `python -m runner status`), and the pruning of the ledger.
-- Tables:  reads campaigns, contacts and the ledger; prune deletes old rows of the ledger
-- Rerun:   safe.
-- Undo:    supabase/uninstall.sql drops the functions and the schema campaign_runner.
--
-- A monitor asks every minute, and a terminal every second, whatever the tables hold: every read goes by an index, and
-- every list and count has an end. (What one organization has is looked for among what all have: where a million campaigns
-- are due, that takes 2 s.)

create or replace function campaign_runner.contact_count(
    p_organization_id uuid,
    out contacts bigint,
    out is_estimate boolean
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
declare
    v_counted_at_most constant integer := 100000;
begin
    select count(*) into contacts
    from (
        select from public.contacts c
        where c.organization_id = any (array[p_organization_id])
        order by c.organization_id, c.id
        limit v_counted_at_most + 1
    ) counted;
    is_estimate := contacts > v_counted_at_most;
    if is_estimate then
        -- What autovacuum last found. Where it knows nothing of the organization, or less than was just counted, there is
        -- no number: none is better than a wrong one.
        select max(t.reltuples * common.frequency)::bigint into contacts
        from pg_catalog.pg_class t
        join pg_catalog.pg_stats s
            on s.schemaname = 'public' and s.tablename = 'contacts' and s.attname = 'organization_id'
        cross join lateral unnest(s.most_common_vals::text::uuid[], s.most_common_freqs) as common (value, frequency)
        where t.oid = 'public.contacts'::regclass and common.value = p_organization_id;
        if contacts <= v_counted_at_most then
            contacts := null;
        end if;
    end if;
end;
$$;
comment on function campaign_runner.contact_count(uuid) is
    'The contacts of an organization: counted up to 100,000, beyond that estimated from the statistics of the table, NULL '
    'where they do not know.';
revoke execute on function campaign_runner.contact_count(uuid) from public, anon, authenticated;
grant execute on function campaign_runner.contact_count(uuid) to service_role;


create or replace function campaign_runner.condition(
    p_launch campaign_runner.launches,
    p_status text,
    p_is_due boolean,
    p_is_ready boolean
)
returns text
language sql
immutable
return case
    when (p_launch).closed_at is not null then (p_launch).state
    when p_status = 'sending' and (p_launch).generates then 'taken_over'
    when p_is_due is not true then 'resting'
    when (p_launch).waiting in ('held', 'needs_attention') then case when p_is_ready then 'ready' else (p_launch).waiting end
    when (p_launch).failed_with is not null then 'failing'
    else (p_launch).state
end;
comment on function campaign_runner.condition(campaign_runner.launches, text, boolean, boolean) is
    'What a launch is at, of a campaign with this status (NULL: deleted). launched and abandoned: over; taken_over: a '
    'person set the campaign to sending in the middle of the launch; resting: the campaign is not due; held and '
    'needs_attention: waits for a person; ready: such a launch whose cause has gone; failing: failed, and tried again by '
    'itself; else generating or reconciling.';
revoke execute on function campaign_runner.condition(campaign_runner.launches, text, boolean, boolean)
    from public, anon, authenticated;
grant execute on function campaign_runner.condition(campaign_runner.launches, text, boolean, boolean) to service_role;


create or replace function campaign_runner.open_launches(
    p_organization_id uuid,
    p_system_user_id uuid,
    p_system_user_roles text[],
    p_at_most integer,
    p_now timestamptz default now()
)
returns table (launch campaign_runner.launches, name text, scheduled_at timestamptz, condition text)
language plpgsql
stable
set search_path = pg_catalog, pg_temp
set row_security = off
as $$
#variable_conflict use_column
begin
    return query
        with page as materialized (
            (
                select l as launch
                from campaign_runner.launches l
                where l.closed_at is null
                    and l.waiting is null
                    and (p_organization_id is null or l.organization_id = p_organization_id)
                order by l.id
                limit p_at_most
            )
            union all
            (
                select l
                from campaign_runner.launches l
                where l.closed_at is null
                    and l.waiting = 'backoff'
                    and (p_organization_id is null or l.organization_id = p_organization_id)
                order by l.next_attempt_at, l.id
                limit p_at_most
            )
            union all
            (
                select l
                from campaign_runner.launches l
                where l.closed_at is null
                    and l.waiting in ('held', 'needs_attention')
                    and (p_organization_id is null or l.organization_id = p_organization_id)
                order by l.id desc
                limit p_at_most
            )
        )
        select
            p.launch,
            coalesce(c.name::text, (p.launch).campaign_name),
            c.scheduled_at,
            campaign_runner.condition(
                p.launch, c.status::text, d.campaign_id is not null,
                d.campaign_id is not null
                    and (p.launch).waiting in ('held', 'needs_attention')
                    and campaign_runner.is_launch_ready(p.launch, p_system_user_id, p_system_user_roles, p_now)
            )
        from page p
        left join public.campaigns c on c.id = (p.launch).campaign_id
        left join campaign_runner.due_campaigns(array(select (q.launch).campaign_id from page q), p_now) d
            on d.campaign_id = (p.launch).campaign_id;
end;
$$;
comment on function campaign_runner.open_launches(uuid, uuid, text[], integer, timestamptz) is
    'The open launches with their conditions: up to p_at_most of those that wait for nothing, as many in backoff, and the '
    'newest ones that wait for a person.';
revoke execute on function campaign_runner.open_launches(uuid, uuid, text[], integer, timestamptz)
    from public, anon, authenticated;
grant execute on function campaign_runner.open_launches(uuid, uuid, text[], integer, timestamptz) to service_role;


create or replace function campaign_runner.organization_name(
    p_organization_id uuid
)
returns text
language plpgsql
stable
set search_path = pg_catalog, pg_temp
set row_security = off
as $$
begin
    -- A project's own table may have no column of this name.
    return (select to_jsonb(o) ->> 'name' from public.organizations o where o.id = p_organization_id);
end;
$$;
comment on function campaign_runner.organization_name(uuid) is 'The name of an organization, for a list. NULL: it has none.';
revoke execute on function campaign_runner.organization_name(uuid) from public, anon, authenticated;
grant execute on function campaign_runner.organization_name(uuid) to service_role;


create or replace function campaign_runner.describe_campaign(
    p_campaign_id uuid,
    p_organization_id uuid,
    p_name text,
    p_scheduled_at timestamptz
)
returns jsonb
language plpgsql
stable
set search_path = pg_catalog, pg_temp
set row_security = off
as $$
begin
    return jsonb_build_object(
        'campaign_id', p_campaign_id,
        'organization_id', p_organization_id,
        'organization_name', campaign_runner.organization_name(p_organization_id),
        'name', p_name,
        -- Infinite, or before Christ: there is no such time in JSON.
        'scheduled_at', case when p_scheduled_at > '0001-01-02' and isfinite(p_scheduled_at) then p_scheduled_at end
    );
end;
$$;
comment on function campaign_runner.describe_campaign(uuid, uuid, text, timestamptz) is
    'A campaign for a list: its id, name, organization and schedule.';
revoke execute on function campaign_runner.describe_campaign(uuid, uuid, text, timestamptz) from public, anon, authenticated;
grant execute on function campaign_runner.describe_campaign(uuid, uuid, text, timestamptz) to service_role;


create or replace function campaign_runner.describe_launch(
    p_launch campaign_runner.launches,
    p_name text,
    p_scheduled_at timestamptz,
    p_contacts bigint,
    p_is_estimate boolean,
    p_with_details boolean,
    p_now timestamptz
)
returns jsonb
language plpgsql
stable
set search_path = pg_catalog, pg_temp
set row_security = off
as $$
declare
    v_stalled_after constant interval := '2 minutes'; -- no caller rests for longer between its steps
    v_done record;
    v_total bigint;
begin
    -- Neither the cursors nor the number of finished chunks tell how far a pass is: ids need not be uniform, and the last
    -- chunk is cut up only when its turn comes. So count the contacts that this pass has evaluated.
    select
        coalesce(sum(s.contacts), 0)::bigint as contacts,
        coalesce(sum(s.inserted), 0)::bigint as inserted,
        max(s.worked_at) as worked_at
    into v_done
    from campaign_runner.launch_chunks s
    where s.launch_id = (p_launch).id;
    v_total := case when p_contacts is not null then greatest(p_contacts, v_done.contacts) end;

    return campaign_runner.describe_campaign(
        (p_launch).campaign_id, (p_launch).organization_id, p_name, p_scheduled_at
    )
    || jsonb_build_object(
        'state', (p_launch).state,
        'since', (p_launch).opened_at,
        'late_seconds', case when isfinite(p_scheduled_at) then floor(extract(epoch from p_now - p_scheduled_at))::bigint end,
        'contacts_done', v_done.contacts,
        'contacts_total', v_total,
        'is_total_estimated', p_is_estimate,
        'percent', case when v_total > 0 then floor(100.0 * v_done.contacts / v_total)::integer end,
        'recipients_inserted', v_done.inserted,
        'worked_at', v_done.worked_at,
        'stalled_since', case when v_done.worked_at < p_now - v_stalled_after then v_done.worked_at end,
        'attempts', (p_launch).attempts,
        'next_attempt_at', (p_launch).next_attempt_at,
        'failed_with', (p_launch).failed_with,
        'last_error', (p_launch).last_error,
        -- The words of the source that refused may hold row data.
        'detail', case when p_with_details then (p_launch).last_error_detail end
    );
end;
$$;
comment on function campaign_runner.describe_launch(
    campaign_runner.launches, text, timestamptz, bigint, boolean, boolean, timestamptz
) is
    'An open launch, for a list: whose it is, how far its present pass is, and what went wrong.';
revoke execute on function campaign_runner.describe_launch(
    campaign_runner.launches, text, timestamptz, bigint, boolean, boolean, timestamptz
) from public, anon, authenticated;
grant execute on function campaign_runner.describe_launch(
    campaign_runner.launches, text, timestamptz, bigint, boolean, boolean, timestamptz
) to service_role;


create or replace function campaign_runner.oldest_due(
    p_organization_id uuid,
    p_system_user_id uuid,
    p_system_user_roles text[],
    p_open_at_most integer,
    p_at_most integer,
    p_now timestamptz default now()
)
returns table (campaign_id uuid, organization_id uuid, name text, scheduled_at timestamptz, since timestamptz)
language plpgsql
stable
set search_path = pg_catalog, pg_temp
set row_security = off
as $$
#variable_conflict use_column
begin
    -- Not the age of the schedule: the runner works on a launch, or has tried it. And not of all due campaigns: where
    -- nothing calls the runner, these are all campaigns.
    return query
        with scheduled_campaigns as materialized (
            -- A schedule of '-infinity' has no age, and would hide the others.
            select c.id, c.organization_id, coalesce(c.name::text, '') as name, c.scheduled_at
            from public.campaigns c
            where c.status = 'scheduled'
                and c.scheduled_at <= p_now
                and c.scheduled_at > '-infinity'
                and (p_organization_id is null or c.organization_id = p_organization_id)
            order by c.scheduled_at
            limit p_at_most
        ),
        due_campaigns as materialized (
            select s.*
            from scheduled_campaigns s
            join campaign_runner.due_campaigns(array(select a.id from scheduled_campaigns a), p_now) d
                on d.campaign_id = s.id
        ),
        untried as (
            select d.id, d.organization_id, d.name, d.scheduled_at, d.scheduled_at as since
            from due_campaigns d
            where not exists (
                select from campaign_runner.launches l where l.campaign_id = d.id and l.closed_at is null
            )
            order by d.scheduled_at
            limit 1
        ),
        beyond as (
            -- There are more than were looked at, and each of those was tried. Only the last call tells whether one behind
            -- them waits.
            select d.id, d.organization_id, d.name, d.scheduled_at, greatest(d.scheduled_at, t.at) as since
            from due_campaigns d
            cross join campaign_runner.last_call t
            where (select count(*) from scheduled_campaigns) >= p_at_most and not exists (select from untried)
            order by d.scheduled_at desc
            limit 1
        ),
        tried as (
            select
                (o.launch).campaign_id,
                (o.launch).organization_id,
                o.name,
                o.scheduled_at,
                greatest(
                    o.scheduled_at,
                    (o.launch).opened_at,
                    (o.launch).next_attempt_at,
                    (
                        select max(s.worked_at)
                        from campaign_runner.launch_chunks s
                        where s.launch_id = (o.launch).id
                    )
                )
            from campaign_runner.open_launches(
                p_organization_id, p_system_user_id, p_system_user_roles, p_open_at_most, p_now
            ) o
            where o.condition in ('ready', 'generating', 'reconciling')
                or (o.condition = 'failing' and coalesce((o.launch).next_attempt_at <= p_now, true))
        )
        -- A step that is under way may have worked on it after this transaction began.
        select due.id, due.organization_id, due.name, due.scheduled_at, least(due.since, p_now)
        from (
            select * from untried
            union all
            select * from beyond
            union all
            select * from tried
        ) due
        where isfinite(due.since)
        order by due.since, due.id
        limit 1;
end;
$$;
comment on function campaign_runner.oldest_due(uuid, uuid, text[], integer, integer, timestamptz) is
    'The ready campaign that has waited longest for a run: since its schedule, the end of its backoff, or the last work on '
    'it. No row: none waits. It looks at p_open_at_most open launches of each kind, and at the p_at_most campaigns with '
    'the oldest schedules.';
revoke execute on function campaign_runner.oldest_due(uuid, uuid, text[], integer, integer, timestamptz)
    from public, anon, authenticated;
grant execute on function campaign_runner.oldest_due(uuid, uuid, text[], integer, integer, timestamptz) to service_role;


create or replace function campaign_runner.launch_lists(
    p_organization_id uuid,
    p_system_user_id uuid,
    p_system_user_roles text[],
    p_with_details boolean,
    p_open_at_most integer,
    p_shown_at_most integer,
    p_now timestamptz
)
returns jsonb
language plpgsql
stable
set search_path = pg_catalog, pg_temp
set row_security = off
as $$
begin
    return (
        with listed as materialized (
            select
                lists.name as list,
                o.launch,
                o.name,
                o.scheduled_at,
                row_number() over (
                    partition by lists.name
                    order by
                        (o.launch).next_attempt_at,
                        case when lists.name = 'generating' then (o.launch).id else -(o.launch).id end
                ) as position
            from campaign_runner.open_launches(
                p_organization_id, p_system_user_id, p_system_user_roles, p_open_at_most, p_now
            ) o
            join (
                values
                    ('generating', 'generating'), ('generating', 'reconciling'), ('backing_off', 'failing'),
                    ('held', 'held'), ('needs_attention', 'needs_attention'), ('taken_over', 'taken_over')
            ) as lists (name, condition) on lists.condition = o.condition
        ),
        shown as materialized (
            select l.* from listed l where l.position <= p_shown_at_most
        ),
        totals as materialized (
            select o.organization_id, counted.contacts, counted.is_estimate
            from (select distinct (s.launch).organization_id from shown s where s.list = 'generating') o
            cross join lateral campaign_runner.contact_count(o.organization_id) counted
        )
        select jsonb_object_agg(
            lists.name,
            (
                select jsonb_build_object('count', count(*), 'is_capped', count(*) >= p_open_at_most)
                from listed l
                where l.list = lists.name
            )
            || jsonb_build_object(
                'campaigns', coalesce(
                    (
                        select jsonb_agg(
                            campaign_runner.describe_launch(
                                s.launch, s.name, s.scheduled_at, t.contacts, coalesce(t.is_estimate, false),
                                p_with_details, p_now
                            )
                            order by s.position
                        )
                        from shown s
                        left join totals t on t.organization_id = (s.launch).organization_id
                        where s.list = lists.name
                    ),
                    '[]'
                )
            )
        )
        from (values ('generating'), ('backing_off'), ('held'), ('needs_attention'), ('taken_over')) as lists (name)
    );
end;
$$;
comment on function campaign_runner.launch_lists(uuid, uuid, text[], boolean, integer, integer, timestamptz) is
    'The open launches of due campaigns in lists: generating (or reconciling), backing_off (failed, and tried again), held, '
    'needs_attention, and taken_over, which a person set to sending. Each list shows p_shown_at_most.';
revoke execute on function campaign_runner.launch_lists(uuid, uuid, text[], boolean, integer, integer, timestamptz)
    from public, anon, authenticated;
grant execute on function campaign_runner.launch_lists(uuid, uuid, text[], boolean, integer, integer, timestamptz)
    to service_role;


create or replace function campaign_runner.scheduled_lists(
    p_organization_id uuid,
    p_counted_at_most integer,
    p_shown_at_most integer,
    p_now timestamptz
)
returns jsonb
language plpgsql
stable
set search_path = pg_catalog, pg_temp
set row_security = off
as $$
begin
    return (
        with due as (
            select count(*) as n
            from campaign_runner.due_campaigns(
                array(
                    select c.id
                    from public.campaigns c
                    where c.status = 'scheduled'
                        and c.scheduled_at <= p_now
                        and (p_organization_id is null or c.organization_id = p_organization_id)
                    limit p_counted_at_most + 1
                ),
                p_now
            )
        ),
        unscheduled as materialized (
            select c.id, c.organization_id, coalesce(c.name::text, '') as name, row_number() over () as position
            from public.campaigns c
            where c.status = 'scheduled'
                and c.scheduled_at is null
                and (p_organization_id is null or c.organization_id = p_organization_id)
            limit p_counted_at_most + 1
        ),
        upcoming as materialized (
            select c.id, c.organization_id, coalesce(c.name::text, '') as name, c.scheduled_at
            from public.campaigns c
            where c.status = 'scheduled'
                and c.scheduled_at > p_now
                and (p_organization_id is null or c.organization_id = p_organization_id)
            order by c.scheduled_at, c.id
            limit 10
        )
        select jsonb_build_object(
            'due', (
                select jsonb_build_object(
                    'count', least(d.n, p_counted_at_most), 'is_capped', d.n > p_counted_at_most
                )
                from due d
            ),
            'unscheduled', (
                select jsonb_build_object(
                    'count', least(count(*), p_counted_at_most),
                    'is_capped', count(*) > p_counted_at_most,
                    'campaigns', coalesce(
                        jsonb_agg(
                            campaign_runner.describe_campaign(u.id, u.organization_id, u.name, null) order by u.position
                        ) filter (where u.position <= p_shown_at_most),
                        '[]'
                    )
                )
                from unscheduled u
            ),
            'upcoming', (
                select coalesce(
                    jsonb_agg(
                        campaign_runner.describe_campaign(u.id, u.organization_id, u.name, u.scheduled_at)
                        order by u.scheduled_at, u.id
                    ),
                    '[]'
                )
                from upcoming u
            )
        )
    );
end;
$$;
comment on function campaign_runner.scheduled_lists(uuid, integer, integer, timestamptz) is
    'The scheduled campaigns: how many are due, which have no time, and the next ten. Counts end at p_counted_at_most.';
revoke execute on function campaign_runner.scheduled_lists(uuid, integer, integer, timestamptz)
    from public, anon, authenticated;
grant execute on function campaign_runner.scheduled_lists(uuid, integer, integer, timestamptz) to service_role;


create or replace function campaign_runner.last_runs(
    p_at_most integer
)
returns jsonb
language plpgsql
stable
set search_path = pg_catalog, pg_temp
set row_security = off
as $$
begin
    return (
        select coalesce(
            jsonb_agg(
                jsonb_build_object(
                    'run_id', r.id,
                    'opened_at', r.opened_at,
                    'closed_at', r.closed_at,
                    'launched', (select count(*) from campaign_runner.launches l where l.run_id = r.id),
                    'failed', (
                        select count(*)
                        from campaign_runner.run_errors e
                        where e.run_id = r.id
                            and not exists (
                                select from campaign_runner.launches later
                                where later.run_id = r.id and later.campaign_id = e.campaign_id
                            )
                    ),
                    'duration_seconds', round(extract(epoch from r.closed_at - r.opened_at), 1)
                )
                order by r.opened_at desc
            ),
            '[]'
        )
        from (select * from campaign_runner.runs order by opened_at desc limit p_at_most) r
    );
end;
$$;
comment on function campaign_runner.last_runs(integer) is 'The last runs that did something, the newest first.';
revoke execute on function campaign_runner.last_runs(integer) from public, anon, authenticated;
grant execute on function campaign_runner.last_runs(integer) to service_role;


create or replace function public.campaign_runner_health(
    p_organization_id uuid,
    p_system_user_id uuid,
    p_system_user_roles text[],
    p_with_details boolean default false
)
returns jsonb
language plpgsql
stable
set search_path = pg_catalog, pg_temp
set row_security = off
set jit = off
-- A lock on a table is told, and not waited for.
set lock_timeout = '2s'
-- For all that it calls too. Where a page is short, its index must be read in its order: at a million held launches a bitmap
-- of them took 6 s. And a plan that was made while a table was small is kept.
set enable_seqscan = off
set enable_bitmapscan = off
as $$
declare
    v_shown_at_most constant integer := 20;
    v_open_at_most constant integer := 1000;
    v_counted_at_most constant integer := 10000;
    v_runs_at_most constant integer := 10;
    v_now constant timestamptz := now();
    v_oldest_due record;
begin
    perform campaign_runner.hold_version();
    perform campaign_runner.check_configuration(p_organization_id, p_system_user_id);
    select * into v_oldest_due
    from campaign_runner.oldest_due(
        p_organization_id, p_system_user_id, p_system_user_roles, v_open_at_most, v_counted_at_most, v_now
    );
    return jsonb_build_object(
        'checked_at', v_now,
        'is_read_only', current_setting('default_transaction_read_only')::boolean or pg_is_in_recovery(),
        'last_tick_at', (select t.at from campaign_runner.last_call t where isfinite(t.at)),
        'last_run_ended_at', (select max(r.closed_at) from campaign_runner.runs r),
        'oldest_due_seconds', floor(extract(epoch from v_now - v_oldest_due.since))::bigint,
        'oldest_due', case
            when v_oldest_due.campaign_id is not null then campaign_runner.describe_campaign(
                v_oldest_due.campaign_id, v_oldest_due.organization_id, v_oldest_due.name, v_oldest_due.scheduled_at
            )
        end,
        'runs', campaign_runner.last_runs(v_runs_at_most)
    )
    || campaign_runner.scheduled_lists(p_organization_id, v_counted_at_most, v_shown_at_most, v_now)
    || campaign_runner.launch_lists(
        p_organization_id, p_system_user_id, p_system_user_roles, p_with_details, v_open_at_most, v_shown_at_most, v_now
    );
end;
$$;
comment on function public.campaign_runner_health(uuid, uuid, text[], boolean) is
    'How the runner is: last call and runs, what is due, comes next, is under way or waits after a failure, of one organization '
    'or (NULL) of all. The runs are those of all. Lists show 20 campaigns, counts end where is_capped says so. '
    'p_with_details: with the words of the source that refused, which may hold row data.';
revoke execute on function public.campaign_runner_health(uuid, uuid, text[], boolean) from public, anon, authenticated;
grant execute on function public.campaign_runner_health(uuid, uuid, text[], boolean) to service_role;


create or replace function campaign_runner.prune(
    p_now timestamptz default now(),
    p_max_rows integer default 1000
)
returns void
language plpgsql
volatile
set search_path = pg_catalog, pg_temp
set row_security = off
set lock_timeout = '250ms'
set enable_seqscan = off
set enable_bitmapscan = off
as $$
declare
    v_before constant timestamptz := p_now - interval '90 days';
    v_message text;
    v_launch_ids bigint[];
begin
    -- An abandoned launch that left recipients is how the next launch knows that these are not all. It is kept until one
    -- has decided, and what came after it is kept until it has gone: the last closed launch is the one that is asked.
    v_launch_ids := array(
        select l.id
        from campaign_runner.launches l
        where l.closed_at < v_before
            and (
                l.left_recipients is not true
                or exists (
                    select from campaign_runner.launches later
                    where later.campaign_id = l.campaign_id and later.id > l.id and later.generates is not null
                )
            )
            and not exists (
                select from campaign_runner.launches earlier
                where earlier.campaign_id = l.campaign_id and earlier.id < l.id and earlier.left_recipients
            )
        order by l.closed_at
        limit p_max_rows
        for update skip locked
    );
    -- A huge audience has thousands of chunks, and its launch goes when the last of them has gone.
    delete from campaign_runner.launch_chunks s
    where s.ctid = any (array(
        select o.ctid
        from campaign_runner.launch_chunks o
        where o.launch_id = any (v_launch_ids)
        limit p_max_rows
        for update skip locked
    ));
    delete from campaign_runner.launches l
    where l.id = any (v_launch_ids)
        and not exists (select from campaign_runner.launch_chunks s where s.launch_id = l.id);

    delete from campaign_runner.runs r
    where r.ctid = any (array(
        select o.ctid
        from campaign_runner.runs o
        where o.opened_at < v_before
        order by o.opened_at
        limit p_max_rows
        for update skip locked
    ));
    delete from campaign_runner.run_errors e
    where e.ctid = any (array(
        select o.ctid
        from campaign_runner.run_errors o
        where o.occurred_at < v_before
        order by o.occurred_at
        limit p_max_rows
        for update skip locked
    ));
exception
    when query_canceled then
        get stacked diagnostics v_message = message_text;
        if v_message not like '%statement timeout%' then
            raise;
        end if;
        raise warning 'The ledger could not be pruned in time; the next report goes on.';
    when others then
        raise warning 'The ledger could not be pruned (SQLSTATE %); the next report tries again.', sqlstate;
end;
$$;
comment on function campaign_runner.prune(timestamptz, integer) is
    'Deletes closed launches with their chunks, runs and their errors that are older than 90 days, up to so many rows of '
    'each table. Waits for nobody, and raises nothing: the report that calls it has more to lose.';
revoke execute on function campaign_runner.prune(timestamptz, integer) from public, anon, authenticated;
grant execute on function campaign_runner.prune(timestamptz, integer) to service_role;

notify pgrst, 'reload schema';
