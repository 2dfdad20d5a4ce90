create or replace function campaign_runner.lock_contacts(
    p_organization_id uuid,
    p_from uuid,
    p_to uuid
)
returns void
language plpgsql
volatile
set search_path = pg_catalog, pg_temp
set row_security = off
set enable_seqscan = off
set enable_bitmapscan = off
set enable_sort = off
set enable_incremental_sort = off
as $$
begin
    perform
    from public.contacts c
    where c.organization_id = any (array[p_organization_id])
        and c.id >= p_from
        and c.id <= p_to
        and (c.id < p_to or p_to = 'ffffffff-ffff-ffff-ffff-ffffffffffff') is true
    order by c.organization_id, c.id
    for key share;
end;
$$;
comment on function campaign_runner.lock_contacts(uuid, uuid, uuid) is
    'Keeps the contacts of the range from being deleted until the end of the transaction. Edits do not wait.';
