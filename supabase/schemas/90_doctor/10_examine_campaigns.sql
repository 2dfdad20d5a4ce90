create or replace function campaign_runner.examine_campaigns(
    p_check text
)
returns jsonb
language plpgsql
stable
set search_path = pg_catalog, pg_temp
set row_security = off
as $$
declare
    v_at_most constant integer := 10000;
    v_looked_up_at_most constant integer := 1000;
    v_is_cut constant boolean := p_check in ('tenants', 'closed', 'recipients') and exists (
        select from public.campaigns c
        where c.status = 'scheduled'
        offset case when p_check = 'recipients' then v_looked_up_at_most else v_at_most end
    );
    v_found uuid[];
begin
    v_found := case
        when p_check = 'schedules' then array(
            select c.id from public.campaigns c where c.status = 'scheduled' and c.scheduled_at is null
            union all
            select c.id from public.campaigns c where c.status = 'scheduled' and c.scheduled_at = 'infinity'
            limit v_at_most
        )
        when p_check = 'tenants' then array(
            select c.id from campaign_runner.scheduled_campaigns(v_at_most) c where c.organization_id is null
        )
        -- Launches of the last week without a recipient to mail; with recipients that a trigger dropped; or with an
        -- exclusion that matched nothing.
        when p_check in ('nobody', 'dropped', 'unmatched') then array(
            select l.campaign_id
            from campaign_runner.launches l
            where l.closed_at > now() - interval '7 days'
                and l.state = 'launched'
                and case p_check
                    when 'nobody' then (l.recipient_count = 0 or l.pending_before = 0)
                        and (l.excluded ? 'dropped_by_trigger') is not true
                    when 'dropped' then l.excluded ? 'dropped_by_trigger'
                    else l.unmatched @? '$.*[*]'
                end
                -- A later launch of the campaign has mended it.
                and not exists (
                    select from campaign_runner.launches later
                    where later.campaign_id = l.campaign_id and later.state = 'launched' and later.id > l.id
                )
            order by l.closed_at desc
            limit v_at_most
        )
        when p_check = 'closed' then array(
            select c.id
            from campaign_runner.scheduled_campaigns(v_at_most) c
            where c.organization_id is not null
                and c.scheduled_at <= now()
                and c.id not in (
                    select d.campaign_id
                    from campaign_runner.due_campaigns(array(
                        select a.id from campaign_runner.scheduled_campaigns(v_at_most) a
                    )) d
                )
        )
        -- Recipients that no launch of the ledger wrote: a person chose them, or a ledger was lost.
        else array(
            select c.id
            from campaign_runner.scheduled_campaigns(v_looked_up_at_most) c
            where exists (select from public.campaign_recipients r where r.campaign_id = c.id)
                and not exists (
                    select from campaign_runner.launches l where l.campaign_id = c.id and l.generates
                )
        )
    end;
    return jsonb_build_object(
        'is_cut', v_is_cut or cardinality(v_found) >= v_at_most,
        'lacking', cardinality(v_found),
        'named', (
            select coalesce(
                jsonb_agg(
                    jsonb_build_object(
                        'id', f.id,
                        'name', c.name::text,
                        'because', case when p_check = 'nobody' then campaign_runner.why_nobody(f.id) end
                    )
                    order by f.position
                ),
                '[]'
            )
            from unnest(v_found[1:5]) with ordinality as f (id, position)
            left join public.campaigns c on c.id = f.id
        )
    ) || case when p_check = 'closed' then campaign_runner.describe_closing(v_found[1]) else '{}' end;
end;
$$;
comment on function campaign_runner.examine_campaigns(text) is
    'The scheduled campaigns without a time (schedules), without an organization (tenants), deleted or of a closed '
    'organization (closed), or with recipients that no launch wrote (recipients); and those that were launched in the last '
    'week to nobody (nobody), with recipients that a trigger dropped (dropped), or with an exclusion that matched nothing '
    '(unmatched).';
