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
set search_path = ''
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


create or replace function campaign_runner.missing_privilege()
returns text
language plpgsql
stable
set search_path = ''
as $$
begin
    return (
        select format('%s on %s', needed.privilege, needed.table_name)
        from (
            values
                ('public.organizations', 'select'), ('public.profiles', 'select'),
                ('public.organization_members', 'select'), ('public.campaigns', 'select'),
                ('public.contacts', 'select'), ('public.campaign_target_rules', 'select'),
                ('public.campaign_target_rules', 'update'), ('public.campaigns', 'update'),
                ('public.campaign_recipients', 'select'), ('public.campaign_recipients', 'insert'),
                ('public.campaign_recipients', 'delete'), ('public.contact_tags', 'select'),
                ('public.contact_tag_assignments', 'select'), ('public.activity_events', 'insert')
        ) as needed (table_name, privilege)
        where to_regclass(needed.table_name) is not null
            and (
                not has_table_privilege(to_regclass(needed.table_name), needed.privilege)
                or row_security_active(to_regclass(needed.table_name))
            )
        limit 1
    );
end;
$$;
comment on function campaign_runner.missing_privilege() is
    'A privilege that the calling role lacks, or a table whose policies bind it. NULL: none.';
revoke execute on function campaign_runner.missing_privilege() from public, anon, authenticated;
grant execute on function campaign_runner.missing_privilege() to service_role;


create or replace function campaign_runner.open_run(
    p_run_id uuid,
    p_system_user_id uuid
)
returns void
language plpgsql
volatile
set search_path = ''
set row_security = off
as $$
begin
    -- Whoever comes second would wait for the whole step of the first. Should that one be undone, the report enters the
    -- run.
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


create or replace function campaign_runner.record_failure(
    p_run_id uuid,
    p_campaign_id uuid,
    p_code text,
    p_message text,
    p_detail text,
    p_now timestamptz
)
returns boolean
language plpgsql
volatile
set search_path = ''
set row_security = off
as $$
declare
    v_attempts_until_attention constant integer := 10;
    v_launch campaign_runner.launches;
begin
    v_launch := campaign_runner.claim(p_campaign_id);

    -- Another step may be at work on the launch. To wait for it would end in 55P03, here where nothing catches it, and
    -- undo what this step did for other campaigns.
    perform from campaign_runner.launches l
    where l.id = v_launch.id and l.closed_at is null
    for update skip locked;
    if not found then
        return false;
    end if;

    update campaign_runner.launches l
    set
        attempts = l.attempts + 1,
        -- A minute, doubled each time, at most an hour; what only a person can mend waits for one.
        next_attempt_at = case
            when p_code = 'CR002' or l.attempts + 1 >= v_attempts_until_attention then 'infinity'
            else p_now + least(interval '1 hour', interval '1 minute' * power(2, l.attempts))
        end,
        failed_with = p_code,
        failed_version = campaign_runner.version(p_campaign_id),
        last_error = p_message,
        last_error_detail = p_detail
    where l.id = v_launch.id;

    insert into campaign_runner.run_errors (run_id, campaign_id, error)
    values (p_run_id, p_campaign_id, p_message)
    on conflict (run_id, campaign_id) do update set error = excluded.error, occurred_at = now();
    return true;
exception
    when sqlstate 'CR001' then
        return false;
end;
$$;
comment on function campaign_runner.record_failure(uuid, uuid, text, text, text, timestamptz) is
    'Enters a failure of the campaign''s own into its launch, which then backs off, and into the errors of the run. False: '
    'somebody else is at work on the campaign, or it is gone, and then it has not failed.';
revoke execute on function campaign_runner.record_failure(uuid, uuid, text, text, text, timestamptz)
    from public, anon, authenticated;
grant execute on function campaign_runner.record_failure(uuid, uuid, text, text, text, timestamptz) to service_role;


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
set search_path = ''
as $$
begin
    -- The database's own message may quote a row: only names of things in the schema get out.
    return case
        when p_code like 'CR%' then p_message
        when p_code = '57014' then
            'The database stopped the work on this campaign because it took too long, even in the smallest step. '
            'Look for a slow trigger on campaign_recipients or campaigns.'
        else format(
            'The database refused to write for this campaign (SQLSTATE %s%s%s%s). Correct that, or edit the campaign, and it '
            'is tried again; the ledger campaign_runner.launches has the details.',
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


create or replace function public.campaign_runner_step(
    p_run_id uuid,
    p_organization_id uuid,
    p_system_user_id uuid,
    p_system_user_roles text[],
    p_max_rows integer,
    p_max_lateness_minutes integer default null
)
returns jsonb
language plpgsql
volatile
set search_path = ''
set row_security = off
-- For all that it calls. A session keeps the plans that it made while a table was small, and one that reads such a table
-- from end to end is ever more expensive: 1,000 campaigns of 100 took 40 s in the place of 4.
set enable_seqscan = off
set jit = off
as $$
declare
    v_smallest_step constant integer := 500;
    v_candidates_at_most constant integer := 1000;
    -- Each launch holds an advisory lock to the end of the step, and the lock table has room for a few thousand.
    v_launches_at_most constant integer := 250;
    v_now constant timestamptz := now();
    v_deadline timestamptz := clock_timestamp() + interval '2 seconds';
    v_rows_left bigint := greatest(p_max_rows, 1);
    v_campaign_ids uuid[];
    v_campaign_id uuid;
    v_piece record;
    v_contacts bigint := 0;
    v_reconciled bigint := 0;
    v_launched integer := 0;
    v_failed integer := 0;
    v_busy integer := 0;
    v_is_more_left boolean := false;
    v_is_laid_out boolean := false;
    v_timed_out boolean := false;
    v_is_recorded boolean;
    v_is_first boolean;
    v_code text;
    v_message text;
    v_detail text;
    v_table text;
    v_column text;
    v_constraint text;
begin
    -- The report waits for this lock, so no step can add to a run that has answered.
    perform pg_advisory_xact_lock_shared(campaign_runner.lock_key('run', p_run_id));
    if exists (select from campaign_runner.runs r where r.id = p_run_id and r.closed_at is not null) then
        raise exception 'the run is closed' using errcode = 'CR409';
    end if;
    v_is_first := not exists (select from campaign_runner.runs r where r.id = p_run_id);
    perform campaign_runner.check_configuration(p_organization_id, p_system_user_id);

    -- A row that somebody else has written but not committed is not waited for: its campaign's turn comes again.
    perform set_config('lock_timeout', '250ms', true);
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

    -- Launches of campaigns that were deleted. An array, since a semijoin was planned as a nested loop, and an idle tick
    -- behind 1,000 launches took 60 ms instead of 1.
    update campaign_runner.launches l
    set
        state = 'abandoned',
        closed_at = clock_timestamp(),
        -- Where they do not go with their campaign. Rows that come later are somebody else's.
        -- Of one that was still claimed: what the launch before it left.
        left_recipients = coalesce(l.generates, campaign_runner.would_generate(l.campaign_id))
            and exists (select from public.campaign_recipients r where r.campaign_id = l.campaign_id)
    where l.id = any (array(
        select o.id
        from campaign_runner.launches o
        where o.closed_at is null and not exists (select from public.campaigns c where c.id = o.campaign_id)
        for update skip locked
    ));

    -- Organizations take turns. Within a turn a fresh campaign goes first, which is often small, and then the launch
    -- that has waited longest for its next slice. Fresh campaigns of one minute are equals, of which each session begins
    -- with others: with one order for all, steps side by side met at every campaign.
    select coalesce(array_agg(queue.campaign_id order by queue.turn, queue.has_begun, queue.since, queue.lot), '{}')
    into v_campaign_ids
    from (
        select due.campaign_id, due.has_begun, due.since, due.lot, row_number() over (
            partition by due.organization_id order by due.has_begun, due.since, due.lot
        ) as turn
        from (
            select
                d.campaign_id,
                d.organization_id,
                coalesce((d.launch).state <> 'claimed', false) as has_begun,
                coalesce(
                    (
                        select max(s.worked_at)
                        from campaign_runner.launch_slices s
                        where s.launch_id = (d.launch).id
                    ),
                    date_trunc('minute', d.scheduled_at)
                ) as since,
                uuid_hash_extended(d.campaign_id, pg_backend_pid()) as lot
            from campaign_runner.due_campaigns(p_organization_id, p_system_user_id, p_system_user_roles, v_now) d
        ) due
        order by turn, due.has_begun, due.since, due.lot
        limit v_candidates_at_most
    ) queue;

    foreach v_campaign_id in array v_campaign_ids loop
        if v_rows_left <= 0 or v_launched >= v_launches_at_most or clock_timestamp() >= v_deadline then
            v_is_more_left := true;
            exit;
        end if;
        begin
            select * into v_piece
            from campaign_runner.advance(
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
                -- Others can take the slices as soon as this step has answered.
                v_is_laid_out := v_piece.outcome = 'laid_out';
                exit when v_is_laid_out;
            end if;
        exception
            when sqlstate 'CR001' or lock_not_available or deadlock_detected or serialization_failure then
                -- Somebody else has it: nobody is to blame, and the others go on.
                v_busy := v_busy + 1;
            when sqlstate 'CR003' then
                v_is_more_left := true;
            when query_canceled then
                get stacked diagnostics v_message = message_text;
                -- The timer does not fire twice in a statement, so from here on there is nothing but the way out. A
                -- cancel by a person is not ours to survive.
                if v_message not like '%statement timeout%' then
                    raise;
                end if;
                v_timed_out := true;
                v_is_more_left := true;
                if p_max_rows <= v_smallest_step and v_contacts = 0 then
                    v_is_recorded := campaign_runner.record_failure(
                        p_run_id, v_campaign_id, '57014', campaign_runner.explain_failure('57014', '', '', '', ''),
                        v_message, v_now
                    );
                    v_failed := v_failed + v_is_recorded::integer;
                    v_busy := v_busy + (not v_is_recorded)::integer;
                end if;
                exit;
            when others then
                get stacked diagnostics
                    v_code = returned_sqlstate, v_message = message_text, v_detail = pg_exception_detail,
                    v_table = table_name, v_column = column_name, v_constraint = constraint_name;
                -- Connection, resources, operator, disk: the database's trouble, and nobody's fault. The step is retried.
                if left(v_code, 2) in ('08', '53', '57', '58') then
                    raise;
                end if;
                if left(v_code, 2) = '42' and campaign_runner.missing_privilege() is not null then
                    raise exception 'the service role lacks %: apply the migrations', campaign_runner.missing_privilege()
                        using errcode = 'CR500';
                end if;
                v_is_recorded := campaign_runner.record_failure(
                    p_run_id, v_campaign_id, v_code,
                    campaign_runner.explain_failure(v_code, v_message, v_table, v_column, v_constraint),
                    concat_ws(E'\n', v_message, nullif(v_detail, '')), v_now
                );
                v_failed := v_failed + v_is_recorded::integer;
                v_busy := v_busy + (not v_is_recorded)::integer;
        end;
    end loop;

    if v_launched + v_failed > 0 then
        perform campaign_runner.open_run(p_run_id, p_system_user_id);
    end if;
    -- Last, and without waiting: the row is locked to the end of the transaction, and every run wants it.
    update campaign_runner.last_tick t
    set at = clock_timestamp()
    where t.singleton and exists (select from campaign_runner.last_tick for update skip locked);

    return jsonb_build_object(
        'laid_out', v_is_laid_out,
        'work_left', v_is_more_left or (cardinality(v_campaign_ids) = v_candidates_at_most and v_launched + v_failed > 0),
        'busy', v_busy,
        'contacts', v_contacts,
        'reconciled', v_reconciled,
        'launched', v_launched,
        'failed', v_failed,
        'timed_out', v_timed_out,
        'to_report', v_launched + v_failed > 0 or exists (select from campaign_runner.runs r where r.id = p_run_id)
    );
end;
$$;
comment on function public.campaign_runner_step(uuid, uuid, uuid, text[], integer, integer) is
    'One step of a run: works through up to p_max_rows contacts of due campaigns, launches what became complete, records '
    'what failed, and says whether work is left. Safe to repeat.';
revoke execute on function public.campaign_runner_step(uuid, uuid, uuid, text[], integer, integer)
    from public, anon, authenticated;
grant execute on function public.campaign_runner_step(uuid, uuid, uuid, text[], integer, integer) to service_role;


create or replace function public.campaign_runner_report(
    p_run_id uuid
)
returns jsonb
language plpgsql
volatile
set search_path = ''
set row_security = off
set jit = off
as $$
begin
    -- PostgREST goes on with a step whose client has gone. Wait for those of this run, but not beyond the statement
    -- timeout: 55P03 tells the caller to ask again.
    perform set_config('lock_timeout', '5s', true);
    perform pg_advisory_xact_lock(campaign_runner.lock_key('run', p_run_id));

    -- Closed even where no step got as far as to open it: one that is still on its way must find the door shut.
    insert into campaign_runner.runs (id, closed_at)
    values (p_run_id, now())
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
    'Closes a run and tells what it launched and what it could not: the body of the HTTP answer. Safe to repeat.';
revoke execute on function public.campaign_runner_report(uuid) from public, anon, authenticated;
grant execute on function public.campaign_runner_report(uuid) to service_role;


create or replace function public.campaign_runner_retry(
    p_campaign_id uuid
)
returns jsonb
language plpgsql
volatile
set search_path = ''
set row_security = off
set jit = off
as $$
declare
    v_answer jsonb;
begin
    -- A step may be recording a failure at this moment: 55P03 tells the caller to ask again.
    perform set_config('lock_timeout', '5s', true);
    with waiting as (
        select l.id, l.campaign_id, l.organization_id, l.campaign_name, l.attempts, l.last_error
        from campaign_runner.launches l
        where l.closed_at is null
            and l.next_attempt_at is not null
            and (p_campaign_id is null or l.campaign_id = p_campaign_id)
        order by l.id
        for update
    ),
    freed as (
        update campaign_runner.launches l
        set attempts = 0, rechecks = 0, next_attempt_at = null
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
