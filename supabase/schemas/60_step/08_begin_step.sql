create or replace function campaign_runner.begin_step(
    p_run_id uuid,
    p_organization_id uuid,
    p_system_user_id uuid,
    p_interface integer
)
returns void
language plpgsql
volatile
set search_path = pg_catalog, pg_temp
set row_security = off
as $$
begin
    perform campaign_runner.hold_version(p_interface);
    -- The report waits for this lock, so no step can add to a run that has answered.
    perform pg_advisory_xact_lock_shared(campaign_runner.lock_key('run', p_run_id));
    if exists (select from campaign_runner.runs r where r.id = p_run_id and r.closed_at is not null) then
        raise exception 'the run is closed' using errcode = 'CR409';
    end if;
    -- The step waits at most so long for a lock of another transaction. A lock on a table that find_work() reads ends the step
    -- with 55P03. A lock that an attempt meets is a failure of that campaign. A campaign whose row is locked is tried by a
    -- later step.
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
end;
$$;
comment on function campaign_runner.begin_step(uuid, uuid, uuid, integer) is
    'Holds the version and the run for a step, checks the configuration, and sets what holds to the end of the '
    'transaction. Raises CR409 where the run is closed, and what hold_version() and check_configuration() raise.';
