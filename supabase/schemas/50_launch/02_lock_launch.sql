create or replace function campaign_runner.lock_launch(
    p_campaign_id uuid
)
returns campaign_runner.launches
language plpgsql
volatile
set search_path = pg_catalog, pg_temp
set row_security = off
as $$
begin
    -- `insert … on conflict` would wait for another step; this lock does not. It is held to the end of the transaction, and the
    -- next step that gets it sees what the one before has committed.
    if not pg_try_advisory_xact_lock(campaign_runner.lock_key('launch', p_campaign_id)) then
        raise exception 'another step opens the launch' using errcode = 'CR001';
    end if;
    return (select l from campaign_runner.launches l where l.campaign_id = p_campaign_id and l.closed_at is null);
end;
$$;
comment on function campaign_runner.lock_launch(uuid) is
    'The open launch of a campaign, or NULL, with the lock on its opening held to the end of the transaction. Raises CR001 '
    'where another step holds that lock.';
