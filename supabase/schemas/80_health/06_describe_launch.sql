create or replace function campaign_runner.describe_launch(
    p_launch campaign_runner.launches,
    p_name text,
    p_scheduled_at timestamptz,
    p_contacts bigint,
    p_is_estimate boolean,
    p_with_details boolean,
    p_now timestamptz
)
returns jsonb
language plpgsql
stable
set search_path = pg_catalog, pg_temp
set row_security = off
as $$
declare
    v_stalled_after constant interval := '2 minutes'; -- no caller rests for longer between its steps
    v_has_error constant boolean := (p_launch).failed_with is not null or (p_launch).hindered_at is not null;
    v_done record;
    v_total bigint;
begin
    -- Neither the cursors nor the number of finished chunks tell how far a pass is: ids need not be uniform, and the last
    -- chunk is cut up only when its turn comes. So count the contacts that this pass has evaluated.
    select
        coalesce(sum(s.contacts), 0)::bigint as contacts,
        coalesce(sum(s.inserted), 0)::bigint as inserted,
        max(s.worked_at) as worked_at
    into v_done
    from campaign_runner.launch_chunks s
    where s.launch_id = (p_launch).id;
    v_total := case when p_contacts is not null then greatest(p_contacts, v_done.contacts) end;

    return campaign_runner.describe_campaign(
        (p_launch).campaign_id, (p_launch).organization_id, p_name, p_scheduled_at
    )
    || jsonb_build_object(
        'state', (p_launch).state,
        'since', (p_launch).opened_at,
        'late_seconds', case when isfinite(p_scheduled_at) then floor(extract(epoch from p_now - p_scheduled_at))::bigint end,
        'contacts_done', v_done.contacts,
        'contacts_total', v_total,
        'is_total_estimated', p_is_estimate,
        'percent', case when v_total > 0 then floor(100.0 * v_done.contacts / v_total)::integer end,
        'recipients_inserted', v_done.inserted,
        'worked_at', v_done.worked_at,
        'stalled_since', case when v_done.worked_at < p_now - v_stalled_after then v_done.worked_at end,
        'attempts', (p_launch).attempts,
        'next_attempt_at', (p_launch).next_attempt_at,
        'failed_with', (p_launch).failed_with,
        'last_error', case when v_has_error then (p_launch).last_error end,
        -- The words of the source that refused may hold row data.
        'detail', case when v_has_error and p_with_details then (p_launch).last_error_detail end
    );
end;
$$;
comment on function campaign_runner.describe_launch(
    campaign_runner.launches, text, timestamptz, bigint, boolean, boolean, timestamptz
) is
    'An open launch, for a list: whose it is, how far its present pass is, and what went wrong.';
