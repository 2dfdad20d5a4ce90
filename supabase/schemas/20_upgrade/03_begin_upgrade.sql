create or replace function campaign_runner.begin_upgrade()
returns void
language plpgsql
volatile
set search_path = pg_catalog, pg_temp
as $$
begin
    -- Calls that begin while this waits are turned away, so it waits for one step at most.
    perform pg_advisory_xact_lock(campaign_runner.upgrade_key());
end;
$$;
comment on function campaign_runner.begin_upgrade() is
    'Waits for the calls that are under way, and keeps others away to the end of the transaction.';
