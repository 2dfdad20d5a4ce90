create or replace function campaign_runner.attempt_campaign(
    p_run_id uuid,
    p_campaign_id uuid,
    p_system_user_id uuid,
    p_system_user_roles text[],
    p_max_rows integer,
    p_has_whole_step boolean,
    p_max_lateness_minutes integer,
    p_now timestamptz,
    out outcome text,
    out contacts bigint,
    out reconciled bigint,
    out timed_out boolean,
    out is_locked boolean,
    out unrecorded text
)
language plpgsql
volatile
set search_path = pg_catalog, pg_temp
set row_security = off
as $$
declare
    v_smallest_step constant integer := 500;
    -- Of the campaign as this attempt finds it: an edit during the attempt makes the launch ready.
    v_version constant text := campaign_runner.version(p_campaign_id);
    v_code text;
    v_message text;
    v_detail text;
    v_hint text;
    v_table text;
    v_column text;
    v_constraint text;
    v_context text;
    v_is_reported boolean;
    v_lack record;
begin
    select a.outcome, a.contacts, a.reconciled into outcome, contacts, reconciled
    from campaign_runner.advance_launch(
        p_run_id, p_campaign_id, p_system_user_id, p_system_user_roles,
        p_max_rows, p_has_whole_step, p_max_lateness_minutes, p_now
    ) a;
exception
    when sqlstate 'CR001' then
        outcome := 'busy';
    when sqlstate 'CR410' then
        outcome := 'gone'; -- deleted a moment ago
    when sqlstate 'CR003' then
        outcome := 'left';
    -- `others` catches neither a cancel nor the failure of an assert.
    when query_canceled or assert_failure or others then
        get stacked diagnostics
            v_code = returned_sqlstate, v_message = message_text, v_detail = pg_exception_detail, v_hint = pg_exception_hint,
            v_table = table_name, v_column = column_name, v_constraint = constraint_name,
            v_context = pg_exception_context;
        -- A person's cancel ends the whole step.
        if v_code = '57014' and v_message = 'canceling statement due to user request' then
            raise;
        end if;
        if v_code = '42501' then
            select m.lack, m.statement into v_lack from campaign_runner.missing_grants() m limit 1;
            if found then
                raise exception 'the key''s role lacks %: %', v_lack.lack, v_lack.statement using errcode = 'CR500';
            end if;
        end if;
        -- The SQLSTATE alone proves no timeout: a trigger may raise it. So the message is asked, too.
        timed_out := v_code = '57014' and v_message like '%statement timeout%';
        if timed_out and not p_has_whole_step then
            outcome := 'left';
            return;
        end if;
        if timed_out and p_max_rows > v_smallest_step then
            v_code := 'CR005';
        end if;
        select r.is_reported, r.unrecorded into v_is_reported, unrecorded
        from campaign_runner.try_to_record(
            p_run_id, p_campaign_id, v_version, v_code,
            campaign_runner.explain_failure(v_code, v_message, v_table, v_column, v_constraint),
            concat_ws(
                E'\n', v_message, nullif(v_detail, ''), nullif(v_hint, ''),
                -- Which function of the project it was: a trigger's, or campaign_runner_exclusions.
                'in ' || substring(
                    v_context
                    from '(?n)^PL/pgSQL function (?!campaign_runner\.|(?:public\.)?campaign_runner_(?!exclusions))(.*)$'
                ),
                'in ' || substring(v_context from 'SQL function "(campaign_runner_exclusions)"')
            ),
            p_now
        ) r;
        outcome := case when v_is_reported then 'failed' else 'busy' end;
        is_locked := v_is_reported and v_code in ('CR004', '55P03');
end;
$$;
comment on function
    campaign_runner.attempt_campaign(uuid, uuid, uuid, text[], integer, boolean, integer, timestamptz)
is
    'Advances a campaign by up to p_max_rows contacts, and records what fails. Outcome: launched, progressed and laid_out '
    'as of advance_launch(); busy, another transaction has the campaign, the campaign changed, or the failure is not '
    'reported; gone; left, the campaign did not fit into the rest of this step, or timed out in it; failed. is_locked: '
    'failed, as a transaction that is not ours has held a lock for over a minute. unrecorded: the SQLSTATE that kept the '
    'failure from being recorded.';
