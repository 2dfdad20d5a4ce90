create or replace function campaign_runner.bounced_contacts(
    p_organization_id uuid,
    p_from uuid,
    p_to uuid,
    p_contact_ids uuid[]
)
returns table (contact_id uuid)
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
#variable_conflict use_column
begin
    return query
        (
            select r.contact_id
            from public.campaign_recipients r
            where p_contact_ids is null
                and r.status = 'bounced'
                and r.organization_id = any (array[p_organization_id])
                and r.contact_id >= p_from
                and r.contact_id <= p_to
                and (r.contact_id < p_to or p_to = 'ffffffff-ffff-ffff-ffff-ffffffffffff') is true
            order by r.organization_id, r.contact_id
        )
        union all
        select b.contact_id
        from unnest(p_contact_ids) as c (id)
        cross join lateral (
            select r.contact_id
            from public.campaign_recipients r
            where r.status = 'bounced'
                and r.organization_id = any (array[p_organization_id])
                and r.contact_id >= c.id
                and r.contact_id <= c.id
            order by r.organization_id, r.contact_id
            limit 1
        ) b;
end;
$$;
comment on function campaign_runner.bounced_contacts(uuid, uuid, uuid, uuid[]) is
    'The contacts of the range, or of these ids, to whom a mail of any campaign of the organization bounced.';
