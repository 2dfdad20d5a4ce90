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
cost 100000 -- the sender's view shall evaluate only what its limit shows, also where the statistics are old
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
    v_rules campaign_runner.rules := p_rules;
begin
    if v_rules.hash is null then
        v_rules := campaign_runner.read_rules(p_campaign_id);
    end if;
    return query
        with in_range as materialized (
            select e.*
            from campaign_runner.judge_contacts(v_rules, p_from, p_to, p_contact_ids) e
        ),
        excluded as materialized (
            select x.contact_id, x.reason
            from campaign_runner.project_exclusions(
                p_campaign_id,
                case when campaign_runner.has_exclusions()
                    then array(select i.contact_id from in_range i where i.reason is null)
                end
            ) x
        ),
        candidates as materialized (
            select array_agg(i.contact_id) as contact_ids, array_agg(i.address_hash) as address_hashes
            from in_range i
            left join excluded x on x.contact_id = i.contact_id
            where i.address_hash is not null and x.contact_id is null
        ),
        displaced as materialized (
            -- A contact comes twice where a wider search finds it again.
            select distinct d.contact_id
            from candidates e
            cross join lateral campaign_runner.displaced_contacts(
                p_campaign_id, v_rules, e.contact_ids, e.address_hashes, p_from, p_to, p_contact_ids,
                p_launch_id, p_among_recipients, p_twins_at_most
            ) d
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
