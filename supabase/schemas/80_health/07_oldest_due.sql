create or replace function campaign_runner.oldest_due(
    p_organization_id uuid,
    p_system_user_id uuid,
    p_system_user_roles text[],
    p_open_at_most integer,
    p_at_most integer,
    p_now timestamptz
)
returns table (campaign_id uuid, organization_id uuid, name text, scheduled_at timestamptz, since timestamptz)
language plpgsql
stable
set search_path = pg_catalog, pg_temp
set row_security = off
as $$
#variable_conflict use_column
begin
    -- A launch counts from its last work, not from its schedule: the runner works on the launch, or has tried it. The number
    -- of campaigns is bounded: where nothing calls the runner, all campaigns become due.
    return query
        with scheduled_campaigns as materialized (
            -- A schedule of '-infinity' has no age, and would hide the others.
            select c.id, c.organization_id, coalesce(c.name::text, '') as name, c.scheduled_at
            from public.campaigns c
            where c.status = 'scheduled'
                and c.scheduled_at <= p_now
                and c.scheduled_at > '-infinity'
                and (p_organization_id is null or c.organization_id = p_organization_id)
            order by c.scheduled_at
            limit p_at_most
        ),
        due_campaigns as materialized (
            select s.*
            from scheduled_campaigns s
            join campaign_runner.due_campaigns(array(select a.id from scheduled_campaigns a), p_now) d
                on d.campaign_id = s.id
        ),
        untried as (
            select d.id, d.organization_id, d.name, d.scheduled_at, d.scheduled_at as since
            from due_campaigns d
            where not exists (
                select from campaign_runner.launches l where l.campaign_id = d.id and l.closed_at is null
            )
            order by d.scheduled_at
            limit 1
        ),
        stand_in as (
            -- All p_at_most campaigns that were read have a launch. A campaign beyond them may have none, and is unknown. The
            -- last one that was read stands for it, as if it had waited since the last call.
            select d.id, d.organization_id, d.name, d.scheduled_at, greatest(d.scheduled_at, t.at) as since
            from due_campaigns d
            cross join campaign_runner.last_call t
            where (select count(*) from scheduled_campaigns) >= p_at_most and not exists (select from untried)
            order by d.scheduled_at desc
            limit 1
        ),
        tried as (
            select
                (o.launch).campaign_id,
                (o.launch).organization_id,
                o.name,
                o.scheduled_at,
                greatest(
                    o.scheduled_at,
                    (o.launch).opened_at,
                    (o.launch).next_attempt_at,
                    (
                        select max(s.worked_at)
                        from campaign_runner.launch_chunks s
                        where s.launch_id = (o.launch).id
                    )
                )
            from campaign_runner.open_launches(
                p_organization_id, p_system_user_id, p_system_user_roles, p_open_at_most, p_now
            ) o
            where o.condition in ('ready', 'opened', 'generating', 'reconciling')
                or (o.condition = 'failing' and coalesce((o.launch).next_attempt_at <= p_now, true))
        )
        -- A step that is under way may have worked on it after this transaction began.
        select due.id, due.organization_id, due.name, due.scheduled_at, least(due.since, p_now)
        from (
            select * from untried
            union all
            select * from stand_in
            union all
            select * from tried
        ) due
        where isfinite(due.since)
        order by due.since, due.id
        limit 1;
end;
$$;
comment on function campaign_runner.oldest_due(uuid, uuid, text[], integer, integer, timestamptz) is
    'The ready campaign that has waited longest for a run: since its schedule, the end of its backoff, or the last work on '
    'it. No row: none waits. It looks at p_open_at_most open launches of each kind, and at the p_at_most campaigns with '
    'the oldest schedules.';
