create or replace function campaign_runner.tagged_contacts(
    p_organization_id uuid,
    p_tag_ids uuid[],
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
    -- The table may not exist: its statement is planned only where there are tags to look for.
    if cardinality(p_tag_ids) = 0 then
        return;
    end if;
    -- `organization_id` may be missing in a table that is not ours. A name without a table is looked up in the innermost
    -- query first: where contact_tag_assignments has no such column, the one of `absent` is found.
    return query
        select assigned.contact_id
        from (select null::uuid as organization_id) absent
        cross join lateral (
            (
                select a.contact_id, organization_id as tenant
                from public.contact_tag_assignments a
                where p_contact_ids is null
                    and a.tag_id = any (p_tag_ids)
                    and a.contact_id >= p_from
                    and a.contact_id <= p_to
                    and (a.contact_id < p_to or p_to = 'ffffffff-ffff-ffff-ffff-ffffffffffff') is true
                order by a.tag_id, a.contact_id
            )
            union all
            select k.contact_id, k.tenant
            from unnest(p_contact_ids) as c (id)
            cross join lateral (
                select a.contact_id, organization_id as tenant
                from public.contact_tag_assignments a
                where a.tag_id = any (p_tag_ids) and a.contact_id >= c.id and a.contact_id <= c.id
                order by a.tag_id, a.contact_id
            ) k
        ) assigned
        where coalesce(assigned.tenant = p_organization_id, true);
end;
$$;
comment on function campaign_runner.tagged_contacts(uuid, uuid[], uuid, uuid, uuid[]) is
    'The contacts of the range, or of these ids, that have one of these tags. A contact with two of the tags comes twice. An '
    'assignment of another tenant does not count.';
