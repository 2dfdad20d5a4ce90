create or replace function campaign_runner.advance_launch(
    p_run_id uuid,
    p_campaign_id uuid,
    p_system_user_id uuid,
    p_system_user_roles text[],
    p_max_rows integer,
    p_may_split boolean,
    p_max_lateness_minutes integer,
    p_now timestamptz,
    out outcome text,
    out contacts bigint,
    out reconciled bigint
)
language plpgsql
volatile
set search_path = pg_catalog, pg_temp
set row_security = off
as $$
declare
    -- Longer than any interval of calls. A reconcile that rested for longer begins again: the contacts have changed.
    v_stale_after constant interval := '1 day';
    v_campaign record;
    v_launch campaign_runner.launches;
    v_obstacle record;
    v_was_waiting boolean;
    v_rules campaign_runner.rules;
    v_chunk record;
    v_is_whole boolean := false;
begin
    contacts := 0;
    reconciled := 0;
    select * into v_launch
    from campaign_runner.launches l
    where l.campaign_id = p_campaign_id and l.closed_at is null;
    if not found or v_launch.state = 'opened' then
        v_launch := campaign_runner.lock_launch(p_campaign_id);
    end if;

    -- Read after the launch: where another step has just ended the launch, its campaign is not due any more, and the list of
    -- the step is old. A launch that has not begun is read under the lock on its opening.
    select d.organization_id, d.scheduled_at into v_campaign
    from campaign_runner.due_campaigns(array[p_campaign_id], p_now) d;
    if not found or not campaign_runner.is_launch_ready(v_launch, p_system_user_id, p_system_user_roles, p_now) then
        raise exception 'the campaign is not due, or not ready, any more' using errcode = 'CR001';
    end if;
    select * into v_obstacle
    from campaign_runner.obstacle(
        v_campaign.organization_id, v_campaign.scheduled_at, v_launch,
        p_system_user_id, p_system_user_roles, p_max_lateness_minutes, p_now
    );
    if found then
        raise exception '%', v_obstacle.message using errcode = v_obstacle.code;
    end if;

    v_was_waiting := v_launch.waiting is not null;
    if v_was_waiting or v_launch.hindered_at is not null or v_launch.failed_with is not null then
        perform from campaign_runner.launches l where l.id = v_launch.id for update skip locked;
        if not found then
            raise exception 'another step is at work on the launch' using errcode = 'CR001';
        end if;
        update campaign_runner.launches l
        set
            waiting = null, next_attempt_at = null, hindered_at = null, failed_with = null,
            -- What hindered it for a moment is no failure, and no part of its history.
            last_error = case when l.failed_with is not null then l.last_error end,
            last_error_detail = case when l.failed_with is not null then l.last_error_detail end
        where l.id = v_launch.id;
    end if;
    v_rules := campaign_runner.read_rules(p_campaign_id);
    if v_launch.id is null or v_launch.state = 'opened' then
        v_launch := campaign_runner.begin_launch(p_campaign_id, v_rules);
    end if;

    -- A reconcile that waited starts over, too: its campaign may have been deleted meanwhile, with the recipients that it
    -- synced, and made again.
    if v_launch.rules_hash is distinct from v_rules.hash
        or v_launch.state = 'reconciling' and v_was_waiting
        or v_launch.state = 'reconciling' and clock_timestamp() - v_stale_after > (
            select max(s.worked_at) from campaign_runner.launch_chunks s where s.launch_id = v_launch.id
        )
    then
        perform campaign_runner.restart_reconcile(v_launch.id);
        outcome := 'laid_out';
        return;
    end if;
    if v_launch.generates then
        select * into v_chunk
        from campaign_runner.sync_chunk(v_launch.id, v_rules, p_max_rows, p_may_split);
        contacts := v_chunk.contacts;
        reconciled := v_chunk.reconciled;
        outcome := v_chunk.outcome;
        if outcome <> 'through' then
            return;
        end if;
        v_is_whole := v_chunk.is_whole;
    end if;
    outcome := campaign_runner.end_pass(p_run_id, v_launch.id, v_is_whole, p_system_user_id, p_now);
end;
$$;
comment on function campaign_runner.advance_launch(uuid, uuid, uuid, text[], integer, boolean, integer, timestamptz) is
    'Does the next bounded piece of work on one due campaign. contacts: evaluated now; reconciled: those of them that were '
    'generated before. Outcome: launched, progressed, or laid_out: chunks wait for any step. Raises CR001 where another step '
    'has it, CR004 where another transaction has locked it, CR003 where the piece does not fit and may not be split, '
    'and any error of the campaign''s own.';
