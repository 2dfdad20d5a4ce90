create or replace function public.campaign_runner_preview_campaign(
    p_campaign_id uuid,
    p_system_user_id uuid,
    p_system_user_roles text[],
    p_max_rows integer,
    p_max_lateness_minutes integer default null,
    p_cursor text default null
)
returns jsonb
language plpgsql
stable
set search_path = pg_catalog, pg_temp
set row_security = off
-- A lock on a table is told, and waited for no longer.
set lock_timeout = '2s'
set jit = off
as $$
declare
    v_first constant uuid := '00000000-0000-0000-0000-000000000000';
    v_last constant uuid := 'ffffffff-ffff-ffff-ffff-ffffffffffff';
    v_max_sample constant integer := 10;
    v_max_examined constant integer := 2000;
    v_campaign record;
    v_launch campaign_runner.launches;
    v_cursor jsonb := p_cursor::jsonb;
    v_rules campaign_runner.rules;
    v_from uuid;
    v_generates boolean;
    v_page record;
    v_contacts bigint;
    v_recipients bigint;
    v_orphaned bigint;
    v_excluded jsonb;
    v_sample uuid[];
    v_countries text[];
    v_pages integer;
begin
    perform campaign_runner.hold_version();
    select c.organization_id, c.name::text as name, c.status::text as status, c.scheduled_at into v_campaign
    from public.campaigns c
    where c.id = p_campaign_id;
    if not found then
        raise exception 'there is no such campaign' using errcode = 'CR410';
    end if;
    select * into v_launch
    from campaign_runner.launches l
    where l.campaign_id = p_campaign_id and l.closed_at is null;

    -- Pages that were evaluated by other rules do not add up with these: from the start.
    v_rules := campaign_runner.read_rules(p_campaign_id);
    if v_cursor ->> 'rules_hash' is distinct from v_rules.hash then
        v_cursor := null;
    end if;
    v_from := coalesce((v_cursor ->> 'from')::uuid, v_first);
    -- Decided by the first page, as a launch decides it once: should one begin meanwhile, its first recipients must not
    -- look like some that were there before it.
    v_generates := coalesce(
        (v_cursor ->> 'generates')::boolean, v_launch.generates, campaign_runner.would_generate(p_campaign_id)
    );
    v_sample := array(select s::uuid from jsonb_array_elements_text(v_cursor -> 'sample') s);
    v_countries := case
        when v_cursor is not null then array(select c from jsonb_array_elements_text(v_cursor -> 'countries') c)
        else array(
            select e
            from unnest(campaign_runner.text_array(
                campaign_runner.rules_row(p_campaign_id, v_campaign.organization_id) -> 'exclude_countries'
            )) e
            where campaign_runner.fold(e) <> ''
        )
    end;

    select * into v_page
    from campaign_runner.preview_page(
        p_campaign_id, v_campaign.organization_id, v_from, p_max_rows, v_generates,
        v_max_sample - cardinality(v_sample), v_rules
    );
    v_contacts := coalesce((v_cursor ->> 'contacts')::bigint, 0) + v_page.contacts;
    v_recipients := coalesce((v_cursor ->> 'recipients')::bigint, 0) + v_page.recipients;
    v_orphaned := coalesce((v_cursor ->> 'orphaned')::bigint, 0) + v_page.orphaned;
    v_excluded := campaign_runner.add_counts(coalesce(v_cursor -> 'excluded', '{}'), v_page.excluded);
    v_sample := v_sample || v_page.sample;
    v_pages := coalesce((v_cursor ->> 'pages')::integer, 0) + 1;
    v_countries := campaign_runner.unmatched_countries(
        v_campaign.organization_id, v_countries, v_from, coalesce(v_page.next_from, v_last)
    );

    if v_page.next_from is not null then
        return jsonb_build_object(
            'contacts', v_contacts,
            'preview', null,
            'cursor', jsonb_build_object(
                'rules_hash', v_rules.hash, 'from', v_page.next_from, 'generates', v_generates,
                'contacts', v_contacts, 'recipients', v_recipients, 'orphaned', v_orphaned, 'excluded', v_excluded,
                'sample', to_jsonb(v_sample), 'countries', to_jsonb(v_countries), 'pages', v_pages
            )::text
        );
    end if;

    return jsonb_build_object(
        'contacts', v_contacts,
        'cursor', null,
        'preview', jsonb_build_object(
            'campaign_id', p_campaign_id,
            'name', coalesce(v_campaign.name, ''),
            'status', v_campaign.status,
            'scheduled_at', case when isfinite(v_campaign.scheduled_at) then v_campaign.scheduled_at end,
            'has_schedule', v_campaign.scheduled_at is not null,
            'recipient_count', v_recipients,
            'contacts', v_contacts,
            'excluded', v_excluded,
            'sample', campaign_runner.addresses(v_sample),
            'unmatched',
                campaign_runner.unmatched_names(p_campaign_id) || jsonb_build_object('exclude_countries', v_countries),
            -- Without its index, each look for a twin would read all contacts.
            'looks_wrong', case
                when not exists (
                    select from campaign_runner.missing_indexes() m where m.index_name = 'campaign_runner_addresses_idx'
                )
                    then to_jsonb(campaign_runner.examine_contacts(v_campaign.organization_id, v_max_examined))
            end,
            'outsiders', v_orphaned,
            'generates', v_generates,
            'pages', v_pages,
            'system_user_exists', exists (select from public.profiles p where p.id = p_system_user_id),
            'obstacles', to_jsonb(array(
                select 'The campaign or its organization is deleted, archived or closed: the campaign is never due.'
                where v_campaign.status = 'scheduled'
                    and v_campaign.scheduled_at <= now()
                    and not exists (select from campaign_runner.due_campaigns(array[p_campaign_id]))
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
                    select coalesce(sum(s.inserted), 0)
                    from campaign_runner.launch_chunks s
                    where s.launch_id = v_launch.id
                ),
                'waits_because', case
                    when not campaign_runner.is_launch_ready(v_launch, p_system_user_id, p_system_user_roles, now())
                        then v_launch.last_error
                end
            ) end
        )
    );
end;
$$;
comment on function public.campaign_runner_preview_campaign(uuid, uuid, text[], integer, integer, text) is
    'The recipients that the campaign, of any status, would have if it were launched now. Each call reads up to p_max_rows '
    'contacts, as of its own moment. Pass the returned cursor until it is null: the last answer has `preview`. A change of '
    'the rules or the schedule between two calls makes the preview begin anew.';
