create or replace function campaign_runner.restart_reconcile(
    p_launch_id bigint
)
returns void
language plpgsql
volatile
set search_path = pg_catalog, pg_temp
set row_security = off
as $$
declare
    v_free bigint;
begin
    perform from campaign_runner.launches l
    where l.id = p_launch_id and l.closed_at is null
    for update skip locked;
    if not found then
        raise exception 'another step is at work on the launch' using errcode = 'CR001';
    end if;

    -- Another step may be working on a chunk by the old rules. That chunk would count as done.
    select count(*) into v_free
    from (
        select from campaign_runner.launch_chunks s
        where s.launch_id = p_launch_id
        order by s.lo
        for update skip locked
    ) free_chunks;
    if v_free < (select count(*) from campaign_runner.launch_chunks s where s.launch_id = p_launch_id) then
        raise exception 'another step is at work on a chunk of the launch' using errcode = 'CR001';
    end if;

    update campaign_runner.launch_chunks s
    set "cursor" = s.lo, contacts = 0, excluded = '{}', excluded_countries = '{}', worked_at = clock_timestamp()
    where s.launch_id = p_launch_id;

    update campaign_runner.launches l
    set
        state = 'reconciling',
        organization_id = c.organization_id,
        campaign_name = coalesce(c.name::text, ''),
        scheduled_at = c.scheduled_at,
        rules_hash = (campaign_runner.read_rules(c.id)).hash
    from public.campaigns c
    where l.id = p_launch_id and c.id = l.campaign_id and c.organization_id is not null and c.scheduled_at is not null;
    if not found then
        raise exception 'the campaign is not due any more' using errcode = 'CR001';
    end if;
end;
$$;
comment on function campaign_runner.restart_reconcile(bigint) is
    'Sends a launch to reconciling from the start, by the schedule and rules of now. Raises CR001 where another step '
    'is at work on it.';
