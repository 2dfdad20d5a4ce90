create or replace function campaign_runner.insert_event(
    p_organization_id uuid,
    p_system_user_id uuid,
    p_payload jsonb
)
returns void
language plpgsql
volatile
set search_path = public, extensions
as $$
begin
    -- The type as a literal, which fits a text and an enum.
    insert into public.activity_events (organization_id, user_id, event_type, payload)
    values (p_organization_id, p_system_user_id, 'campaign.sending', p_payload);
end;
$$;
comment on function campaign_runner.insert_event(uuid, uuid, jsonb) is
    'Writes an activity event. Only for mark_sending().';
