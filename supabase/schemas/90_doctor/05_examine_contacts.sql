create or replace function campaign_runner.examine_contacts(
    p_organization_id uuid,
    p_max_contacts integer,
    out contacts bigint,
    out addresses bigint,
    out mobiles bigint,
    out malformed bigint,
    out unknown bigint
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
begin
    -- The first contacts by id. Look for the twins of each e-mail address among all contacts, and for contacts that share a
    -- mobile, which has no index, among these. `deleted_at` and `mobile` may be missing, see tagged_contacts().
    with sampled as materialized (
        select c.*
        from (select null::timestamptz as deleted_at, null::text as mobile) absent
        cross join lateral (
            select
                c.id, campaign_runner.fold(c.email::text) as address,
                nullif(campaign_runner.trim(mobile::text), '') as mobile,
                deleted_at is not null as is_deleted,
                c.is_subscribed is null as is_unknown
            from public.contacts c
            where c.organization_id = any (array[p_organization_id])
            order by c.organization_id, c.id
            limit p_max_contacts
        ) c
    )
    select
        count(*),
        count(distinct s.address) filter (where not s.is_deleted and s.address <> '' and (
            select true
            from (select null::timestamptz as deleted_at) absent
            cross join lateral (
                select c.id, deleted_at is not null as is_deleted
                from public.contacts c
                where campaign_runner.address_hash(c.organization_id, c.email::text)
                        = campaign_runner.address_hash(p_organization_id, s.address)
                    and (c.organization_id = p_organization_id) is true
                    and (campaign_runner.fold(c.email::text) = s.address) is true
                limit 100
            ) twin
            where twin.id <> s.id and not twin.is_deleted
            limit 1
        )),
        (
            select count(*)
            from (
                select m.mobile
                from sampled m
                where m.mobile is not null and coalesce(m.address, '') = '' and not m.is_deleted
                group by m.mobile
                having count(*) > 1
            ) shared
        ),
        count(*) filter (where not s.is_deleted and s.address <> '' and s.address !~ '^[^@[:space:],;]+@[^@[:space:],;]+$'),
        count(*) filter (where not s.is_deleted and s.is_unknown)
    into contacts, addresses, mobiles, malformed, unknown
    from sampled s;
end;
$$;
comment on function campaign_runner.examine_contacts(uuid, integer) is
    'Of the first p_max_contacts contacts of an organization: how many e-mail addresses, and mobiles without an address, '
    'several live contacts share; how many addresses are malformed; and how many contacts have no is_subscribed.';
