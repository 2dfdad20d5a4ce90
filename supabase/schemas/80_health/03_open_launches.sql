create or replace function campaign_runner.open_launches(
    p_organization_id uuid,
    p_system_user_id uuid,
    p_system_user_roles text[],
    p_at_most integer,
    p_now timestamptz
)
returns table (launch campaign_runner.launches, name text, scheduled_at timestamptz, condition text)
language plpgsql
stable
set search_path = pg_catalog, pg_temp
set row_security = off
as $$
#variable_conflict use_column
begin
    return query
        with page as materialized (
            (
                select l as launch
                from campaign_runner.launches l
                where l.closed_at is null
                    and l.waiting is null
                    and (p_organization_id is null or l.organization_id = p_organization_id)
                order by l.id
                limit p_at_most
            )
            union all
            (
                select l
                from campaign_runner.launches l
                where l.closed_at is null
                    and l.waiting = 'backoff'
                    and (p_organization_id is null or l.organization_id = p_organization_id)
                order by l.next_attempt_at, l.id
                limit p_at_most
            )
            union all
            (
                select l
                from campaign_runner.launches l
                where l.closed_at is null
                    and l.waiting in ('held', 'needs_attention')
                    and (p_organization_id is null or l.organization_id = p_organization_id)
                order by l.id desc
                limit p_at_most
            )
        )
        select
            p.launch,
            coalesce(c.name::text, (p.launch).campaign_name),
            c.scheduled_at,
            campaign_runner.condition(
                p.launch, c.status::text, d.campaign_id is not null,
                d.campaign_id is not null
                    and (p.launch).waiting in ('held', 'needs_attention')
                    and campaign_runner.is_launch_ready(p.launch, p_system_user_id, p_system_user_roles, p_now)
            )
        from page p
        left join public.campaigns c on c.id = (p.launch).campaign_id
        left join campaign_runner.due_campaigns(array(select (q.launch).campaign_id from page q), p_now) d
            on d.campaign_id = (p.launch).campaign_id;
end;
$$;
comment on function campaign_runner.open_launches(uuid, uuid, text[], integer, timestamptz) is
    'The open launches with their conditions: up to p_at_most of those that wait for nothing, as many in backoff, and the '
    'newest ones that wait for a person.';
