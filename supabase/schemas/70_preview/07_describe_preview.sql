create or replace function campaign_runner.describe_preview(
    p_campaign_id uuid,
    p_counts jsonb,
    p_system_user_id uuid,
    p_system_user_roles text[],
    p_max_lateness_minutes integer
)
returns jsonb
language plpgsql
stable
set search_path = pg_catalog, pg_temp
set row_security = off
as $$
declare
    v_max_examined constant integer := 2000;
    v_campaign record;
    v_launch campaign_runner.launches;
begin
    select c.organization_id, c.name::text as name, c.status::text as status, c.scheduled_at into v_campaign
    from public.campaigns c
    where c.id = p_campaign_id;
    select * into v_launch
    from campaign_runner.launches l
    where l.campaign_id = p_campaign_id and l.closed_at is null;

    return jsonb_build_object(
        'campaign_id', p_campaign_id,
        'name', coalesce(v_campaign.name, ''),
        'status', v_campaign.status,
        'scheduled_at', case when isfinite(v_campaign.scheduled_at) then v_campaign.scheduled_at end,
        'has_schedule', v_campaign.scheduled_at is not null,
        'recipient_count', p_counts -> 'recipients',
        'contacts', p_counts -> 'contacts',
        'excluded', p_counts -> 'excluded',
        'outsiders', p_counts -> 'orphaned',
        'generates', p_counts -> 'generates',
        'pages', p_counts -> 'pages',
        'sample', campaign_runner.addresses(
            array(select s::uuid from jsonb_array_elements_text(p_counts -> 'sample') s)
        ),
        'unmatched', campaign_runner.unmatched_names(p_campaign_id)
            || jsonb_build_object('exclude_countries', p_counts -> 'countries'),
        -- Without its index, each look for a twin would read all contacts.
        'looks_wrong', case
            when not exists (
                select from campaign_runner.missing_indexes() m where m.index_name = 'campaign_runner_addresses_idx'
            )
                then to_jsonb(campaign_runner.examine_contacts(v_campaign.organization_id, v_max_examined))
        end,
        'system_user_exists', exists (select from public.profiles p where p.id = p_system_user_id),
        'obstacles', to_jsonb(array(
            select 'The campaign or its organization is deleted, archived or closed: the campaign is never due.'
            where v_campaign.status = 'scheduled'
                and v_campaign.organization_id is not null
                and v_campaign.scheduled_at <= now()
                and not exists (select from campaign_runner.due_campaigns(array[p_campaign_id]))
            union all
            select 'The campaign belongs to no organization: the campaign is never due.'
            where v_campaign.organization_id is null
            union all
            select o.message
            from campaign_runner.obstacle(
                v_campaign.organization_id, v_campaign.scheduled_at, v_launch,
                p_system_user_id, p_system_user_roles,
                case when v_campaign.status = 'scheduled' then p_max_lateness_minutes end, now()
            ) o
        )),
        'launch', case when v_launch.id is not null then jsonb_build_object(
            'state', v_launch.state,
            'inserted', (
                select coalesce(sum(s.inserted), 0) from campaign_runner.launch_chunks s where s.launch_id = v_launch.id
            ),
            'waits_because', case
                when not campaign_runner.is_launch_ready(v_launch, p_system_user_id, p_system_user_roles, now())
                    then v_launch.last_error
            end
        ) end
    );
end;
$$;
comment on function campaign_runner.describe_preview(uuid, jsonb, uuid, text[], integer) is
    'The answer of a preview: the counts of all its pages, the campaign, what looks wrong, and what stands in its way.';
