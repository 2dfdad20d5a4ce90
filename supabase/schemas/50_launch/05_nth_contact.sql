create or replace function campaign_runner.nth_contact(
    p_organization_id uuid,
    p_from uuid,
    p_to uuid,
    p_n bigint
)
returns uuid
language plpgsql
stable
set search_path = pg_catalog, pg_temp
set row_security = off
set plan_cache_mode = force_generic_plan
set enable_seqscan = off
set enable_bitmapscan = off
set enable_sort = off
set enable_incremental_sort = off
as $$
begin
    -- The highest uuid is no bound: it belongs to the range before it.
    return (
        select c.id
        from public.contacts c
        where c.organization_id = any (array[p_organization_id]) and c.id >= p_from and c.id < p_to
        order by c.organization_id, c.id
        offset p_n
        limit 1
    );
end;
$$;
comment on function campaign_runner.nth_contact(uuid, uuid, uuid, bigint) is
    'The contact after the first p_n of the range, by id. NULL: the range has no more than p_n.';
