create or replace function campaign_runner.end_pass(
    p_run_id uuid,
    p_launch_id bigint,
    p_is_whole boolean,
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
        perform campaign_runner.restart_reconcile(p_launch_id);
        return 'laid_out';
    end if;
    perform campaign_runner.mark_sending(p_run_id, v_launch, p_system_user_id, p_now);
    return 'launched';
end;
$$;
comment on function campaign_runner.end_pass(uuid, bigint, boolean, uuid, timestamptz) is
    'Ends a pass all of whose chunks are through: begins the reconcile (laid_out), or marks the campaign sending '
    '(launched).';
