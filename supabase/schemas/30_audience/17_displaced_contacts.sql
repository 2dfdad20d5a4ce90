create or replace function campaign_runner.displaced_contacts(
    p_campaign_id uuid,
    p_rules campaign_runner.rules,
    p_candidate_ids uuid[],
    p_address_hashes bigint[],
    p_from uuid,
    p_to uuid,
    p_contact_ids uuid[],
    p_launch_id bigint,
    p_among_recipients boolean,
    p_twins_at_most integer
)
returns table (contact_id uuid)
language plpgsql
stable
set search_path = pg_catalog, pg_temp
set row_security = off
set plan_cache_mode = force_generic_plan
set enable_sort = off
set enable_incremental_sort = off
set enable_seqscan = off
set enable_nestloop = off
set enable_mergejoin = off
set jit = off
set work_mem = '64MB'
as $$
#variable_conflict use_column
declare
    v_first constant uuid := '00000000-0000-0000-0000-000000000000';
    v_last constant uuid := 'ffffffff-ffff-ffff-ffff-ffffffffffff';
    v_wider constant integer := 100; -- times as many twins as before
    -- The index is walked a fifth faster in the order of the hashes.
    v_hashes constant bigint[] := array(select distinct h from unnest(p_address_hashes) h order by h);
    v_twin_ids uuid[] := '{}';
    v_twin_hashes bigint[];
    v_twin_statuses text[];
begin
    if p_contact_ids is not null or p_from > v_first or p_to < v_last then
        select coalesce(array_agg(f.contact_id), '{}'), array_agg(f.address_hash), array_agg(f.status)
        into v_twin_ids, v_twin_hashes, v_twin_statuses
        from campaign_runner.find_twins(
            p_campaign_id, p_rules.organization_id, v_hashes,
            p_from, case when p_contact_ids is null then p_to else p_from end, p_contact_ids, p_twins_at_most
        ) f;
    end if;
    if cardinality(v_twin_ids) = 0 and cardinality(v_hashes) = coalesce(cardinality(p_address_hashes), 0) then
        return;
    end if;

    return query
        with found_twins as materialized (
            select f.*
            from unnest(v_twin_ids, v_twin_hashes, v_twin_statuses) as f (contact_id, address_hash, status)
        ),
        -- The addresses at which twins may be left that were not looked at: those with the lowest ids were.
        crowds as materialized (
            select f.address_hash from found_twins f group by f.address_hash having count(*) >= p_twins_at_most
        ),
        -- A twin that is no recipient takes no mail away from a contact with a lower id.
        competing_twins as materialized (
            select f.*
            from found_twins f
            where f.status is not null
                or not p_among_recipients
                and case
                    when p_contact_ids is null then f.contact_id < p_to
                    else f.contact_id < any (p_contact_ids)
                end
        ),
        rivals as materialized (
            select e.contact_id, e.address_hash, 1 as rank
            from unnest(p_candidate_ids, p_address_hashes) as e (contact_id, address_hash)
            union all
            select t.contact_id, t.address_hash, t.rank
            from campaign_runner.rival_twins(
                p_campaign_id, p_rules,
                array(select c.contact_id from competing_twins c),
                array(select c.address_hash from competing_twins c),
                array(select c.status from competing_twins c),
                p_launch_id, p_among_recipients
            ) t
        ),
        shared_hashes as materialized (
            select r.address_hash
            from rivals r
            left join crowds w on w.address_hash = r.address_hash
            group by r.address_hash
            having count(*) > 1 or count(w.address_hash) > 0
        ),
        ranked as materialized (
            select
                r.contact_id,
                r.address_hash,
                row_number() over (
                    partition by r.address
                    order by
                        -- A contact whose mail is on its way goes first as well.
                        least(r.rank, (
                            select case when sent.status = 'pending' then 1 else 0 end
                            from public.campaign_recipients sent
                            where sent.campaign_id = any (array[p_campaign_id])
                                and sent.contact_id >= r.contact_id
                                and sent.contact_id <= r.contact_id
                            order by sent.campaign_id, sent.contact_id
                            limit 1
                        )),
                        r.contact_id
                ) as position
            from (
                select
                    k.*,
                    -- Two addresses may have one hash.
                    (select campaign_runner.fold(c.email::text) from public.contacts c where c.id = k.contact_id) as address
                from rivals k
                join shared_hashes s on s.address_hash = k.address_hash
            ) r
        ),
        -- Contacts that beat every twin seen in a crowd. A wider search tells whether an unseen twin beats them. A launch
        -- rarely needs the wider search: most contacts of a crowd lose to a twin that was seen.
        undecided as materialized (
            select r.contact_id, r.address_hash
            from ranked r
            join crowds w on w.address_hash = r.address_hash
            join unnest(p_candidate_ids) as e (contact_id) on e.contact_id = r.contact_id
            where r.position = 1
        ),
        asked_again as materialized (
            select array_agg(u.contact_id) as contact_ids, array_agg(u.address_hash) as address_hashes from undecided u
        )
        select r.contact_id from ranked r where r.position > 1
        union all
        select d.contact_id
        from asked_again a
        cross join lateral campaign_runner.displaced_contacts(
            p_campaign_id, p_rules, a.contact_ids, a.address_hashes, p_from, p_to, a.contact_ids,
            p_launch_id, p_among_recipients, p_twins_at_most * v_wider
        ) d
        where a.contact_ids is not null;
end;
$$;
comment on function
    campaign_runner.displaced_contacts(
        uuid, campaign_runner.rules, uuid[], bigint[], uuid, uuid, uuid[], bigint, boolean, integer
    )
is
    'Returns the candidates that lose the mail to another contact with the same address, and some of their twins. Of '
    'twins the one with the lowest id gets the mail, unless the launch has settled it otherwise. p_address_hashes belongs to '
    'p_candidate_ids. The other arguments are those of evaluate_contacts(). Only for evaluate_contacts().';
