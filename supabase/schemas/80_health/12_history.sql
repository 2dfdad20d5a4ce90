create or replace function public.campaign_runner_history(
    p_campaign_id uuid,
    p_max_launches integer default 20
)
returns jsonb
language plpgsql
stable
set search_path = pg_catalog, pg_temp
set row_security = off
set jit = off
as $$
declare
    v_max_launches constant integer := least(greatest(p_max_launches, 1), 1000);
begin
    perform campaign_runner.hold_version();
    return (
        with newest as materialized (
            select l.*
            from campaign_runner.launches l
            where l.campaign_id = p_campaign_id
            order by l.id desc
            limit v_max_launches + 1
        ),
        shown as materialized (
            select n.* from newest n order by n.id desc limit v_max_launches
        )
        select jsonb_build_object(
            -- NULL: there is no such campaign any more. The ledger outlives it.
            'campaign', (
                select jsonb_build_object('name', coalesce(c.name::text, ''), 'status', c.status::text)
                from public.campaigns c
                where c.id = p_campaign_id
            ),
            'is_cut', (select count(*) > v_max_launches from newest),
            'launches', coalesce(
                jsonb_agg(
                    jsonb_build_object(
                        'launch_id', s.id,
                        'name', s.campaign_name,
                        'organization_id', s.organization_id,
                        'state', s.state,
                        -- Whether the cause of a wait has gone, the next step finds out.
                        'condition', campaign_runner.condition(
                            row(s.*)::campaign_runner.launches,
                            (select c.status::text from public.campaigns c where c.id = p_campaign_id),
                            exists (select from campaign_runner.due_campaigns(array[p_campaign_id])),
                            false
                        ),
                        'run_id', s.run_id,
                        'system_user_id', s.system_user_id,
                        'scheduled_at', case when isfinite(s.scheduled_at) then s.scheduled_at end,
                        'opened_at', s.opened_at,
                        'closed_at', s.closed_at,
                        'duration_seconds', extract(epoch from s.closed_at - s.opened_at),
                        'late_seconds', extract(epoch from s.late_by),
                        'generates', s.generates,
                        'contacts', s.contacts,
                        -- Of an open launch: what its chunks have written up to now.
                        'recipients_inserted', coalesce(
                            s.recipients_inserted,
                            (
                                select sum(chunk.inserted)::bigint
                                from campaign_runner.launch_chunks chunk
                                where chunk.launch_id = s.id
                            )
                        ),
                        'recipient_count', s.recipient_count,
                        'recipients_before', s.recipients_before,
                        'pending_before', s.pending_before,
                        'excluded', s.excluded,
                        'unmatched', s.unmatched,
                        'attempts', s.attempts,
                        'next_attempt_at', s.next_attempt_at,
                        'waits_for_a_person', coalesce(s.closed_at is null and s.waiting in ('held', 'needs_attention'), false),
                        'error', s.last_error,
                        'failed_with', s.failed_with,
                        'detail', s.last_error_detail
                    )
                    order by s.id desc
                ),
                '[]'
            )
        )
        from shown s
    );
end;
$$;
comment on function public.campaign_runner_history(uuid, integer) is
    'The launches of a campaign, the newest first, of which p_max_launches are shown, at most 1000. Of a campaign that was '
    'deleted too: then `campaign` is null.';
