create or replace function campaign_runner.mark_sending(
    p_run_id uuid,
    p_launch campaign_runner.launches,
    p_system_user_id uuid,
    p_now timestamptz
)
returns void
language plpgsql
volatile
set search_path = pg_catalog, pg_temp
set row_security = off
set enable_seqscan = off
as $$
declare
    v_chunk campaign_runner.launch_chunks;
    v_rules campaign_runner.rules;
    v_contacts bigint := 0;
    v_inserted bigint := 0;
    v_excluded jsonb := '{}';
    v_excluded_countries text[] := '{}';
    v_recipient_count bigint;
    v_status text;
    v_name text;
begin
    -- All that takes time comes before the campaign is locked.
    for v_chunk in select * from campaign_runner.launch_chunks s where s.launch_id = p_launch.id loop
        v_contacts := v_contacts + v_chunk.contacts;
        v_inserted := v_inserted + v_chunk.inserted;
        v_excluded := campaign_runner.add_counts(v_excluded, v_chunk.excluded);
        v_excluded_countries := v_excluded_countries || v_chunk.excluded_countries;
    end loop;
    select count(*) into v_recipient_count
    from public.campaign_recipients r
    where r.campaign_id = p_launch.campaign_id;

    v_rules := campaign_runner.lock_campaign(p_launch, p_now);
    if exists (
        select from pg_attribute a
        where a.attrelid = 'public.campaigns'::regclass
            and a.attname = 'updated_at'
            and a.atttypid in ('timestamptz'::regtype, 'timestamp'::regtype)
    ) then
        perform campaign_runner.set_sending_and_time(p_launch.campaign_id, p_now);
    else
        perform campaign_runner.set_sending(p_launch.campaign_id);
    end if;
    select c.status::text, coalesce(c.name::text, '') into v_status, v_name
    from public.campaigns c
    where c.id = p_launch.campaign_id;
    if v_status is distinct from 'sending' then
        raise exception 'The status could not be set: a trigger or a rule on campaigns keeps it at %.', coalesce(v_status, 'NULL')
            using errcode = 'CR422';
    end if;

    if to_regclass('public.activity_events') is not null then
        perform campaign_runner.insert_event(
            v_rules.organization_id,
            p_system_user_id,
            jsonb_build_object(
                'campaign_id', p_launch.campaign_id,
                'name', v_name,
                'run_id', p_run_id,
                'previous_status', 'scheduled',
                'new_status', 'sending',
                'recipients_generated', v_inserted > 0,
                'recipient_count', v_recipient_count
            )
        );
    end if;

    update campaign_runner.launches l
    set
        state = 'launched',
        closed_at = clock_timestamp(),
        campaign_name = v_name,
        run_id = p_run_id,
        system_user_id = p_system_user_id,
        late_by = case when isfinite(l.scheduled_at) then p_now - l.scheduled_at end,
        contacts = v_contacts,
        recipients_inserted = v_inserted,
        recipient_count = v_recipient_count,
        excluded = v_excluded,
        unmatched = case when l.generates then jsonb_build_object(
            'exclude_tags', v_rules.unmatched_tags,
            'exclude_countries', array(select e from unnest(v_rules.exclude_countries) e where e <> all (v_excluded_countries))
        ) end,
        waiting = null,
        next_attempt_at = null
    where l.id = p_launch.id;
    delete from campaign_runner.launch_chunks s where s.launch_id = p_launch.id;
end;
$$;
comment on function campaign_runner.mark_sending(uuid, campaign_runner.launches, uuid, timestamptz) is
    'Sets the campaign to sending, and writes the outcome of its launch. Raises what lock_campaign() raises, and CR422 where '
    'a trigger or a rule keeps the status.';
