create or replace function campaign_runner.set_sending_and_time(
    p_campaign_id uuid,
    p_now timestamptz
)
returns void
language plpgsql
volatile
set search_path = public, extensions
as $$
begin
    update public.campaigns c
    set status = 'sending', updated_at = p_now
    where c.id operator(pg_catalog.=) p_campaign_id and c.status operator(pg_catalog.=) 'scheduled';
end;
$$;
comment on function campaign_runner.set_sending_and_time(uuid, timestamptz) is
    'Sets the status of a scheduled campaign, and when it was updated. Only for mark_sending().';
