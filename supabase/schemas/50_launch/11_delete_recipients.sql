create or replace function campaign_runner.delete_recipients(
    p_campaign_id uuid,
    p_contact_ids uuid[],
    p_places tid[],
    out deleted bigint
)
language plpgsql
volatile
set search_path = public, extensions
set enable_seqscan = off
set enable_hashjoin = off
set enable_mergejoin = off
as $$
begin
    -- Find the rows by ctid. When they were found by contact_id, the planner used a project's index on contact_id, and read the
    -- rows of these contacts in all campaigns.
    delete from public.campaign_recipients r
    using rows from (pg_catalog.unnest(p_contact_ids), pg_catalog.unnest(p_places)) as d (contact_id, place)
    where r.ctid operator(pg_catalog.=) d.place
        and (
            r.contact_id operator(pg_catalog.=) d.contact_id
            and r.campaign_id operator(pg_catalog.=) p_campaign_id
            and r.status operator(pg_catalog.=) 'pending'
        ) is true;
    get diagnostics deleted = row_count;
end;
$$;
comment on function campaign_runner.delete_recipients(uuid, uuid[], tid[]) is
    'Deletes the pending recipients of the campaign that are still in these places, and counts those that no trigger kept. '
    'Only for sync_recipients().';
