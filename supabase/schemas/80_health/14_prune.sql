create or replace function campaign_runner.prune(
    p_now timestamptz default now(),
    p_max_rows integer default 1000
)
returns void
language plpgsql
volatile
set search_path = pg_catalog, pg_temp
set row_security = off
set lock_timeout = '250ms'
set enable_seqscan = off
set enable_bitmapscan = off
as $$
declare
    v_before constant timestamptz := p_now - interval '90 days';
    v_message text;
    v_launch_ids bigint[];
begin
    -- An abandoned launch that left recipients tells the next launch that the recipients are incomplete. Keep the
    -- abandoned launch until a later launch has decided whether it generates. Keep the later launches of that campaign as long:
    -- would_generate() reads the last closed launch only.
    v_launch_ids := array(
        select l.id
        from campaign_runner.launches l
        where l.closed_at < v_before
            and (
                l.left_recipients is not true
                or exists (
                    select from campaign_runner.launches later
                    where later.campaign_id = l.campaign_id and later.id > l.id and later.generates is not null
                )
            )
            and not exists (
                select from campaign_runner.launches earlier
                where earlier.campaign_id = l.campaign_id and earlier.id < l.id and earlier.left_recipients
            )
        order by l.closed_at
        limit p_max_rows
        for update skip locked
    );
    -- A huge audience has thousands of chunks, and its launch goes when the last of them has gone.
    delete from campaign_runner.launch_chunks s
    where s.ctid = any (array(
        select o.ctid
        from campaign_runner.launch_chunks o
        where o.launch_id = any (v_launch_ids)
        limit p_max_rows
        for update skip locked
    ));
    delete from campaign_runner.launches l
    where l.id = any (v_launch_ids)
        and not exists (select from campaign_runner.launch_chunks s where s.launch_id = l.id);

    delete from campaign_runner.runs r
    where r.ctid = any (array(
        select o.ctid
        from campaign_runner.runs o
        where o.opened_at < v_before
        order by o.opened_at
        limit p_max_rows
        for update skip locked
    ));
    delete from campaign_runner.run_errors e
    where e.ctid = any (array(
        select o.ctid
        from campaign_runner.run_errors o
        where o.occurred_at < v_before
        order by o.occurred_at
        limit p_max_rows
        for update skip locked
    ));
exception
    when query_canceled then
        get stacked diagnostics v_message = message_text;
        if v_message not like '%statement timeout%' then
            raise;
        end if;
        raise warning 'The ledger could not be pruned in time; the next report goes on.';
    when others then
        raise warning 'The ledger could not be pruned (SQLSTATE %); the next report tries again.', sqlstate;
end;
$$;
comment on function campaign_runner.prune(timestamptz, integer) is
    'Deletes closed launches with their chunks, runs and their errors that are older than 90 days, up to so many rows of '
    'each table. Waits for no lock, and raises nothing but a person''s cancel: the report that calls it has more to lose.';
