create or replace function campaign_runner.evaluate_contacts(
    p_campaign_id uuid,
    p_from uuid default '00000000-0000-0000-0000-000000000000',
    p_to uuid default 'ffffffff-ffff-ffff-ffff-ffffffffffff',
    p_contact_ids uuid[] default null,
    p_rules campaign_runner.rules default null,
    p_launch_id bigint default null,
    p_among_recipients boolean default false,
    p_twins_at_most integer default 100
)
returns table (contact_id uuid, reason text, country text)
language plpgsql
stable
rows 20000
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
    v_is_whole constant boolean := p_contact_ids is null and p_from = v_first and p_to = v_last;
    v_has_exclusions constant boolean := campaign_runner.has_exclusions();
    v_wider constant integer := 100; -- times as many twins as before
    v_rules campaign_runner.rules := p_rules;
begin
    if v_rules.hash is null then
        v_rules := campaign_runner.read_rules(p_campaign_id);
    end if;
    return query
        with in_range as materialized (
            select e.*
            from campaign_runner.evaluate_alone(v_rules, p_from, p_to, p_contact_ids) e
        ),
        -- One sort for both, from Postgres 16 on: the index is walked a fifth faster in the order of the hashes.
        addresses as materialized (
            select
                coalesce(array_agg(distinct i.address_hash), '{}') as hashes,
                count(i.address_hash) > count(distinct i.address_hash) as are_shared
            from in_range i
            where i.address_hash is not null
        ),
        found_twins as materialized (
            select f.*
            from campaign_runner.find_twins(
                p_campaign_id, v_rules.organization_id, (select a.hashes from addresses a),
                p_from, case when p_contact_ids is null then p_to else p_from end, p_contact_ids, p_twins_at_most
            ) f
            where not v_is_whole
        ),
        -- The addresses of which only the twins with the lowest ids were looked at.
        crowds as materialized (
            select f.address_hash from found_twins f group by f.address_hash having count(*) >= p_twins_at_most
        ),
        -- Only the twins of eligible contacts: where rules admit a third of the contacts, two thirds of the probes are spared.
        -- A twin that is no recipient takes no mail away from a contact with a lower id.
        twins as materialized (
            select
                t.*,
                f.address_hash as hash,
                f.status,
                -- Whether this pass of the launch has synced the twin: then its row, or the lack of one, is final.
                coalesce(
                    (
                        select s."cursor" is null or t.contact_id < s."cursor"
                        from campaign_runner.launch_chunks s
                        where s.launch_id = p_launch_id and s.lo <= t.contact_id
                        order by s.lo desc
                        limit 1
                    ),
                    p_among_recipients
                ) as is_final
            from campaign_runner.evaluate_alone(
                v_rules, p_from, p_to,
                array(
                    select f.contact_id
                    from found_twins f
                    where f.status is not null
                        or not p_among_recipients
                        and case
                            when p_contact_ids is null then f.contact_id < p_to
                            else f.contact_id < any (p_contact_ids)
                        end
                )
            ) t
            join found_twins f on f.contact_id = t.contact_id
            where exists (select from found_twins)
        ),
        excluded as materialized (
            select x.contact_id, x.reason
            from campaign_runner.project_exclusions(
                p_campaign_id,
                case when v_has_exclusions then array(
                    select i.contact_id from in_range i where i.reason is null
                    union all
                    select t.contact_id from twins t where t.reason is null
                ) end
            ) x
            where v_has_exclusions
        ),
        -- The competitors for an address, with their rank. A twin has the rank 0 when this pass has synced the twin, or when
        -- its mail is on its way. All other competitors have the rank 1.
        rivals as materialized (
            select i.contact_id, i.address, i.address_hash, 1 as place
            from in_range i
            left join excluded x on x.contact_id = i.contact_id
            where i.address_hash is not null
                and x.contact_id is null
                and ((select a.are_shared from addresses a) or exists (select from found_twins))
            union all
            select
                t.contact_id, t.address, t.hash,
                case
                    when t.status <> 'pending' then 0
                    when t.is_final and not p_among_recipients then 0
                    else 1
                end
            from twins t
            left join excluded x on x.contact_id = t.contact_id
            where t.status <> 'pending'
                or (t.reason is null and x.contact_id is null and (t.status is not null or not t.is_final))
        ),
        -- By their hashes, whose order costs nothing, and not the collation of the texts.
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
                        -- A contact of the range whose mail is on its way goes first as well.
                        least(r.place, (
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
            from rivals r
            join shared_hashes s on s.address_hash = r.address_hash
        ),
        -- Contacts of the range that beat every twin seen in a crowd. A wider search tells whether an unseen twin beats them.
        -- A launch rarely needs the wider search: most contacts of a crowd lose to a twin that was seen.
        undecided as materialized (
            select r.contact_id
            from ranked r
            join crowds w on w.address_hash = r.address_hash
            join in_range i on i.contact_id = r.contact_id
            where r.position = 1
        ),
        displaced as materialized (
            select r.contact_id from ranked r where r.position > 1
            union all
            select e.contact_id
            from campaign_runner.evaluate_contacts(
                p_campaign_id,
                p_contact_ids => array(select u.contact_id from undecided u),
                p_rules => v_rules,
                p_launch_id => p_launch_id,
                p_among_recipients => p_among_recipients,
                p_twins_at_most => p_twins_at_most * v_wider
            ) e
            where exists (select from undecided) and e.reason is not null
        )
        select
            i.contact_id,
            coalesce(i.reason, x.reason, case when d.contact_id is not null then 'duplicate_address' end),
            i.country
        from in_range i
        left join excluded x on x.contact_id = i.contact_id
        left join displaced d on d.contact_id = i.contact_id;
end;
$$;
comment on function
    campaign_runner.evaluate_contacts(uuid, uuid, uuid, uuid[], campaign_runner.rules, bigint, boolean, integer)
is
    'Each contact of the campaign''s organization in the range, or of these ids, with NULL when it gets the campaign, and '
    'else the first reason against it: deleted, inactive, unsubscribed, bounced, no_address, country (with the country), '
    'not_included, excluded_tag, project:…, duplicate_address. p_launch_id: as the present pass of this launch sees it. '
    'p_among_recipients: only a recipient takes the mail away from a twin. p_twins_at_most: so many twins at each '
    'address are looked at first, and more only where these decide nothing.';
