create or replace function campaign_runner.open_launch(
    p_campaign_id uuid
)
returns campaign_runner.launches
language plpgsql
volatile
set search_path = pg_catalog, pg_temp
set row_security = off
as $$
declare
    v_launch campaign_runner.launches := campaign_runner.lock_launch(p_campaign_id);
begin
    if v_launch.id is null then
        insert into campaign_runner.launches (campaign_id, organization_id, campaign_name, scheduled_at)
        select d.campaign_id, d.organization_id, d.name, d.scheduled_at
        from campaign_runner.due_campaigns(array[p_campaign_id]) d
        returning * into v_launch;
        if not found then
            raise exception 'the campaign is not due any more' using errcode = 'CR001';
        end if;
    end if;
    return v_launch;
end;
$$;
comment on function campaign_runner.open_launch(uuid) is
    'Returns the open launch of a campaign, or creates one in the state opened, which can record a failure. Raises CR001 '
    'where another step opens it.';
