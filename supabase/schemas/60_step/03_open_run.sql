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
    'Inserts a run that has outcomes into the ledger, unless another step is inserting the run.';
