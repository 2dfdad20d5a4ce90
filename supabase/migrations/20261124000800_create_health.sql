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


create or replace function campaign_runner.open_launches(
    p_organization_id uuid,
    p_at_most integer,
    p_now timestamptz default now()
)
returns table (kind text, launch campaign_runner.launches, name text, scheduled_at timestamptz, is_due boolean)
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
                select 'ready' as kind, l as launch
                from campaign_runner.launches l
                where l.closed_at is null
                    and l.waiting is null
                    and (p_organization_id is null or l.organization_id = p_organization_id)
                order by l.id
                limit p_at_most
            )
            union all
            (
                select case when l.next_attempt_at <= p_now then 'ready' else 'backing_off' end, l
                from campaign_runner.launches l
                where l.closed_at is null
                    and l.waiting = 'backoff'
                    and (p_organization_id is null or l.organization_id = p_organization_id)
                order by l.next_attempt_at, l.id
                limit p_at_most
            )
            union all
            (
                select l.waiting, l
                from campaign_runner.launches l
                where l.closed_at is null
                    and l.waiting in ('held', 'needs_attention')
                    and (p_organization_id is null or l.organization_id = p_organization_id)
                order by l.id desc
                limit p_at_most
            )
        )
        -- One whose campaign was paused, rescheduled or deleted is open still, until somebody schedules that again.
        select
            p.kind,
            p.launch,
            coalesce(c.name::text, (p.launch).campaign_name),
            c.scheduled_at,
            d.campaign_id is not null
        from page p
        left join public.campaigns c on c.id = (p.launch).campaign_id
        left join campaign_runner.due_campaigns(array(select (q.launch).campaign_id from page q), p_now) d
            on d.campaign_id = (p.launch).campaign_id;
end;
$$;
comment on function campaign_runner.open_launches(uuid, integer, timestamptz) is
    'The open launches: ready; backing off; held, because too late, or in need of attention, the newest of these two '
    'first. So many are read of those that never failed, may be tried again, back off, and wait for a person.';
revoke execute on function campaign_runner.open_launches(uuid, integer, timestamptz) from public, anon, authenticated;
grant execute on function campaign_runner.open_launches(uuid, integer, timestamptz) to service_role;


create or replace function campaign_runner.launches_under_way(
    p_organization_id uuid,
    p_read_at_most integer,
    p_at_most integer,
    p_now timestamptz default now()
)
returns table (
    campaign_id uuid,
    organization_id uuid,
    name text,
    state text,
    contacts_done bigint,
    contacts_total bigint,
    is_total_estimated boolean,
    percent integer,
    recipients_inserted bigint,
    since timestamptz,
    worked_at timestamptz
)
language plpgsql
stable
set search_path = pg_catalog, pg_temp
set row_security = off
as $$
#variable_conflict use_column
begin
    -- Where the cursors lie between the bounds of their chunks says nothing, as ids need not be uniform; nor does the
    -- number of chunks that are through, as the last one is cut up only when it is begun. So: the contacts that this
    -- pass has evaluated, of those that the organization has. A reconcile is a second pass, and counts from the start.
    return query
        with under_way as materialized (
            select (o.launch).*, o.name
            from campaign_runner.open_launches(p_organization_id, p_read_at_most, p_now) o
            where o.is_due and o.kind = 'ready' and (o.launch).state in ('generating', 'reconciling')
            order by (o.launch).id
            limit p_at_most
        ),
        totals as materialized (
            select o.organization_id, counted.contacts, counted.is_estimate
            from (select distinct l.organization_id from under_way l) o
            cross join lateral campaign_runner.contact_count(o.organization_id) counted
        )
        select
            l.campaign_id,
            l.organization_id,
            l.name,
            l.state,
            done.contacts,
            case when t.contacts is not null then greatest(t.contacts, done.contacts) end,
            t.is_estimate,
            case when t.contacts > 0 then floor(100.0 * done.contacts / greatest(t.contacts, done.contacts))::integer end,
            done.inserted,
            l.opened_at,
            done.worked_at
        from under_way l
        join totals t on t.organization_id = l.organization_id
        cross join lateral (
            select
                coalesce(sum(s.contacts), 0)::bigint as contacts,
                coalesce(sum(s.inserted), 0)::bigint as inserted,
                max(s.worked_at) as worked_at
            from campaign_runner.launch_chunks s
            where s.launch_id = l.id
        ) done
        order by l.id;
end;
$$;
comment on function campaign_runner.launches_under_way(uuid, integer, integer, timestamptz) is
    'The first launches that are generating or reconciling, with how far the present pass has come.';
revoke execute on function campaign_runner.launches_under_way(uuid, integer, integer, timestamptz)
    from public, anon, authenticated;
grant execute on function campaign_runner.launches_under_way(uuid, integer, integer, timestamptz) to service_role;


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
    -- Not the age of the schedule: a launch that is worked on, or was tried and backed off, is not forgotten. And not of
    -- all that is due: where nothing calls the runner, that is everything.
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
            -- There are more than were looked at, and each of those was tried. Whether one behind them waits, only the last
            -- call tells.
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
                case
                    when o.kind = 'ready' then greatest(
                        o.scheduled_at,
                        (o.launch).next_attempt_at,
                        (
                            select max(s.worked_at)
                            from campaign_runner.launch_chunks s
                            where s.launch_id = (o.launch).id
                        )
                    )
                    -- Edited since it failed; when, nobody knows.
                    else greatest(o.scheduled_at, (o.launch).opened_at)
                end
            from campaign_runner.open_launches(p_organization_id, p_open_at_most, p_now) o
            where o.is_due
                and campaign_runner.is_launch_ready(o.launch, p_system_user_id, p_system_user_roles, p_now)
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
    'The due campaign that has waited longest for a run, of those that are free: since its schedule, the end of its '
    'backing off, or the last work on it. No row: none waits. It looks at so many open launches of each kind, and at so '
    'many campaigns with the oldest schedules.';
revoke execute on function campaign_runner.oldest_due(uuid, uuid, text[], integer, integer, timestamptz)
    from public, anon, authenticated;
grant execute on function campaign_runner.oldest_due(uuid, uuid, text[], integer, integer, timestamptz) to service_role;


create or replace function public.campaign_runner_health(
    p_organization_id uuid,
    p_system_user_id uuid,
    p_system_user_roles text[]
)
returns jsonb
language plpgsql
stable
set search_path = pg_catalog, pg_temp
set row_security = off
set jit = off
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
    v_answer jsonb;
begin
    perform campaign_runner.check_configuration(p_organization_id, p_system_user_id);

    select * into v_oldest_due
    from campaign_runner.oldest_due(
        p_organization_id, p_system_user_id, p_system_user_roles, v_open_at_most, v_counted_at_most, v_now
    );
    v_answer := jsonb_build_object(
        'checked_at', v_now,
        'last_tick_at', (select t.at from campaign_runner.last_call t where isfinite(t.at)),
        'last_run_ended_at', (select max(r.closed_at) from campaign_runner.runs r),
        'oldest_due_seconds', floor(extract(epoch from v_now - v_oldest_due.since))::bigint,
        'oldest_due', case when v_oldest_due.campaign_id is not null then jsonb_build_object(
            'campaign_id', v_oldest_due.campaign_id,
            'organization_id', v_oldest_due.organization_id,
            'name', v_oldest_due.name,
            -- Infinite, or before Christ: there is no such time in JSON.
            'scheduled_at', case when v_oldest_due.scheduled_at > '0001-01-02' then v_oldest_due.scheduled_at end
        ) end
    );

    with due as (
        select count(*) as n
        from (
            select
            from public.campaigns c
            where c.status = 'scheduled'
                and c.scheduled_at <= v_now
                and (p_organization_id is null or c.organization_id = p_organization_id)
            limit v_counted_at_most + 1
        ) counted
    ),
    unscheduled as materialized (
        select c.id, c.organization_id, coalesce(c.name::text, '') as name, row_number() over () as position
        from public.campaigns c
        where c.status = 'scheduled'
            and c.scheduled_at is null
            and (p_organization_id is null or c.organization_id = p_organization_id)
        limit v_counted_at_most + 1
    )
    select v_answer || jsonb_build_object(
        'due', (
            select jsonb_build_object('count', least(d.n, v_counted_at_most), 'is_capped', d.n > v_counted_at_most)
            from due d
        ),
        'unscheduled', (
            select jsonb_build_object(
                'count', least(count(*), v_counted_at_most),
                'is_capped', count(*) > v_counted_at_most,
                'campaigns', coalesce(
                    jsonb_agg(
                        jsonb_build_object('campaign_id', u.id, 'organization_id', u.organization_id, 'name', u.name)
                    ) filter (where u.position <= v_shown_at_most),
                    '[]'
                )
            )
            from unscheduled u
        )
    )
    into v_answer;

    with under_way as materialized (
        select *, row_number() over () as position
        from campaign_runner.launches_under_way(
            p_organization_id, v_open_at_most, v_shown_at_most + 1, v_now
        )
    )
    select v_answer || jsonb_build_object(
        'generating', jsonb_build_object(
            'count', least(count(*), v_shown_at_most),
            'is_capped', count(*) > v_shown_at_most,
            'campaigns', coalesce(
                jsonb_agg((to_jsonb(u) - 'position') order by u.position) filter (where u.position <= v_shown_at_most),
                '[]'
            )
        )
    )
    into v_answer
    from under_way u;

    with pages as materialized (
        select o.kind, o.launch, o.name, o.is_due
        from campaign_runner.open_launches(p_organization_id, v_open_at_most, v_now) o
        where o.kind <> 'ready'
    ),
    waiting as (
        select p.kind, p.launch, p.name, row_number() over (
            partition by p.kind order by (p.launch).next_attempt_at, (p.launch).id desc
        ) as position
        from pages p
        where p.is_due and not campaign_runner.is_launch_ready(p.launch, p_system_user_id, p_system_user_roles, v_now)
    ),
    lists as (
        select
            kinds.name,
            jsonb_build_object(
                'count', count(w.kind),
                'is_capped', (
                    select count(*) = v_open_at_most
                    from pages p
                    where (p.kind = 'backing_off') = (kinds.name = 'backing_off')
                ),
                'campaigns', coalesce(
                    jsonb_agg(
                        jsonb_build_object(
                            'campaign_id', (w.launch).campaign_id,
                            'organization_id', (w.launch).organization_id,
                            'name', w.name,
                            'attempts', (w.launch).attempts,
                            'next_attempt_at', (w.launch).next_attempt_at,
                            'last_error', (w.launch).last_error
                        )
                        order by w.position
                    ) filter (where w.position <= v_shown_at_most),
                    '[]'
                )
            ) as list
        from (values ('held'), ('needs_attention'), ('backing_off')) as kinds (name)
        left join waiting w on w.kind = kinds.name
        group by kinds.name
    )
    select v_answer || jsonb_object_agg(l.name, l.list) into v_answer from lists l;

    return v_answer || jsonb_build_object(
        'runs', (
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
            from (select * from campaign_runner.runs order by opened_at desc limit v_runs_at_most) r
        )
    );
end;
$$;
comment on function public.campaign_runner_health(uuid, uuid, text[]) is
    'How the runner is: last tick and runs, what is due, under way, or waits after a failure, of one organization or '
    '(NULL) of all. The runs are those of all. Lists show 20 campaigns, counts end where is_capped says so.';
revoke execute on function public.campaign_runner_health(uuid, uuid, text[]) from public, anon, authenticated;
grant execute on function public.campaign_runner_health(uuid, uuid, text[]) to service_role;


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
