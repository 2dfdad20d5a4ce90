create or replace function campaign_runner.begin_upgrade()
returns void
language plpgsql
volatile
set search_path = pg_catalog, pg_temp
as $$
begin
    -- Transactions that begin meanwhile are turned away, so the wait ends with those that are under way.
    perform pg_advisory_xact_lock(campaign_runner.upgrade_key());
end;
$$;
comment on function campaign_runner.begin_upgrade() is
    'Waits for the transactions of the runner that are under way, and keeps others away to the end of this one.';
