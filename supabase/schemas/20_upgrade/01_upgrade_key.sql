create or replace function campaign_runner.upgrade_key()
returns bigint
language plpgsql
immutable
set search_path = pg_catalog, pg_temp
as $$
begin
    return hashtextextended('campaign_runner upgrade', 0);
end;
$$;
comment on function campaign_runner.upgrade_key() is
    'The advisory lock that all transactions of the runner share, and that an upgrade has alone.';
