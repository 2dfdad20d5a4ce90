create or replace function campaign_runner.diff_recipients(
    p_campaign_id uuid,
    p_rules campaign_runner.rules,
    p_from uuid,
    p_to uuid,
    p_launch_id bigint default null
)
returns table (contact_id uuid, reason text, country text, change text, place tid)
language plpgsql
stable
set search_path = pg_catalog, pg_temp
set row_security = off
set plan_cache_mode = force_generic_plan
set enable_seqscan = off
set enable_bitmapscan = off
set enable_sort = off
set enable_incremental_sort = off
set enable_nestloop = off
set enable_mergejoin = off
set jit = off
as $$
#variable_conflict use_column
begin
    return query
        with evaluated as materialized (
            select e.contact_id, e.reason, e.country
            from campaign_runner.evaluate_contacts(p_campaign_id, p_from, p_to, null, p_rules, p_launch_id) e
        ),
        present as materialized (
            select r.contact_id, r.status = 'pending' as is_pending, r.ctid as place
            from public.campaign_recipients r
            where r.campaign_id = any (array[p_campaign_id])
                and r.contact_id >= p_from
                and r.contact_id <= p_to
                and (r.contact_id < p_to or p_to = 'ffffffff-ffff-ffff-ffff-ffffffffffff') is true
            order by r.campaign_id, r.contact_id
        )
        select
            coalesce(e.contact_id, p.contact_id),
            case when e.contact_id is null then 'orphaned' else e.reason end,
            e.country,
            case
                when p.contact_id is null then case when e.reason is null then 'insert' end
                when p.is_pending and (e.contact_id is null or e.reason is not null) then 'delete'
                else 'keep'
            end,
            p.place
        from evaluated e
        full join present p on p.contact_id = e.contact_id;
end;
$$;
comment on function campaign_runner.diff_recipients(uuid, campaign_runner.rules, uuid, uuid, bigint) is
    'What a sync of the range would change: insert, delete, keep, or NULL for a contact that is no recipient and shall be '
    'none. A recipient that is no contact of the organization has the reason orphaned. Only pending rows are ever deleted. '
    'With the place of the row of a recipient.';
