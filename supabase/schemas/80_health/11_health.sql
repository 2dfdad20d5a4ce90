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
-- A lock on a table ends the call with 55P03 after this time, so that the caller hears of the lock.
set lock_timeout = '2s'
-- These hold for the functions that this one calls, too. A short page must read its index in the order of the index: a bitmap
-- of a million held launches took 6 s. A session keeps a plan that it made while a table was small.
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
    'The state of the runner: the last call and runs; the campaigns of one organization or (NULL) of all that are due, come '
    'next, are under way or wait after a failure. The runs are those of all. Lists show 20 campaigns, counts end where '
    'is_capped says so. p_with_details: with the words of the source that refused, which may hold row data.';
