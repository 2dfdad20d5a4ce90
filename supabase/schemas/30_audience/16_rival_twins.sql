create or replace function campaign_runner.rival_twins(
    p_campaign_id uuid,
    p_rules campaign_runner.rules,
    p_twin_ids uuid[],
    p_address_hashes bigint[],
    p_statuses text[],
    p_launch_id bigint,
    p_among_recipients boolean
)
returns table (contact_id uuid, address_hash bigint, rank integer)
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
begin
    return query
        with found_twins as materialized (
            select f.*
            from unnest(p_twin_ids, p_address_hashes, p_statuses) as f (contact_id, address_hash, status)
        ),
        twins as materialized (
            select
                t.contact_id,
                t.reason,
                f.address_hash,
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
            from campaign_runner.judge_contacts(p_rules, null, null, p_twin_ids) t
            join found_twins f on f.contact_id = t.contact_id
        ),
        excluded as materialized (
            select x.contact_id
            from campaign_runner.project_exclusions(
                p_campaign_id,
                case when campaign_runner.has_exclusions()
                    then array(select t.contact_id from twins t where t.reason is null)
                end
            ) x
        )
        select
            t.contact_id,
            t.address_hash,
            case when t.is_final and not p_among_recipients then 0 else 1 end
        from twins t
        left join excluded x on x.contact_id = t.contact_id
        where t.status <> 'pending'
            or (t.reason is null and x.contact_id is null and (t.status is not null or not t.is_final));
end;
$$;
comment on function
    campaign_runner.rival_twins(
        uuid, campaign_runner.rules, uuid[], bigint[], text[], bigint, boolean
    )
is
    'Those of these twins that compete for their address. rank: 0 for a twin that this pass of the launch has synced, which '
    'keeps the mail, and else 1. Only for displaced_contacts().';
