create or replace function public.campaign_runner_doctor(
    p_system_user_id uuid,
    p_system_user_roles text[]
)
returns jsonb
language plpgsql
volatile
set search_path = pg_catalog, pg_temp
set row_security = off
set jit = off
-- A lock on a table ends the call with 55P03 after this time, so that the caller hears of the lock.
set lock_timeout = '500ms'
as $$
declare
    v_now constant timestamptz := clock_timestamp();
    v_check text;
    v_message text;
    v_facts jsonb := '{}';
    v_errors jsonb := '{}';
begin
    perform campaign_runner.hold_version();
    foreach v_check in array array[
        'version', 'objects', 'requirements', 'grants', 'writing', 'locks', 'guards', 'indexes', 'system_user', 'memberships',
        'schedules', 'tenants', 'closed', 'recipients', 'nobody', 'dropped', 'unmatched', 'audiences', 'last_call'
    ] loop
        begin
            v_facts := v_facts || jsonb_build_object(
                v_check, campaign_runner.examine(v_check, p_system_user_id, p_system_user_roles)
            );
        exception
            when query_canceled then
                get stacked diagnostics v_message = message_text;
                if v_message not like '%statement timeout%' then
                    raise;
                end if;
                v_errors := v_errors || jsonb_build_object(v_check, sqlstate);
                exit; -- the time of this call is over; what was found is told
            when others then
                -- Its words stay here, they may quote a row.
                v_errors := v_errors || jsonb_build_object(v_check, sqlstate);
        end;
    end loop;
    return jsonb_build_object('clock', extract(epoch from v_now), 'facts', v_facts, 'errors', v_errors);
end;
$$;
comment on function public.campaign_runner_doctor(uuid, text[]) is
    'Everything that campaign_runner.examine() looks at: the facts, the SQLSTATE of each look that failed, and the time by '
    'the clock of the database, in seconds since 1970.';
