-- Purpose: the dry run: what a run would launch now, with nothing written.
-- Tables:  reads what a launch reads
-- Rerun:   safe.
-- Undo:    supabase/uninstall.sql drops the function.

create or replace function public.campaign_runner_preview(
    p_organization_id uuid,
    p_system_user_id uuid,
    p_system_user_roles text[],
    p_max_rows integer,
    p_max_lateness_minutes integer default null,
    p_cursor text default null
)
returns jsonb
language plpgsql
stable
set search_path = ''
set row_security = off
set enable_seqscan = off
set jit = off
as $$
declare
    v_last constant uuid := 'ffffffff-ffff-ffff-ffff-ffffffffffff';
    v_now constant timestamptz := now();
    v_deadline constant timestamptz := clock_timestamp() + interval '2 seconds';
    v_rows_left bigint := greatest(p_max_rows, 1);
    v_due record;
    v_obstacle record;
    v_next uuid;
    v_counted record;
    -- Where the call before stopped, and what it had counted of that campaign. A text to the outside, as not every server
    -- in between hands an object on as one.
    v_cursor constant jsonb := p_cursor::jsonb;
    v_scheduled_at timestamptz := (v_cursor ->> 'scheduled_at')::timestamptz;
    v_campaign_id uuid := v_cursor ->> 'campaign_id';
    v_from uuid := v_cursor ->> 'from';
    v_inserts bigint := coalesce((v_cursor ->> 'inserts')::bigint, 0);
    v_recipients bigint := coalesce((v_cursor ->> 'recipients')::bigint, 0);
    v_campaigns jsonb := '[]';
    v_errors jsonb := '[]';
    v_is_stopped boolean := false;
begin
    perform campaign_runner.check_configuration(p_organization_id, p_system_user_id);

    <<due_campaigns>>
    for v_due in
        select d.campaign_id, d.organization_id, d.name, d.scheduled_at, d.launch
        from campaign_runner.due_campaigns(p_organization_id, p_system_user_id, p_system_user_roles, v_now) d
        where v_campaign_id is null or (d.scheduled_at, d.campaign_id) >= (v_scheduled_at, v_campaign_id)
        order by d.scheduled_at, d.campaign_id
    loop
        if v_due.campaign_id is distinct from v_campaign_id then
            v_from := '00000000-0000-0000-0000-000000000000';
            -- What the launch has inserted up to now counts as generated.
            select coalesce(sum(s.inserted), 0), 0 into v_inserts, v_recipients
            from campaign_runner.launch_slices s
            where s.launch_id = (v_due.launch).id;
        end if;
        v_campaign_id := v_due.campaign_id;
        v_scheduled_at := v_due.scheduled_at;
        v_is_stopped := v_rows_left <= 0 or clock_timestamp() >= v_deadline;
        exit when v_is_stopped;
        v_rows_left := v_rows_left - 1;

        select * into v_obstacle
        from campaign_runner.obstacle(
            v_due.organization_id, v_due.scheduled_at, coalesce((v_due.launch).state <> 'claimed', false),
            p_system_user_id, p_system_user_roles, p_max_lateness_minutes, v_now
        );
        if found then
            v_errors := v_errors || jsonb_build_object('campaign_id', v_due.campaign_id, 'error', v_obstacle.message);
            continue;
        end if;

        if coalesce((v_due.launch).generates, campaign_runner.would_generate(v_due.campaign_id)) then
            loop
                select c.id into v_next
                from public.contacts c
                where c.organization_id = v_due.organization_id and c.id >= v_from and c.id < v_last
                order by c.id
                offset greatest(v_rows_left, 1)
                limit 1;
                select
                    count(*) filter (where c.change = 'insert') as inserts,
                    count(*) filter (where c.change in ('insert', 'keep')) as recipients,
                    count(*) as contacts
                into v_counted
                from campaign_runner.changes(v_due.campaign_id, v_from, coalesce(v_next, v_last)) c;
                v_inserts := v_inserts + v_counted.inserts;
                v_recipients := v_recipients + v_counted.recipients;
                v_rows_left := v_rows_left - v_counted.contacts;
                v_from := v_next;
                exit when v_from is null;
                v_is_stopped := v_rows_left <= 0 or clock_timestamp() >= v_deadline;
                exit due_campaigns when v_is_stopped;
            end loop;
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
comment on function public.campaign_runner_preview(uuid, uuid, text[], integer, integer, text) is
    'What a run would launch now, a bounded part of it in each call: pass the cursor that came back until it is null.';
revoke execute on function public.campaign_runner_preview(uuid, uuid, text[], integer, integer, text)
    from public, anon, authenticated;
grant execute on function public.campaign_runner_preview(uuid, uuid, text[], integer, integer, text) to service_role;

notify pgrst, 'reload schema';
