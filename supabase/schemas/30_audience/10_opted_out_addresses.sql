create or replace function campaign_runner.opted_out_addresses(
    p_organization_id uuid,
    p_addresses text[]
)
returns table (address text)
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
declare
    v_rows_at_most constant integer := cardinality(p_addresses) + 100;
begin
    if p_addresses is null then
        return;
    end if;
    return query
        with asked as materialized (
            select a.address, hashtextextended(a.address, uuid_hash_extended(p_organization_id, 0)) as hash
            from unnest(p_addresses) as a (address)
        ),
        -- All opt-outs at these addresses, unless a crowd at one of them fills the limit, as in find_twins().
        usual as materialized (
            select k.address, k.is_deleted
            -- `deleted_at` may be missing in a table that is not ours, see tagged_contacts().
            from (select null::timestamptz as deleted_at) absent
            cross join lateral (
                select campaign_runner.fold(c.email::text) as address, deleted_at is not null as is_deleted
                from public.contacts c
                where campaign_runner.address_hash(c.organization_id, c.email::text)
                        = any (array(select a.hash from asked a))
                    and not c.is_subscribed
                    and (c.organization_id = p_organization_id) is true
                order by campaign_runner.address_hash(c.organization_id, c.email::text)
                limit v_rows_at_most
            ) k
        )
        select u.address from usual u where not u.is_deleted
        union all
        -- Where the limit was reached: one opt-out of each address, which is as good as all.
        select a.address
        from (select null::timestamptz as deleted_at) absent
        cross join asked a
        cross join lateral (
            select
            from public.contacts c
            where campaign_runner.address_hash(c.organization_id, c.email::text) = any (array[a.hash])
                and not c.is_subscribed
                and (deleted_at is null) is true
                and (c.organization_id = p_organization_id) is true
                and (campaign_runner.fold(c.email::text) = a.address) is true
            order by campaign_runner.address_hash(c.organization_id, c.email::text)
            limit 1
        ) one
        where (select count(*) from usual) >= v_rows_at_most;
end;
$$;
comment on function campaign_runner.opted_out_addresses(uuid, text[]) is
    'Those of these folded addresses at which a live contact of the organization is unsubscribed. May also return an '
    'address that was not asked for but has the same hash.';
