create or replace function campaign_runner.probe_writing()
returns text
language plpgsql
volatile
set search_path = pg_catalog, pg_temp
set row_security = off
as $$
begin
    insert into campaign_runner.run_errors (run_id, campaign_id, error) values (gen_random_uuid(), gen_random_uuid(), '');
    -- The handler undoes the row.
    raise exception 'the row was written' using errcode = 'CR200';
exception
    when sqlstate 'CR200' then
        return null;
    when others then
        return sqlstate;
end;
$$;
comment on function campaign_runner.probe_writing() is
    'Writes a row into the ledger and undoes that. NULL, or the SQLSTATE with which the database refused.';
