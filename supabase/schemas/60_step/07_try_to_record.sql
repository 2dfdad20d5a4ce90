create or replace function campaign_runner.try_to_record(
    p_run_id uuid,
    p_campaign_id uuid,
    p_version text,
    p_code text,
    p_message text,
    p_detail text,
    p_now timestamptz,
    out is_reported boolean,
    out unrecorded text
)
language plpgsql
volatile
set search_path = pg_catalog, pg_temp
set row_security = off
as $$
begin
    is_reported := campaign_runner.record_failure(
        p_run_id, p_campaign_id, p_version, p_code, p_message, p_detail, p_now
    );
exception
    when query_canceled or assert_failure or others then
        -- A person's cancel ends the whole step.
        if sqlerrm = 'canceling statement due to user request' then
            raise;
        end if;
        is_reported := false;
        unrecorded := sqlstate;
end;
$$;
comment on function campaign_runner.try_to_record(uuid, uuid, text, text, text, text, timestamptz) is
    'Calls record_failure(), and catches what it raises: unrecorded is the SQLSTATE that kept the failure from being recorded.';
