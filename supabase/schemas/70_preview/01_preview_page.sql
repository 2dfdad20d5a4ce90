create or replace function campaign_runner.preview_page(
    p_campaign_id uuid,
    p_organization_id uuid,
    p_from uuid,
    p_max_rows bigint,
    p_generates boolean,
    p_max_sample integer,
    p_rules campaign_runner.rules,
    out next_from uuid,
    out contacts bigint,
    out inserts bigint,
    out recipients bigint,
    out orphaned bigint,
    out excluded jsonb,
    out sample uuid[]
)
language plpgsql
stable
set search_path = pg_catalog, pg_temp
set row_security = off
set enable_seqscan = off
as $$
#variable_conflict use_column
declare
    v_last constant uuid := 'ffffffff-ffff-ffff-ffff-ffffffffffff';
    -- Where recipients were there before, nothing is inserted and nothing deleted.
    v_change constant text := case when p_generates then 'insert' else 'delete' end;
begin
    next_from := campaign_runner.nth_contact(p_organization_id, p_from, v_last, greatest(p_max_rows, 1));

    with judged as materialized (
        select
            c.contact_id, c.change, c.reason is not distinct from 'orphaned' as is_orphaned,
            coalesce(c.reason, 'recipients_exist') as reason,
            coalesce(c.change in ('keep', v_change), false) as is_recipient
        from campaign_runner.diff_recipients(p_campaign_id, p_rules, p_from, coalesce(next_from, v_last)) c
    ),
    reasons as (
        select j.reason, count(*) as n
        from judged j
        where not j.is_recipient and not j.is_orphaned
        group by j.reason
    )
    select
        count(*) filter (where not j.is_orphaned),
        count(*) filter (where j.is_recipient and j.change = 'insert'),
        count(*) filter (where j.is_recipient),
        count(*) filter (where j.is_recipient and j.is_orphaned),
        (select coalesce(jsonb_object_agg(r.reason, r.n), '{}') from reasons r),
        array(
            select first.contact_id
            from judged first
            where first.is_recipient and not first.is_orphaned
            order by first.contact_id
            limit p_max_sample
        )
    into contacts, inserts, recipients, orphaned, excluded, sample
    from judged j;
end;
$$;
comment on function campaign_runner.preview_page(uuid, uuid, uuid, bigint, boolean, integer, campaign_runner.rules) is
    'The outcome of a launch for up to p_max_rows contacts, by the function that a launch asks: the number of inserts, the '
    'number of recipients (orphaned: recipients that are no contacts of the organization), the other contacts by reason, '
    'and the first recipients. The next page begins at next_from, which is NULL after the last page.';
