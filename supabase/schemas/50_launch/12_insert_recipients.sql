create or replace function campaign_runner.insert_recipients(
    p_campaign_id uuid,
    p_organization_id uuid,
    p_contact_ids uuid[],
    out inserted bigint
)
language plpgsql
volatile
set search_path = public, extensions
as $$
begin
    insert into public.campaign_recipients (campaign_id, contact_id, organization_id, status)
    select p_campaign_id, c.id, p_organization_id, 'pending'
    from pg_catalog.unnest(p_contact_ids) as c (id);
    get diagnostics inserted = row_count;
end;
$$;
comment on function campaign_runner.insert_recipients(uuid, uuid, uuid[]) is
    'Inserts pending recipients in this order, and counts those that no trigger suppressed. Only for '
    'sync_recipients().';
