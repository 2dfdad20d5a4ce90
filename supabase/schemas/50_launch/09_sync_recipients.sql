create or replace function campaign_runner.sync_recipients(
    p_campaign_id uuid,
    p_rules campaign_runner.rules,
    p_from uuid,
    p_to uuid,
    p_launch_id bigint,
    out contacts bigint,
    out inserted bigint,
    out excluded jsonb,
    out excluded_countries text[]
)
language plpgsql
volatile
set search_path = pg_catalog, pg_temp
set row_security = off
as $$
declare
    v_tries_at_most constant integer := 3;
    v_inserts uuid[];
    v_deletes uuid[];
    v_places tid[];
    v_deleted bigint;
begin
    for v_try in 1..v_tries_at_most loop
        begin
            -- In the order of contact ids, against deadlocks with another writer of the same rows.
            with diff as materialized (
                select d.contact_id, d.reason, d.country, d.change, d.place
                from campaign_runner.diff_recipients(p_campaign_id, p_rules, p_from, p_to, p_launch_id) d
            ),
            reasons as (
                select d.reason, count(*) as n
                from diff d
                where d.reason <> 'orphaned' and d.change is distinct from 'keep' -- a recipient whose mail is on its way
                group by d.reason
            )
            select
                count(*) filter (where d.reason is distinct from 'orphaned'),
                coalesce(array_agg(d.contact_id order by d.contact_id) filter (where d.change = 'insert'), '{}'),
                coalesce(array_agg(d.contact_id order by d.contact_id) filter (where d.change = 'delete'), '{}'),
                coalesce(array_agg(d.place order by d.contact_id) filter (where d.change = 'delete'), '{}'),
                (select coalesce(jsonb_object_agg(r.reason, r.n), '{}') from reasons r),
                coalesce(array_agg(distinct d.country) filter (where d.country is not null), '{}')
            into contacts, v_inserts, v_deletes, v_places, excluded, excluded_countries
            from diff d;

            if cardinality(v_deletes) > 0 then
                v_deleted := campaign_runner.delete_recipients(p_campaign_id, v_deletes, v_places);
                -- In a statement of its own, which sees a row that another writer changed meanwhile.
                if v_deleted < cardinality(v_deletes)
                    and exists (
                        select from public.campaign_recipients r
                        where r.campaign_id = p_campaign_id and r.contact_id = any (v_deletes) and r.status = 'pending'
                    )
                then
                    continue when v_try < v_tries_at_most; -- another writer updated the row, which has a new place
                    raise exception 'A trigger on campaign_recipients keeps recipients from being deleted.'
                        using errcode = 'CR422';
                end if;
            end if;
            inserted := 0;
            if cardinality(v_inserts) > 0 then
                inserted := campaign_runner.insert_recipients(p_campaign_id, p_rules.organization_id, v_inserts);
            end if;
            if inserted < cardinality(v_inserts) then
                excluded := excluded
                    || jsonb_build_object('dropped_by_trigger', cardinality(v_inserts) - inserted);
            end if;
            return;
        exception
            -- Since the snapshot, a contact was deleted, or another writer committed a recipient. Evaluate again, by a new
            -- snapshot, in which the contacts stay.
            when foreign_key_violation or unique_violation then
                if v_try = v_tries_at_most then
                    raise;
                end if;
                perform campaign_runner.lock_contacts(p_rules.organization_id, p_from, p_to);
        end;
    end loop;
end;
$$;
comment on function campaign_runner.sync_recipients(uuid, campaign_runner.rules, uuid, uuid, bigint) is
    'Makes the pending recipients in the range what the rules say at this moment, and counts contacts, inserted '
    'recipients and reasons. With the excluded countries that kept a contact out.';
