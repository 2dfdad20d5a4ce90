create or replace function campaign_runner.contact_count(
    p_organization_id uuid,
    out contacts bigint,
    out is_estimate boolean
)
language plpgsql
stable
set search_path = pg_catalog, pg_temp
set row_security = off
set enable_seqscan = off
set enable_bitmapscan = off
set enable_sort = off
set enable_incremental_sort = off
as $$
declare
    v_counted_at_most constant integer := 100000;
begin
    select count(*) into contacts
    from (
        select from public.contacts c
        where c.organization_id = any (array[p_organization_id])
        order by c.organization_id, c.id
        limit v_counted_at_most + 1
    ) counted;
    is_estimate := contacts > v_counted_at_most;
    if is_estimate then
        -- What autovacuum last found. Where it knows nothing of the organization, or less than was just counted, there is
        -- no number: none is better than a wrong one.
        select max(t.reltuples * common.frequency)::bigint into contacts
        from pg_catalog.pg_class t
        join pg_catalog.pg_stats s
            on s.schemaname = 'public' and s.tablename = 'contacts' and s.attname = 'organization_id'
        cross join lateral unnest(s.most_common_vals::text::uuid[], s.most_common_freqs) as common (value, frequency)
        where t.oid = 'public.contacts'::regclass and common.value = p_organization_id;
        if contacts <= v_counted_at_most then
            contacts := null;
        end if;
    end if;
end;
$$;
comment on function campaign_runner.contact_count(uuid) is
    'The contacts of an organization: counted up to 100,000, beyond that estimated from the statistics of the table, NULL '
    'where they do not know.';
