create or replace function public.campaign_runner_report(
    p_run_id uuid
)
returns jsonb
language plpgsql
volatile
set search_path = pg_catalog, pg_temp
set row_security = off
set jit = off
as $$
begin
    perform campaign_runner.hold_version();
    -- PostgREST goes on with a step whose client has gone. Wait for the steps of this run. After 5 s, 55P03 tells the caller to
    -- ask again.
    perform set_config('lock_timeout', '5s', true);
    perform pg_advisory_xact_lock(campaign_runner.lock_key('run', p_run_id));

    -- Close the run even where no step opened it: a step that is still on its way must find the run closed.
    insert into campaign_runner.runs (id, closed_at)
    values (p_run_id, clock_timestamp())
    on conflict (id) do update set closed_at = coalesce(runs.closed_at, excluded.closed_at);
    perform campaign_runner.prune();

    -- A statement of its own, whose snapshot is younger than the wait.
    return (
        select jsonb_build_object(
            'processed_count', count(*),
            'campaigns', coalesce(
                jsonb_agg(
                    jsonb_build_object(
                        'campaign_id', l.campaign_id,
                        'organization_id', l.organization_id,
                        'name', l.campaign_name,
                        'previous_status', 'scheduled',
                        'new_status', 'sending',
                        'recipients_generated', l.recipients_inserted > 0,
                        'recipient_count', l.recipient_count
                    )
                    order by l.closed_at, l.id
                ),
                '[]'
            ),
            'warnings', coalesce(
                jsonb_agg(
                    jsonb_build_object(
                        'campaign_id', l.campaign_id,
                        'recipients_before', l.recipients_before,
                        'pending_before', l.pending_before,
                        'exclude_tags', coalesce(l.unmatched -> 'exclude_tags', '[]'),
                        'exclude_countries', coalesce(l.unmatched -> 'exclude_countries', '[]')
                    )
                    order by l.closed_at, l.id
                ) filter (
                    where l.pending_before = 0
                        or l.unmatched -> 'exclude_tags' <> '[]'
                        or l.unmatched -> 'exclude_countries' <> '[]'
                ),
                '[]'
            ),
            'errors', (
                select coalesce(
                    jsonb_agg(
                        jsonb_build_object('campaign_id', e.campaign_id, 'error', e.error)
                        order by e.occurred_at, e.campaign_id
                    ),
                    '[]'
                )
                from campaign_runner.run_errors e
                where e.run_id = p_run_id
                    and not exists (
                        select from campaign_runner.launches later
                        where later.run_id = p_run_id and later.campaign_id = e.campaign_id
                    )
            ),
            'names', (
                select coalesce(jsonb_object_agg(c.id, c.name::text), '{}')
                from public.campaigns c
                where c.id = any (array(select e.campaign_id from campaign_runner.run_errors e where e.run_id = p_run_id))
                    and c.name is not null
            )
        )
        from campaign_runner.launches l
        where l.run_id = p_run_id
    );
end;
$$;
comment on function public.campaign_runner_report(uuid) is
    'Closes a run and tells what it launched and what it could not: the body of the HTTP answer, warnings for the log, and '
    'the names of the campaigns that it could not launch. Safe to repeat.';
