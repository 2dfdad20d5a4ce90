create or replace function public.campaign_runner_preview(
    p_organization_id uuid,
    p_system_user_id uuid,
    p_system_user_roles text[],
    p_max_rows integer,
    p_max_lateness_minutes integer default null,
    p_cursor text default null,
    p_interface integer default 1
)
returns jsonb
language plpgsql
stable
set search_path = pg_catalog, pg_temp
set row_security = off
-- A lock on a table ends the call with 55P03 after this time, so that the caller hears of the lock.
set lock_timeout = '2s'
set enable_seqscan = off
set jit = off
as $$
declare
    v_now constant timestamptz := now();
    v_deadline constant timestamptz := clock_timestamp() + interval '2 seconds';
    v_rows_left bigint := greatest(p_max_rows, 1);
    v_due record;
    v_obstacle record;
    v_page record;
    -- The place where the previous call stopped, and its counts of that campaign. Callers get a text, since not every server
    -- in between passes an object on as an object.
    v_cursor constant jsonb := p_cursor::jsonb;
    v_campaigns_at_once constant integer := 1000;
    v_scheduled_at timestamptz := coalesce((v_cursor ->> 'scheduled_at')::timestamptz, '-infinity');
    v_campaign_id uuid := coalesce((v_cursor ->> 'campaign_id')::uuid, '00000000-0000-0000-0000-000000000000');
    v_is_resumed boolean := v_cursor is not null;
    v_looked_at integer;
    v_from uuid := v_cursor ->> 'from';
    v_inserts bigint := coalesce((v_cursor ->> 'inserts')::bigint, 0);
    v_recipients bigint := coalesce((v_cursor ->> 'recipients')::bigint, 0);
    v_campaigns jsonb := '[]';
    v_errors jsonb := '[]';
    v_is_stopped boolean := false;
begin
    perform campaign_runner.hold_version(p_interface);
    perform campaign_runner.check_configuration(p_organization_id, p_system_user_id);

    <<due_campaigns>>
    loop
        v_looked_at := 0;
        for v_due in
            select d.*
            from campaign_runner.due_page(
                p_organization_id, p_system_user_id, p_system_user_roles,
                v_scheduled_at, v_campaign_id, v_campaigns_at_once, v_now
            ) d
        loop
            v_looked_at := v_looked_at + 1;
            -- The first campaign of a page is the last one of the page before, unless a call resumes at it.
            continue when v_due.campaign_id = v_campaign_id and not v_is_resumed;
            if not v_is_resumed or v_due.campaign_id <> v_campaign_id then
                v_from := '00000000-0000-0000-0000-000000000000';
                -- The recipients that the launch has inserted up to now count as generated.
                select coalesce(sum(s.inserted), 0), 0 into v_inserts, v_recipients
                from campaign_runner.launch_chunks s
                where s.launch_id = (v_due.launch).id;
            end if;
            v_is_resumed := false;
            v_campaign_id := v_due.campaign_id;
            v_scheduled_at := v_due.scheduled_at;
            v_is_stopped := v_rows_left <= 0 or clock_timestamp() >= v_deadline;
            exit due_campaigns when v_is_stopped;
            v_rows_left := v_rows_left - 1;
            continue when not v_due.is_ready;

            select * into v_obstacle
            from campaign_runner.obstacle(
                v_due.organization_id, v_due.scheduled_at, v_due.launch,
                p_system_user_id, p_system_user_roles, p_max_lateness_minutes, v_now
            );
            if found then
                v_errors := v_errors
                    || jsonb_build_object('campaign_id', v_due.campaign_id, 'error', v_obstacle.message);
                continue;
            end if;

            if coalesce((v_due.launch).generates, campaign_runner.would_generate(v_due.campaign_id)) then
                select * into v_page
                from campaign_runner.preview_page(
                    v_due.campaign_id, v_due.organization_id, v_from, v_rows_left, true, 0,
                    campaign_runner.read_rules(v_due.campaign_id)
                );
                v_inserts := v_inserts + v_page.inserts;
                v_recipients := v_recipients + v_page.recipients;
                v_rows_left := v_rows_left - v_page.contacts;
                v_from := v_page.next_from;
                v_is_stopped := v_from is not null;
                exit due_campaigns when v_is_stopped;
            else
                v_inserts := 0;
                select count(*) into v_recipients
                from public.campaign_recipients r
                where r.campaign_id = v_due.campaign_id;
            end if;

            v_campaigns := v_campaigns || jsonb_build_object(
                'campaign_id', v_due.campaign_id,
                'organization_id', v_due.organization_id,
                'name', v_due.name,
                'previous_status', 'scheduled',
                'new_status', 'sending',
                'recipients_generated', v_inserts > 0,
                'recipient_count', v_recipients
            );
        end loop;
        exit when v_looked_at < v_campaigns_at_once;
    end loop;

    return jsonb_build_object(
        'campaigns', v_campaigns,
        'errors', v_errors,
        'cursor', case when v_is_stopped then jsonb_build_object(
            'scheduled_at', v_scheduled_at, 'campaign_id', v_campaign_id,
            'from', v_from, 'inserts', v_inserts, 'recipients', v_recipients
        )::text end
    );
end;
$$;
comment on function public.campaign_runner_preview(uuid, uuid, text[], integer, integer, text, integer) is
    'What a run would launch now, a bounded part of it in each call: pass the cursor that came back until it is null.';
