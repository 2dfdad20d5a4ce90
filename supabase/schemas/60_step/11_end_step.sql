create or replace function campaign_runner.end_step(
    p_run_id uuid,
    p_has_worked boolean,
    p_organization_id uuid,
    p_system_user_id uuid,
    p_system_user_roles text[],
    p_max_lateness_minutes integer,
    p_campaigns_after_time timestamptz,
    p_campaigns_after_id uuid,
    p_launches_after_id uuid,
    out unrecorded text
)
language plpgsql
volatile
set search_path = pg_catalog, pg_temp
set row_security = off
as $$
begin
    if p_has_worked then
        perform campaign_runner.open_run(p_run_id, p_system_user_id);
    end if;
    -- Last, and without waiting: the row is locked to the end of the transaction, and every run wants it.
    update campaign_runner.last_call t
    set
        at = clock_timestamp(),
        organization_id = p_organization_id,
        system_user_id = p_system_user_id,
        system_user_roles = p_system_user_roles,
        max_lateness_minutes = p_max_lateness_minutes,
        campaigns_after_time = coalesce(p_campaigns_after_time, t.campaigns_after_time),
        campaigns_after_id = coalesce(p_campaigns_after_id, t.campaigns_after_id),
        launches_after_id = p_launches_after_id
    where t.singleton and exists (select from campaign_runner.last_call for update skip locked);
-- A failure would undo the launches of this step.
exception
    when query_canceled or others then
        -- A person's cancel ends the whole step.
        if sqlerrm = 'canceling statement due to user request' then
            raise;
        end if;
        unrecorded := sqlstate;
end;
$$;
comment on function
    campaign_runner.end_step(uuid, boolean, uuid, uuid, text[], integer, timestamptz, uuid, uuid)
is
    'Notes the run and the call. Where the position of campaigns is NULL, the stored one stays. unrecorded: the SQLSTATE that '
    'kept both from being noted.';
