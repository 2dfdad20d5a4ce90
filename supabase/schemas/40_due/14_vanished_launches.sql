create or replace function campaign_runner.vanished_launches(
    p_after_id uuid,
    out launch_ids bigint[],
    out after_id uuid
)
language plpgsql
stable
set search_path = pg_catalog, pg_temp
set row_security = off
set enable_seqscan = off
set enable_bitmapscan = off
set enable_sort = off
set enable_incremental_sort = off
set plan_cache_mode = force_generic_plan
as $$
declare
    v_launches_at_most constant integer := 100;
begin
    with next as materialized (
        select l.id, l.campaign_id
        from campaign_runner.launches l
        where l.closed_at is null and l.campaign_id > p_after_id
        order by l.campaign_id
        limit v_launches_at_most
    )
    select
        -- A scalar subquery looks into the index once for each launch. An anti-join would hash all campaigns.
        array(
            select n.id
            from next n
            where (select c.id from public.campaigns c where c.id = n.campaign_id limit 1) is null
        ),
        coalesce(
            (select n.campaign_id from next n offset v_launches_at_most - 1), '00000000-0000-0000-0000-000000000000'
        )
    into launch_ids, after_id;
end;
$$;
comment on function campaign_runner.vanished_launches(uuid) is
    'Of the open launches, the next 100 after the position: those whose campaigns are gone. With the position after them.';
