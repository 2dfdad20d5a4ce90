-- Purpose: what the function and the command line call: one step of a run, the report that closes it, and retry.
-- Tables:  campaign_runner.*, through the functions before
-- Rerun:   safe.
-- Undo:    supabase/uninstall.sql drops the functions and the schema campaign_runner.

create or replace function campaign_runner.check_configuration(
    p_organization_id uuid,
    p_system_user_id uuid
)
returns void
language plpgsql
stable
set search_path = pg_catalog, pg_temp
set row_security = off
as $$
begin
    if not exists (select from public.profiles p where p.id = p_system_user_id) then
        raise exception 'SYSTEM_USER_ID names nobody: insert the system user into public.profiles' using errcode = 'CR500';
    end if;
    if p_organization_id is not null
        and not exists (select from public.organizations o where o.id = p_organization_id)
    then
        raise exception 'there is no such organization' using errcode = 'CR404';
    end if;
end;
$$;
comment on function campaign_runner.check_configuration(uuid, uuid) is
    'Raises CR500 where the system user is no profile, and CR404 where the organization does not exist.';
revoke execute on function campaign_runner.check_configuration(uuid, uuid) from public, anon, authenticated;
grant execute on function campaign_runner.check_configuration(uuid, uuid) to service_role;


create or replace function campaign_runner.missing_grants()
returns table (lack text, statement text)
language plpgsql
stable
set search_path = pg_catalog, pg_temp
as $$
begin
    return query
        select
            format('%s on %s', needed.privilege, needed.table_name),
            format(
                'grant %s%s on %s to %I;',
                needed.privilege,
                case when needed.table_name = 'public.contacts' and needed.privilege = 'update' then ' (id)' end,
                needed.table_name, current_user
            )
        from (
            values
                ('public.organizations', 'select'), ('public.profiles', 'select'),
                ('public.organization_members', 'select'), ('public.campaigns', 'select'),
                ('public.contacts', 'select'), ('public.contacts', 'update'), ('public.campaign_target_rules', 'select'),
                ('public.campaign_target_rules', 'update'), ('public.campaigns', 'update'),
                ('public.campaign_recipients', 'select'), ('public.campaign_recipients', 'insert'),
                ('public.campaign_recipients', 'delete'), ('public.contact_tags', 'select'),
                ('public.contact_tag_assignments', 'select'), ('public.activity_events', 'insert')
        ) as needed (table_name, privilege)
        where to_regclass(needed.table_name) is not null
            and not case
                when needed.table_name = 'public.contacts'
                    then has_any_column_privilege(to_regclass(needed.table_name), needed.privilege)
                else has_table_privilege(to_regclass(needed.table_name), needed.privilege)
            end
        union all
        select format('execute on function %s', p.oid::regprocedure), format(
            'grant execute on function %s to %I;', p.oid::regprocedure, current_user
        )
        from pg_catalog.pg_proc p
        where (
                p.pronamespace = 'campaign_runner'::regnamespace
                or (p.pronamespace = 'public'::regnamespace and starts_with(p.proname, 'campaign_runner_'))
            )
            and not has_function_privilege(p.oid, 'execute')
        union all
        select
            format('the right to bypass the policies of %s', c.oid::regclass),
            format('alter role %I bypassrls;', current_user)
        from pg_catalog.pg_class c
        where c.relnamespace = 'public'::regnamespace
            and c.relname in (
                'organizations', 'profiles', 'organization_members', 'contacts', 'campaigns', 'campaign_target_rules',
                'campaign_recipients', 'contact_tags', 'contact_tag_assignments', 'activity_events'
            )
            and row_security_active(c.oid);
end;
$$;
comment on function campaign_runner.missing_grants() is
    'What the calling role lacks, with the statement that grants it. No rows: nothing.';
revoke execute on function campaign_runner.missing_grants() from public, anon, authenticated;
grant execute on function campaign_runner.missing_grants() to service_role;


create or replace function campaign_runner.open_run(
    p_run_id uuid,
    p_system_user_id uuid
)
returns void
language plpgsql
volatile
set search_path = pg_catalog, pg_temp
set row_security = off
as $$
begin
    -- A second insert would wait for the first step to commit, so skip it. Should the first step be undone, the report
    -- enters the run.
    if not exists (select from campaign_runner.runs r where r.id = p_run_id)
        and pg_try_advisory_xact_lock(campaign_runner.lock_key('open', p_run_id))
    then
        insert into campaign_runner.runs (id, system_user_id) values (p_run_id, p_system_user_id)
        on conflict (id) do nothing;
    end if;
end;
$$;
comment on function campaign_runner.open_run(uuid, uuid) is
    'Enters a run that has something to report into the ledger, unless another step is about to.';
revoke execute on function campaign_runner.open_run(uuid, uuid) from public, anon, authenticated;
grant execute on function campaign_runner.open_run(uuid, uuid) to service_role;


create or replace function campaign_runner.find_work(
    p_organization_id uuid,
    p_system_user_id uuid,
    p_system_user_roles text[],
    p_now timestamptz,
    out campaign_ids uuid[],
    out vanished_launch_ids bigint[],
    out is_more_likely boolean,
    out campaigns_after_time timestamptz,
    out campaigns_after_id uuid,
    out launches_after_id uuid
)
language plpgsql
stable
set search_path = pg_catalog, pg_temp
set row_security = off
set enable_seqscan = off
set enable_bitmapscan = off
set enable_sort = off
set enable_incremental_sort = off
-- Hash joins, but for the look-ups, which are nothing but nested loops.
set enable_nestloop = off
set plan_cache_mode = force_generic_plan
as $$
#variable_conflict use_column
declare
    -- As many as one step launches.
    v_newest_at_most constant integer := 250;
    v_next_at_most constant integer := 1000;
    v_launches_at_most constant integer := 100;
    v_from campaign_runner.last_call;
    v_newest bigint;
begin
    select * into v_from from campaign_runner.last_call;
    if p_organization_id is not null then
        v_from.campaigns_after_time := '-infinity';
        v_from.campaigns_after_id := '00000000-0000-0000-0000-000000000000';
    end if;

    -- All that are due would be too many to read where a hundred thousand wait: the newest, where those are that have just
    -- become due and have no launch, and the next ones of a position that goes round, whose launches may have become ready.
    with newest as materialized (
        select c.id
        from public.campaigns c
        where c.status = 'scheduled'
            and c.scheduled_at <= p_now
            and (p_organization_id is null or c.organization_id = p_organization_id)
        order by c.scheduled_at desc, c.id desc
        limit v_newest_at_most
    ),
    -- Not as a comparison of pairs: before Postgres 18 such a scan begins at the first campaign of the same time.
    next as materialized (
        (
            select c.id, c.organization_id, c.xmin as version, c.scheduled_at
            from public.campaigns c
            where c.status = 'scheduled'
                and c.scheduled_at <= p_now
                and c.scheduled_at = any (array[v_from.campaigns_after_time])
                and c.id > v_from.campaigns_after_id
                and (p_organization_id is null or c.organization_id = p_organization_id)
            order by c.scheduled_at, c.id
            limit v_next_at_most + 1
        )
        union all
        (
            select c.id, c.organization_id, c.xmin as version, c.scheduled_at
            from public.campaigns c
            where c.status = 'scheduled'
                and c.scheduled_at <= p_now
                and c.scheduled_at > v_from.campaigns_after_time
                and (p_organization_id is null or c.organization_id = p_organization_id)
            order by c.scheduled_at, c.id
            limit v_next_at_most + 1
        )
        order by scheduled_at, id
        limit v_next_at_most + 1
    ),
    -- With their launches, in one walk through both: where a hundred thousand wait, the launches in the same order are those
    -- of the same campaigns. To look into the index for each took as long as all the rest.
    met as materialized (
        select
            n.id, n.organization_id, n.version, b.campaign_id is not null as is_beside,
            b.waiting, b.next_attempt_at, b.failed_with, b.failed_version, b.failed_rules_at
        from next n
        left join (
            (
                select l.*
                from campaign_runner.launches l
                where l.closed_at is null
                    and l.scheduled_at = any (array[v_from.campaigns_after_time])
                    and l.campaign_id > v_from.campaigns_after_id
                order by l.scheduled_at, l.campaign_id
                limit v_next_at_most
            )
            union all
            (
                select l.*
                from campaign_runner.launches l
                where l.closed_at is null and l.scheduled_at > v_from.campaigns_after_time
                order by l.scheduled_at, l.campaign_id
                limit v_next_at_most
            )
        ) b on b.campaign_id = n.id
    ),
    newest_beside as materialized (
        select l.campaign_id
        from campaign_runner.launches l
        where l.closed_at is null
        order by l.scheduled_at desc, l.campaign_id desc
        limit v_newest_at_most
    ),
    asked as materialized (
        select
            array_agg(m.id) filter (where m.waiting is not null) as campaign_ids,
            array_agg(m.failed_rules_at) filter (where m.failed_rules_at is not null) as places,
            array_agg(distinct m.organization_id) filter (where m.failed_with = 'CR403') as organization_ids
        from met m
    ),
    ready as (
        select m.id
        from met m
        left join campaign_runner.rules_versions(
            (select a.campaign_ids from asked a), (select a.places from asked a)
        ) r
            on r.campaign_id = m.id
        left join campaign_runner.permitted_organizations(
            (select a.organization_ids from asked a), p_system_user_id, p_system_user_roles
        ) p (organization_id)
            on p.organization_id = m.organization_id
        where m.is_beside
            and campaign_runner.is_ready(
                m.waiting, m.next_attempt_at, m.failed_with, m.failed_version,
                campaign_runner.join_versions(m.version, r.version), p.organization_id is not null, p_now
            )
        union all
        -- Without a launch, or with one that is elsewhere in the order.
        select w.id
        from (
            select m.id from met m where not m.is_beside
            union all
            select n.id from newest n where not exists (select from newest_beside b where b.campaign_id = n.id)
        ) w
        left join lateral (
            select o as launch
            from campaign_runner.launches o
            where o.campaign_id = any (array[w.id]) and o.closed_at is null
            order by o.campaign_id
            limit 1
        ) l on true
        where l.launch is null
            or campaign_runner.is_launch_ready(l.launch, p_system_user_id, p_system_user_roles, p_now)
    ),
    -- Those under way, and those whose backoff is over, wherever the position is.
    urgent as (
        (
            select l.campaign_id
            from campaign_runner.launches l
            where l.closed_at is null
                and l.waiting is null
                and (p_organization_id is null or l.organization_id = p_organization_id)
            order by l.id desc
            limit v_newest_at_most
        )
        union all
        (
            select l.campaign_id
            from campaign_runner.launches l
            where l.closed_at is null and l.waiting = 'backoff' and l.next_attempt_at <= p_now
            order by l.next_attempt_at, l.id
            limit v_newest_at_most
        )
    ),
    candidates as materialized (
        select d.campaign_id, d.organization_id, d.scheduled_at, l.id as launch_id, l.state
        from campaign_runner.due_campaigns(
            array(
                select id from ready
                union
                select campaign_id from urgent
            ),
            p_now
        ) d
        left join lateral (
            select o.id, o.state
            from campaign_runner.launches o
            where o.campaign_id = any (array[d.campaign_id]) and o.closed_at is null
            order by o.campaign_id
            limit 1
        ) l on true
        where p_organization_id is null or d.organization_id = p_organization_id
    ),
    placed as (
        select
            c.campaign_id,
            c.organization_id,
            coalesce(c.state <> 'opened', false) as has_begun,
            coalesce(
                (select max(s.worked_at) from campaign_runner.launch_chunks s where s.launch_id = c.launch_id),
                date_trunc('minute', c.scheduled_at)
            ) as since,
            uuid_hash_extended(c.campaign_id, pg_backend_pid()) as lot
        from candidates c
    ),
    -- Organizations take turns. Within a turn a fresh campaign goes first, which is often small, and then the launch that
    -- has waited longest for its next chunk. Fresh campaigns of one minute are equals, of which each session begins with
    -- others: with one order for all, steps side by side met at every campaign.
    queue as (
        select p.*, row_number() over (
            partition by p.organization_id order by p.has_begun, p.since, p.lot
        ) as turn
        from placed p
    )
    select
        (
            select coalesce(array_agg(q.campaign_id order by q.turn, q.has_begun, q.since, q.lot), '{}')
            from queue q
        ),
        (select count(*) from newest),
        last.scheduled_at,
        last.id
    into campaign_ids, v_newest, campaigns_after_time, campaigns_after_id
    from (
        -- Round again, where no more were left.
        (
            select scheduled_at, id
            from next
            where exists (select from next offset v_next_at_most)
            offset v_next_at_most - 1
            limit 1
        )
        union all
        select '-infinity', '00000000-0000-0000-0000-000000000000'
        limit 1
    ) last;
    is_more_likely := v_newest = v_newest_at_most;

    -- A few launches of a position of their own: their campaigns may be gone.
    with next as materialized (
        select l.id, l.campaign_id
        from campaign_runner.launches l
        where l.closed_at is null and l.campaign_id > v_from.launches_after_id
        order by l.campaign_id
        limit v_launches_at_most
    )
    select
        array(select n.id from next n where not exists (select from public.campaigns c where c.id = n.campaign_id)),
        coalesce(
            (select n.campaign_id from next n offset v_launches_at_most - 1), '00000000-0000-0000-0000-000000000000'
        )
    into vanished_launch_ids, launches_after_id;
end;
$$;
comment on function campaign_runner.find_work(uuid, uuid, text[], timestamptz) is
    'The campaigns that are due and ready, in the order of their turns, of those that a step looks at; the launches '
    'whose campaigns are gone; and where the next step goes on to look.';
revoke execute on function campaign_runner.find_work(uuid, uuid, text[], timestamptz) from public, anon, authenticated;
grant execute on function campaign_runner.find_work(uuid, uuid, text[], timestamptz) to service_role;


create or replace function campaign_runner.record_failure(
    p_run_id uuid,
    p_campaign_id uuid,
    p_version text,
    p_code text,
    p_message text,
    p_detail text,
    p_now timestamptz
)
returns boolean
language plpgsql
volatile
set search_path = pg_catalog, pg_temp
set row_security = off
set enable_seqscan = off
as $$
declare
    v_attempts_until_attention constant integer := 10;
    v_pushed_back_for constant interval := '10 seconds';
    v_lasting_after constant interval := '1 minute';
    -- A lock, a deadlock, a serialization failure; and a timeout where a smaller step may be in time.
    v_is_passing constant boolean := p_code in ('CR004', 'CR005', '55P03', '40P01', '40001');
    -- Connection, transaction, resources, operator, disk: perhaps the database's trouble, perhaps a trigger's.
    v_is_trouble constant boolean := left(p_code, 2) in ('08', '25', '40', '53', '55', '57', '58', 'XX')
        and p_code <> '57014' and not v_is_passing;
    v_launch campaign_runner.launches;
    v_attempts integer;
    v_is_named boolean := true;
begin
    -- A campaign that is gone, or not due any more, has not failed.
    if not exists (select from campaign_runner.due_campaigns(array[p_campaign_id], p_now)) then
        return false;
    end if;
    v_launch := campaign_runner.open_launch(p_campaign_id);
    -- Another step may be at work on the launch. To wait for that step would end in 55P03.
    perform from campaign_runner.launches l
    where l.id = v_launch.id and l.closed_at is null
    for update skip locked;
    if not found then
        return false;
    end if;

    -- An edit starts the count again.
    v_attempts := case when v_launch.failed_version is distinct from p_version then 0 else v_launch.attempts end;
    if v_is_passing then
        -- No failure of the campaign. It is told once it has lasted.
        v_is_named := coalesce(v_launch.troubled_at < p_now - v_lasting_after, false);
        update campaign_runner.launches l
        set
            troubled_at = coalesce(l.troubled_at, p_now),
            failed_with = case when v_is_named then p_code else l.failed_with end,
            last_error = case when v_is_named then p_message else l.last_error end,
            last_error_detail = case when v_is_named then p_detail else l.last_error_detail end
        where l.id = v_launch.id;
    elsif v_is_trouble and (
        v_launch.troubled_at is null
        or not exists (
            select from campaign_runner.launches other
            where other.closed_at > v_launch.troubled_at and other.state = 'launched' and other.id <> v_launch.id
        )
    ) then
        -- Not counted, unless the database has launched others since.
        update campaign_runner.launches l
        set
            waiting = 'backoff', next_attempt_at = p_now + v_pushed_back_for,
            troubled_at = coalesce(l.troubled_at, p_now), attempts = v_attempts, failed_with = p_code,
            failed_version = p_version,
            last_error = p_message, last_error_detail = p_detail
        where l.id = v_launch.id;
    else
        v_attempts := v_attempts + 1;
        update campaign_runner.launches l
        set
            attempts = v_attempts,
            -- A membership makes the launch ready, and time does not.
            waiting = case
                when p_code = 'CR002' then 'held'
                when p_code = 'CR403' or v_attempts >= v_attempts_until_attention then 'needs_attention'
                else 'backoff'
            end,
            -- A minute, doubled each time, at most an hour.
            next_attempt_at = case
                when p_code not in ('CR002', 'CR403') and v_attempts < v_attempts_until_attention
                    then p_now + least(interval '1 hour', interval '1 minute' * power(2, v_attempts - 1))
            end,
            failed_with = p_code,
            failed_version = p_version,
            failed_rules_at = (select r.place from campaign_runner.rules_versions(array[p_campaign_id]) r),
            last_error = p_message,
            last_error_detail = p_detail
        where l.id = v_launch.id;
    end if;

    if v_is_named then
        insert into campaign_runner.run_errors (run_id, campaign_id, error)
        values (p_run_id, p_campaign_id, p_message)
        on conflict (run_id, campaign_id) do update set error = excluded.error, occurred_at = now();
    end if;
    return v_is_named;
exception
    when sqlstate 'CR001' then
        return false;
end;
$$;
comment on function campaign_runner.record_failure(uuid, uuid, text, text, text, text, timestamptz) is
    'Enters a failure of a campaign of this version into its launch, which then waits, and into the errors of the run. A lock is '
    'entered once it has lasted a minute. What may be the database''s trouble is not counted as an attempt, unless '
    'other campaigns were launched since. False: nothing was entered into the errors.';
revoke execute on function campaign_runner.record_failure(uuid, uuid, text, text, text, text, timestamptz)
    from public, anon, authenticated;
grant execute on function campaign_runner.record_failure(uuid, uuid, text, text, text, text, timestamptz) to service_role;


create or replace function campaign_runner.meaning(
    p_code text
)
returns text
language sql
immutable
return case
    when p_code = '25006' then 'The database is read-only'
    when p_code = '53100' then 'The disk of the database is full'
    when p_code = '53300' then 'The database has no connection left'
    when p_code = 'P0001' then 'A trigger or function of the project refused the campaign'
    when p_code = 'P0004' then 'An assertion of a trigger failed'
    when p_code = '23502' then 'A column that must not be empty has no default, and the runner does not fill it'
    when p_code = '23514' then 'A check constraint refused a row of the campaign'
    when left(p_code, 2) = '23' then 'A constraint refused a row of the campaign'
    when p_code = '42501' then 'A trigger of the project, or the runner, lacks a privilege'
    when p_code in ('42P01', '42703', '42883') then 'A trigger, or the runner, names a table, column or function that does not exist'
    when p_code in ('22P02', '42804') then 'A value does not fit the type of its column'
    when left(p_code, 2) = '53' then 'A trigger, or the database itself, says that a limit is reached'
    when left(p_code, 2) in ('08', '57', '58', 'XX') then 'A trigger, or the database itself, says that the database failed'
    else 'The database refused to write for this campaign'
end;
comment on function campaign_runner.meaning(text) is 'What an SQLSTATE means, in the words of a campaign manager.';
revoke execute on function campaign_runner.meaning(text) from public, anon, authenticated;
grant execute on function campaign_runner.meaning(text) to service_role;


create or replace function campaign_runner.explain_failure(
    p_code text,
    p_message text,
    p_table text,
    p_column text,
    p_constraint text
)
returns text
language plpgsql
immutable
set search_path = pg_catalog, pg_temp
as $$
begin
    -- The database's own message may quote a row: only names of things in the schema get out.
    return case
        when p_code in ('CR004', '55P03', '40P01', '40001') then
            'Another transaction has locked this campaign, or rows that its launch needs, for more than a minute. '
            '`python -m runner doctor` names that transaction.'
        when p_code in ('57014', 'CR005') then
            'The database stopped the work on this campaign because it took too long, even in small steps. '
            'Look for a slow trigger on campaign_recipients or campaigns.'
        when p_code like 'CR%' then p_message
        else format(
            '%s (SQLSTATE %s%s%s%s). Correct the cause, or edit the campaign, and the runner tries it again. '
            '`python -m runner history` shows the words of the refusal.',
            campaign_runner.meaning(p_code),
            p_code,
            case when p_constraint <> '' then ', constraint ' || p_constraint end,
            case when p_table <> '' then ', table ' || p_table end,
            case when p_column <> '' then ', column ' || p_column end
        )
    end;
end;
$$;
comment on function campaign_runner.explain_failure(text, text, text, text, text) is
    'What is said of a failure to the outside: a sentence for a campaign manager, without row data.';
revoke execute on function campaign_runner.explain_failure(text, text, text, text, text) from public, anon, authenticated;
grant execute on function campaign_runner.explain_failure(text, text, text, text, text) to service_role;


create or replace function campaign_runner.try_to_record(
    p_run_id uuid,
    p_campaign_id uuid,
    p_version text,
    p_code text,
    p_message text,
    p_detail text,
    p_now timestamptz,
    out is_recorded boolean,
    out trouble text
)
language plpgsql
volatile
set search_path = pg_catalog, pg_temp
set row_security = off
as $$
begin
    is_recorded := campaign_runner.record_failure(
        p_run_id, p_campaign_id, p_version, p_code, p_message, p_detail, p_now
    );
exception
    when query_canceled or assert_failure or others then
        is_recorded := false;
        trouble := sqlstate;
end;
$$;
comment on function campaign_runner.try_to_record(uuid, uuid, text, text, text, text, timestamptz) is
    'record_failure(), which cannot raise: trouble is the SQLSTATE that kept the failure from being recorded.';
revoke execute on function campaign_runner.try_to_record(uuid, uuid, text, text, text, text, timestamptz)
    from public, anon, authenticated;
grant execute on function campaign_runner.try_to_record(uuid, uuid, text, text, text, text, timestamptz) to service_role;


create or replace function public.campaign_runner_step(
    p_run_id uuid,
    p_organization_id uuid,
    p_system_user_id uuid,
    p_system_user_roles text[],
    p_max_rows integer,
    p_max_lateness_minutes integer default null,
    p_interface integer default 1
)
returns jsonb
language plpgsql
volatile
set search_path = pg_catalog, pg_temp
set row_security = off
-- For all that it calls. A session keeps the plans that it made while a table was small, and one that reads such a table
-- from end to end is ever more expensive: 1,000 campaigns of 100 took 40 s in the place of 4.
set enable_seqscan = off
set jit = off
as $$
declare
    v_smallest_step constant integer := 500;
    -- Each launch, and each failure, holds an advisory lock to the end of the step, and the lock table has room for a few thousand.
    v_launches_at_most constant integer := 250;
    v_now constant timestamptz := now();
    v_deadline timestamptz;
    v_rows_left bigint := greatest(p_max_rows, 1);
    v_work record;
    v_campaign_id uuid;
    v_version text;
    v_piece record;
    v_contacts bigint := 0;
    v_reconciled bigint := 0;
    v_launched integer := 0;
    v_failed integer := 0;
    v_busy integer := 0;
    v_locked integer := 0;
    v_is_more_left boolean := false;
    v_is_laid_out boolean := false;
    v_timed_out boolean := false;
    v_is_first boolean;
    v_code text;
    v_message text;
    v_detail text;
    v_table text;
    v_column text;
    v_constraint text;
    v_context text;
    v_record record;
    v_lack record;
    v_trouble text;
begin
    perform campaign_runner.hold_version(p_interface);
    -- The report waits for this lock, so no step can add to a run that has answered.
    perform pg_advisory_xact_lock_shared(campaign_runner.lock_key('run', p_run_id));
    if exists (select from campaign_runner.runs r where r.id = p_run_id and r.closed_at is not null) then
        raise exception 'the run is closed' using errcode = 'CR409';
    end if;
    v_is_first := not exists (select from campaign_runner.runs r where r.id = p_run_id);
    -- The step waits for no lock of another transaction. A lock on a whole table ends the step with 55P03. A campaign whose
    -- row is locked is tried by a later step.
    perform set_config('lock_timeout', '250ms', true);
    perform campaign_runner.check_configuration(p_organization_id, p_system_user_id);

    -- What a deferred constraint finds must be the error of one campaign, and not of the commit of all of them.
    set constraints all immediate;
    -- So that a project's triggers that ask auth.uid() see in whose name this is written.
    perform set_config(
        'request.jwt.claims',
        (
            coalesce(nullif(current_setting('request.jwt.claims', true), ''), '{}')::jsonb
            || jsonb_build_object('sub', p_system_user_id)
        )::text,
        true
    );

    select * into v_work
    from campaign_runner.find_work(p_organization_id, p_system_user_id, p_system_user_roles, v_now);

    -- Not even planned where there are none: the plan read all open launches.
    if cardinality(v_work.vanished_launch_ids) > 0 then
        update campaign_runner.launches l
        set
            state = 'abandoned',
            closed_at = clock_timestamp(),
            waiting = null,
            next_attempt_at = null,
            -- Where they do not go with their campaign. Rows that come later are somebody else's.
            -- Of one that was only opened: what the launch before it left.
            left_recipients = coalesce(l.generates, campaign_runner.would_generate(l.campaign_id))
                and exists (select from public.campaign_recipients r where r.campaign_id = l.campaign_id)
        where l.id = any (array(
            select o.id
            from campaign_runner.launches o
            where o.id = any (v_work.vanished_launch_ids) and o.closed_at is null
            for update skip locked
        ));
    end if;

    foreach v_campaign_id in array v_work.campaign_ids loop
        v_deadline := coalesce(v_deadline, clock_timestamp() + interval '2 seconds');
        if v_rows_left <= 0 or v_launched + v_failed >= v_launches_at_most or clock_timestamp() >= v_deadline then
            v_is_more_left := true;
            exit;
        end if;
        -- Of the campaign as this attempt finds it: an edit during the attempt makes the launch ready.
        v_version := campaign_runner.version(v_campaign_id);
        begin
            select * into v_piece
            from campaign_runner.advance_launch(
                p_run_id, v_campaign_id, p_system_user_id, p_system_user_roles,
                v_rows_left::integer, v_contacts = 0, p_max_lateness_minutes, v_now
            );
            v_contacts := v_contacts + v_piece.contacts;
            v_reconciled := v_reconciled + v_piece.reconciled;
            -- An empty audience costs something too, and a piece is never bigger than what was left.
            v_rows_left := v_rows_left - greatest(v_piece.contacts, 1);
            if v_piece.outcome = 'launched' then
                if v_launched = 0 then
                    -- The campaign's row is locked from now to the end of the step, and somebody may want to edit it. The
                    -- first step of a run answers sooner, as others begin beside it when they know that work is left.
                    v_deadline := least(
                        v_deadline,
                        clock_timestamp() + case when v_is_first then interval '100 ms' else interval '500 ms' end
                    );
                    v_rows_left := least(v_rows_left, 20000);
                end if;
                v_launched := v_launched + 1;
            else
                v_is_more_left := true;
                -- Others can take the chunks as soon as this step has answered.
                v_is_laid_out := v_piece.outcome = 'laid_out';
                exit when v_is_laid_out;
            end if;
        exception
            when sqlstate 'CR001' then
                v_busy := v_busy + 1;
            when sqlstate 'CR410' then
                null; -- deleted a moment ago
            when sqlstate 'CR003' then
                v_is_more_left := true;
            -- `others` catches neither a cancel nor the failure of an assert.
            when query_canceled or assert_failure or others then
                get stacked diagnostics
                    v_code = returned_sqlstate, v_message = message_text, v_detail = pg_exception_detail,
                    v_table = table_name, v_column = column_name, v_constraint = constraint_name,
                    v_context = pg_exception_context;
                -- A person's cancel is not ours to survive.
                if v_code = '57014' and v_message = 'canceling statement due to user request' then
                    raise;
                end if;
                if left(v_code, 2) = '42' then
                    select m.lack, m.statement into v_lack from campaign_runner.missing_grants() m limit 1;
                    if found then
                        raise exception 'the key''s role lacks %: %', v_lack.lack, v_lack.statement using errcode = 'CR500';
                    end if;
                end if;
                -- A trigger may raise the SQLSTATE of a timeout, too.
                v_timed_out := v_code = '57014' and v_message like '%statement timeout%';
                if v_timed_out and v_contacts > 0 then
                    v_is_more_left := true;
                    exit;
                end if;
                if v_timed_out and p_max_rows > v_smallest_step then
                    v_code := 'CR005';
                end if;
                select * into v_record
                from campaign_runner.try_to_record(
                    p_run_id, v_campaign_id, v_version, v_code,
                    campaign_runner.explain_failure(v_code, v_message, v_table, v_column, v_constraint),
                    concat_ws(
                        E'\n', v_message, nullif(v_detail, ''),
                        -- Which function of the project it was: a trigger's, or campaign_runner_exclusions.
                        'in ' || substring(
                            v_context
                            from '(?n)^PL/pgSQL function (?!campaign_runner\.|(?:public\.)?campaign_runner_(?!exclusions))(.*)$'
                        )
                    ),
                    v_now
                );
                v_failed := v_failed + v_record.is_recorded::integer;
                v_busy := v_busy + (not v_record.is_recorded)::integer;
                v_locked := v_locked + (v_record.is_recorded and v_code in ('CR004', '55P03'))::integer;
                v_trouble := coalesce(v_trouble, v_record.trouble);
                -- The timer does not fire twice in a statement: from here on there is only the way out.
                if v_timed_out then
                    v_is_more_left := true;
                    exit;
                end if;
        end;
    end loop;

    -- From here on a failure would undo the launches of this step.
    begin
        if v_contacts > 0 or v_launched + v_failed > 0 then
            perform campaign_runner.open_run(p_run_id, p_system_user_id);
        end if;
        -- Last, and without waiting: the row is locked to the end of the transaction, and every run wants it.
        update campaign_runner.last_call t
        set
            at = clock_timestamp(),
            system_user_id = p_system_user_id,
            system_user_roles = p_system_user_roles,
            max_lateness_minutes = p_max_lateness_minutes,
            -- A call for one organization looks at its own campaigns, and moves no position of all.
            campaigns_after_time = case
                when p_organization_id is null then v_work.campaigns_after_time else t.campaigns_after_time
            end,
            campaigns_after_id = case
                when p_organization_id is null then v_work.campaigns_after_id else t.campaigns_after_id
            end,
            launches_after_id = v_work.launches_after_id
        where t.singleton and exists (select from campaign_runner.last_call for update skip locked);
    exception
        when query_canceled or others then
            v_trouble := coalesce(v_trouble, sqlstate);
    end;

    return jsonb_build_object(
        'laid_out', v_is_laid_out,
        'work_left', v_is_more_left or (v_work.is_more_likely and v_launched + v_failed > 0),
        'busy', v_busy,
        'locked', v_locked,
        'contacts', v_contacts,
        'reconciled', v_reconciled,
        'launched', v_launched,
        'failed', v_failed,
        'timed_out', v_timed_out,
        'trouble', v_trouble,
        'to_report', v_launched + v_failed > 0 or exists (select from campaign_runner.runs r where r.id = p_run_id)
    );
end;
$$;
comment on function public.campaign_runner_step(uuid, uuid, uuid, text[], integer, integer, integer) is
    'One step of a run: works through up to p_max_rows contacts of due campaigns, launches what became complete, records '
    'what failed, and says whether work is left. Safe to repeat. trouble: the SQLSTATE with which the database refused to '
    'record a failure; what the step did before stays. Raises what hold_version() and check_configuration() raise.';
revoke execute on function public.campaign_runner_step(uuid, uuid, uuid, text[], integer, integer, integer)
    from public, anon, authenticated;
grant execute on function public.campaign_runner_step(uuid, uuid, uuid, text[], integer, integer, integer) to service_role;


create or replace function public.campaign_runner_report(
    p_run_id uuid
)
returns jsonb
language plpgsql
volatile
set search_path = pg_catalog, pg_temp
set row_security = off
set jit = off
as $$
begin
    perform campaign_runner.hold_version();
    -- PostgREST goes on with a step whose client has gone. Wait for those of this run, but not beyond the statement
    -- timeout: 55P03 tells the caller to ask again.
    perform set_config('lock_timeout', '5s', true);
    perform pg_advisory_xact_lock(campaign_runner.lock_key('run', p_run_id));

    -- Closed even where no step got as far as to open it: one that is still on its way must find the door shut.
    insert into campaign_runner.runs (id, closed_at)
    values (p_run_id, clock_timestamp())
    on conflict (id) do update set closed_at = coalesce(runs.closed_at, excluded.closed_at);
    perform campaign_runner.prune();

    -- A statement of its own, whose snapshot is younger than the wait.
    return (
        select jsonb_build_object(
            'processed_count', count(*),
            'campaigns', coalesce(
                jsonb_agg(
                    jsonb_build_object(
                        'campaign_id', l.campaign_id,
                        'organization_id', l.organization_id,
                        'name', l.campaign_name,
                        'previous_status', 'scheduled',
                        'new_status', 'sending',
                        'recipients_generated', l.recipients_inserted > 0,
                        'recipient_count', l.recipient_count
                    )
                    order by l.closed_at, l.id
                ),
                '[]'
            ),
            'warnings', coalesce(
                jsonb_agg(
                    jsonb_build_object(
                        'campaign_id', l.campaign_id,
                        'recipients_before', l.recipients_before,
                        'pending_before', l.pending_before,
                        'exclude_tags', coalesce(l.unmatched -> 'exclude_tags', '[]'),
                        'exclude_countries', coalesce(l.unmatched -> 'exclude_countries', '[]')
                    )
                    order by l.closed_at, l.id
                ) filter (
                    where l.pending_before = 0
                        or l.unmatched -> 'exclude_tags' <> '[]'
                        or l.unmatched -> 'exclude_countries' <> '[]'
                ),
                '[]'
            ),
            'errors', (
                select coalesce(
                    jsonb_agg(
                        jsonb_build_object('campaign_id', e.campaign_id, 'error', e.error)
                        order by e.occurred_at, e.campaign_id
                    ),
                    '[]'
                )
                from campaign_runner.run_errors e
                where e.run_id = p_run_id
                    and not exists (
                        select from campaign_runner.launches later
                        where later.run_id = p_run_id and later.campaign_id = e.campaign_id
                    )
            )
        )
        from campaign_runner.launches l
        where l.run_id = p_run_id
    );
end;
$$;
comment on function public.campaign_runner_report(uuid) is
    'Closes a run and tells what it launched and what it could not: the body of the HTTP answer, and warnings for the log. '
    'Safe to repeat.';
revoke execute on function public.campaign_runner_report(uuid) from public, anon, authenticated;
grant execute on function public.campaign_runner_report(uuid) to service_role;


create or replace function public.campaign_runner_retry(
    p_campaign_id uuid
)
returns jsonb
language plpgsql
volatile
set search_path = pg_catalog, pg_temp
set row_security = off
set jit = off
as $$
declare
    v_answer jsonb;
begin
    perform campaign_runner.hold_version();
    -- A step may be recording a failure at this moment: 55P03 tells the caller to ask again.
    perform set_config('lock_timeout', '5s', true);
    with waiting as (
        select l.id, l.campaign_id, l.organization_id, l.campaign_name, l.attempts, l.last_error
        from campaign_runner.launches l
        where l.closed_at is null
            and l.waiting is not null
            and (p_campaign_id is null or l.campaign_id = p_campaign_id)
        order by l.id
        for update
    ),
    freed as (
        update campaign_runner.launches l
        set attempts = 0, waiting = null, next_attempt_at = null, troubled_at = null
        from waiting w
        where l.id = w.id
    )
    select jsonb_build_object(
        'freed',
        coalesce(
            jsonb_agg(
                jsonb_build_object(
                    'campaign_id', w.campaign_id,
                    'organization_id', w.organization_id,
                    'name', w.campaign_name,
                    'attempts', w.attempts,
                    'error', w.last_error
                )
                order by w.id
            ),
            '[]'
        )
    )
    into v_answer
    from waiting w;
    return v_answer;
end;
$$;
comment on function public.campaign_runner_retry(uuid) is
    'Frees a launch that backs off, is held or needs attention, or (NULL) all of them, and tells which: the next step '
    'tries them again. One that is still too late is held again.';
revoke execute on function public.campaign_runner_retry(uuid) from public, anon, authenticated;
grant execute on function public.campaign_runner_retry(uuid) to service_role;
