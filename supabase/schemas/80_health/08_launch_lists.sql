create or replace function campaign_runner.launch_lists(
    p_organization_id uuid,
    p_system_user_id uuid,
    p_system_user_roles text[],
    p_with_details boolean,
    p_open_at_most integer,
    p_shown_at_most integer,
    p_now timestamptz
)
returns jsonb
language plpgsql
stable
set search_path = pg_catalog, pg_temp
set row_security = off
as $$
begin
    return (
        with open_launches as materialized (
            select
                o.*,
                case when (o.launch).waiting in ('held', 'needs_attention') then 'person' else (o.launch).waiting end as kind
            from campaign_runner.open_launches(
                p_organization_id, p_system_user_id, p_system_user_roles, p_open_at_most, p_now
            ) o
        ),
        -- Of each kind so many were read at most, before their conditions were known.
        cut_kinds as materialized (
            select coalesce(o.kind, 'none') as kind from open_launches o group by o.kind having count(*) >= p_open_at_most
        ),
        listed as materialized (
            select
                lists.name as list,
                o.launch,
                o.name,
                o.scheduled_at,
                row_number() over (
                    partition by lists.name
                    order by
                        (o.launch).next_attempt_at,
                        case when lists.name = 'generating' then (o.launch).id else -(o.launch).id end
                ) as position
            from open_launches o
            join (
                values
                    ('generating', 'opened'), ('generating', 'generating'), ('generating', 'reconciling'),
                    ('backing_off', 'failing'), ('held', 'held'), ('needs_attention', 'needs_attention'),
                    ('taken_over', 'taken_over')
            ) as lists (name, condition) on lists.condition = o.condition
        ),
        shown as materialized (
            select l.* from listed l where l.position <= p_shown_at_most
        ),
        totals as materialized (
            select o.organization_id, counted.contacts, counted.is_estimate
            from (select distinct (s.launch).organization_id from shown s where s.list = 'generating') o
            cross join lateral campaign_runner.contact_count(o.organization_id) counted
        )
        select jsonb_object_agg(
            lists.name,
            (
                select jsonb_build_object(
                    'count', count(*), 'is_capped', exists (select from cut_kinds k where k.kind = any (lists.kinds))
                )
                from listed l
                where l.list = lists.name
            )
            || jsonb_build_object(
                'campaigns', coalesce(
                    (
                        select jsonb_agg(
                            campaign_runner.describe_launch(
                                s.launch, s.name, s.scheduled_at, t.contacts, coalesce(t.is_estimate, false),
                                p_with_details, p_now
                            )
                            order by s.position
                        )
                        from shown s
                        left join totals t on t.organization_id = (s.launch).organization_id
                        where s.list = lists.name
                    ),
                    '[]'
                )
            )
        )
        from (
            values
                ('generating', array['none']), ('backing_off', array['none', 'backoff']), ('held', array['person']),
                ('needs_attention', array['person']), ('taken_over', array['none', 'backoff', 'person'])
        ) as lists (name, kinds)
    );
end;
$$;
comment on function campaign_runner.launch_lists(uuid, uuid, text[], boolean, integer, integer, timestamptz) is
    'The open launches of due campaigns, and of those that were taken over, in lists: generating (or reconciling), backing_off '
    '(failed, and tried again), held, needs_attention, and taken_over, which a person set to sending. Each list shows '
    'p_shown_at_most. is_capped: there may be more in the list than were counted.';
