create or replace function campaign_runner.unmatched_countries(
    p_organization_id uuid,
    p_countries text[],
    p_from uuid,
    p_to uuid
)
returns text[]
language plpgsql
stable
set search_path = pg_catalog, pg_temp
set row_security = off
set enable_nestloop = off
set enable_seqscan = off
set enable_bitmapscan = off
set enable_sort = off
set enable_incremental_sort = off
as $$
begin
    if cardinality(p_countries) = 0 then
        return '{}'::text[];
    end if;
    return array(
        select named.country
        from unnest(p_countries) with ordinality as named (country, position)
        left join (
            select distinct k.country
            from (
                select campaign_runner.fold(c.country::text) as country
                from public.contacts c
                where c.organization_id = any (array[p_organization_id]) and c.id >= p_from and c.id <= p_to
                    and (c.id < p_to or p_to = 'ffffffff-ffff-ffff-ffff-ffffffffffff') is true
                order by c.organization_id, c.id
            ) k
        ) present on present.country = campaign_runner.fold(named.country)
        where present.country is null
        order by named.position
    );
end;
$$;
comment on function campaign_runner.unmatched_countries(uuid, text[], uuid, uuid) is
    'The countries of the list that no contact of the range has.';
