create or replace function campaign_runner.abandon_launches(
    p_launch_ids bigint[]
)
returns void
language plpgsql
volatile
set search_path = pg_catalog, pg_temp
set row_security = off
set enable_seqscan = off
as $$
begin
    -- Not even planned where there are none: the plan read all open launches.
    if cardinality(p_launch_ids) = 0 then
        return;
    end if;
    update campaign_runner.launches l
    set
        state = 'abandoned',
        closed_at = clock_timestamp(),
        waiting = null,
        next_attempt_at = null,
        -- As in advance_launch().
        last_error = case when l.failed_with is not null then l.last_error end,
        last_error_detail = case when l.failed_with is not null then l.last_error_detail end,
        -- True where no cascade deleted the recipients. Decided now: recipients that a person writes later do not make the next
        -- launch resume. An opened launch inherits what the launch before it left.
        left_recipients = coalesce(l.generates, campaign_runner.would_generate(l.campaign_id))
            and exists (select from public.campaign_recipients r where r.campaign_id = l.campaign_id)
    where l.id = any (array(
        select o.id
        from campaign_runner.launches o
        where o.id = any (p_launch_ids) and o.closed_at is null
        for update skip locked
    ));
end;
$$;
comment on function campaign_runner.abandon_launches(bigint[]) is
    'Closes those of these launches that no other step has locked. Their campaigns are gone.';
