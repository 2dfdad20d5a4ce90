create or replace function public.campaign_runner_retry(
    p_campaign_id uuid
)
returns jsonb
language plpgsql
volatile
set search_path = pg_catalog, pg_temp
set row_security = off
set jit = off
as $$
declare
    v_answer jsonb;
begin
    perform campaign_runner.hold_version();
    -- A step may be recording a failure at this moment: 55P03 tells the caller to ask again.
    perform set_config('lock_timeout', '5s', true);
    with waiting as (
        select l.id, l.campaign_id, l.organization_id, l.campaign_name, l.attempts, l.last_error
        from campaign_runner.launches l
        where l.closed_at is null
            and l.waiting is not null
            and (l.attempts = 0 and l.next_attempt_at <= now()) is not true -- freed before, and not tried yet
            and (p_campaign_id is null or l.campaign_id = p_campaign_id)
        order by l.id
        for update
    ),
    freed as (
        update campaign_runner.launches l
        -- Its wait is over, and not undone: a reconcile that waited starts over.
        set attempts = 0, waiting = 'backoff', next_attempt_at = now(), hindered_at = null
        from waiting w
        where l.id = w.id
    )
    select jsonb_build_object(
        'freed',
        coalesce(
            jsonb_agg(
                jsonb_build_object(
                    'campaign_id', w.campaign_id,
                    'organization_id', w.organization_id,
                    'name', w.campaign_name,
                    'attempts', w.attempts,
                    'error', w.last_error
                )
                order by w.id
            ),
            '[]'
        )
    )
    into v_answer
    from waiting w;
    return v_answer;
end;
$$;
comment on function public.campaign_runner_retry(uuid) is
    'Frees a launch that backs off, is held or needs attention, or (NULL) all of them, and tells which: the next step '
    'tries them again. One that is still too late is held again.';
