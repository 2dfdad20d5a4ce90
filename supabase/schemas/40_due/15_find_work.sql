create or replace function campaign_runner.find_work(
    p_organization_id uuid,
    p_system_user_id uuid,
    p_system_user_roles text[],
    p_now timestamptz,
    out campaign_ids uuid[],
    out vanished_launch_ids bigint[],
    out may_be_more boolean,
    out campaigns_after_time timestamptz,
    out campaigns_after_id uuid,
    out launches_after_id uuid
)
language plpgsql
stable
set search_path = pg_catalog, pg_temp
set row_security = off
as $$
declare
    v_from campaign_runner.last_call;
    v_ready record;
    v_vanished record;
begin
    select * into v_from from campaign_runner.last_call;
    -- A call for one organization looks at its campaigns from the first on.
    if p_organization_id is not null then
        v_from.campaigns_after_time := '-infinity';
        v_from.campaigns_after_id := '00000000-0000-0000-0000-000000000000';
    end if;
    select * into v_ready
    from campaign_runner.ready_campaigns(
        p_organization_id, p_system_user_id, p_system_user_roles, p_now,
        v_from.campaigns_after_time, v_from.campaigns_after_id
    );
    campaign_ids := campaign_runner.take_turns(v_ready.campaign_ids, p_organization_id, p_now);
    may_be_more := v_ready.may_be_more;
    -- A call for one organization does not move the position for all organizations.
    if p_organization_id is null then
        campaigns_after_time := v_ready.after_time;
        campaigns_after_id := v_ready.after_id;
    end if;

    -- The next open launches, which have a position of their own: the campaign of one may be gone.
    select * into v_vanished from campaign_runner.vanished_launches(v_from.launches_after_id);
    vanished_launch_ids := v_vanished.launch_ids;
    launches_after_id := v_vanished.after_id;
end;
$$;
comment on function campaign_runner.find_work(uuid, uuid, text[], timestamptz) is
    'The campaigns that are due and ready, in the order of their turns, of those that a step looks at; the launches '
    'whose campaigns are gone; and where the next step goes on to look.';
