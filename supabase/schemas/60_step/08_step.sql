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
            -- True where no cascade deleted the recipients. Later rows belong to others. An opened launch inherits what the
            -- launch before it left.
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
                -- A person's cancel ends the whole step.
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
                -- statement_timeout fires once for each statement: end the step now.
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
