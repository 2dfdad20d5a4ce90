create or replace function campaign_runner.set_sending(
    p_campaign_id uuid
)
returns void
language plpgsql
volatile
set search_path = public, extensions
as $$
begin
    update public.campaigns c
    set status = 'sending'
    where c.id operator(pg_catalog.=) p_campaign_id and c.status operator(pg_catalog.=) 'scheduled';
end;
$$;
comment on function campaign_runner.set_sending(uuid) is
    'Sets the status of a scheduled campaign. Only for mark_sending().';
