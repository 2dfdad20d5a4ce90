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
-- For all functions that this one calls. A session keeps a plan that it made while a table was small. Such a plan may read the
-- whole table, which costs more as the table grows: 1,000 campaigns of 100 took 40 s in the place of 4.
set enable_seqscan = off
set jit = off
as $$
declare
    -- Each launch, and each failure, holds an advisory lock to the end of the step, and the lock table has room for a few
    -- thousand.
    v_launches_at_most constant integer := 250;
    v_now constant timestamptz := now();
    v_deadline timestamptz;
    v_rows_left bigint := greatest(p_max_rows, 1);
    v_work record;
    v_campaign_id uuid;
    v_attempt record;
    v_contacts bigint := 0;
    v_reconciled bigint := 0;
    v_launched integer := 0;
    v_failed integer := 0;
    v_busy integer := 0;
    v_locked integer := 0;
    v_is_more_left boolean := false;
    v_is_laid_out boolean := false;
    v_timed_out boolean := false;
    v_is_first_step boolean;
    v_unrecorded text;
    v_end_unrecorded text;
begin
    perform campaign_runner.begin_step(p_run_id, p_organization_id, p_system_user_id, p_interface);
    v_is_first_step := not exists (select from campaign_runner.runs r where r.id = p_run_id);
    select * into v_work
    from campaign_runner.find_work(p_organization_id, p_system_user_id, p_system_user_roles, v_now);
    perform campaign_runner.abandon_launches(v_work.vanished_launch_ids);

    foreach v_campaign_id in array v_work.campaign_ids loop
        v_deadline := coalesce(v_deadline, clock_timestamp() + interval '2 seconds');
        if v_rows_left <= 0 or v_launched + v_failed >= v_launches_at_most or clock_timestamp() >= v_deadline then
            v_is_more_left := true;
            exit;
        end if;
        select * into v_attempt
        from campaign_runner.attempt_campaign(
            p_run_id, v_campaign_id, p_system_user_id, p_system_user_roles,
            v_rows_left::integer, v_rows_left >= p_max_rows, p_max_lateness_minutes, v_now
        );
        v_unrecorded := coalesce(v_unrecorded, v_attempt.unrecorded);
        if v_attempt.outcome in ('launched', 'progressed', 'laid_out') then
            -- An empty audience costs something too.
            v_rows_left := v_rows_left - greatest(v_attempt.contacts, 1);
        end if;
        if v_attempt.outcome = 'launched' and v_launched = 0 then
            -- The campaign's row is locked from now to the end of the step, and somebody may want to edit it. The first step
            -- of a run answers sooner: the run begins further steps only when this answer says that work is left.
            v_deadline := least(
                v_deadline,
                clock_timestamp() + case when v_is_first_step then interval '100 ms' else interval '500 ms' end
            );
            v_rows_left := least(v_rows_left, 20000);
        end if;
        v_contacts := v_contacts + coalesce(v_attempt.contacts, 0);
        v_reconciled := v_reconciled + coalesce(v_attempt.reconciled, 0);
        v_launched := v_launched + (v_attempt.outcome = 'launched')::integer;
        v_failed := v_failed + (v_attempt.outcome = 'failed')::integer;
        v_busy := v_busy + (v_attempt.outcome = 'busy')::integer;
        v_locked := v_locked + (v_attempt.is_locked is true)::integer;
        v_is_more_left := v_is_more_left or v_attempt.outcome in ('progressed', 'laid_out', 'left');
        -- Others can take the chunks as soon as this step has answered.
        v_is_laid_out := v_attempt.outcome = 'laid_out';
        exit when v_is_laid_out;
        -- After statement_timeout has fired, the rest of the statement has no limit.
        v_timed_out := v_attempt.timed_out is true;
        if v_timed_out then
            v_is_more_left := true;
            exit;
        end if;
    end loop;

    v_end_unrecorded := campaign_runner.end_step(
        p_run_id, v_contacts > 0 or v_launched + v_failed > 0, p_organization_id,
        p_system_user_id, p_system_user_roles, p_max_lateness_minutes,
        v_work.campaigns_after_time, v_work.campaigns_after_id, v_work.launches_after_id
    );

    return jsonb_build_object(
        'laid_out', v_is_laid_out,
        'work_left', v_is_more_left or (v_work.may_be_more and v_launched + v_failed > 0),
        'busy', v_busy,
        'locked', v_locked,
        'contacts', v_contacts,
        'reconciled', v_reconciled,
        'launched', v_launched,
        'failed', v_failed,
        'timed_out', v_timed_out,
        'unrecorded', coalesce(v_unrecorded, v_end_unrecorded),
        'to_report', v_launched + v_failed > 0 or exists (select from campaign_runner.runs r where r.id = p_run_id)
    );
end;
$$;
comment on function public.campaign_runner_step(uuid, uuid, uuid, text[], integer, integer, integer) is
    'One step of a run: works through up to p_max_rows contacts of due campaigns, launches what became complete, records '
    'what failed, and says whether work is left. Safe to repeat. unrecorded: the SQLSTATE that kept a failure, or the run and '
    'the call, from being recorded; what the step did before stays. Raises what hold_version() and check_configuration() '
    'raise.';
