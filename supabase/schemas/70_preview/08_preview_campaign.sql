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
-- A lock on a table ends the call with 55P03 after this time, so that the caller hears of the lock.
set lock_timeout = '2s'
set jit = off
as $$
declare
    v_first constant uuid := '00000000-0000-0000-0000-000000000000';
    v_last constant uuid := 'ffffffff-ffff-ffff-ffff-ffffffffffff';
    v_max_sample constant integer := 10;
    v_cursor jsonb := p_cursor::jsonb;
    v_rules campaign_runner.rules;
    v_from uuid;
    v_generates boolean;
    v_page record;
    v_sample uuid[];
    v_countries text[];
    v_counts jsonb;
begin
    perform campaign_runner.hold_version();
    -- Pages that were evaluated by other rules do not add up with these: from the start.
    v_rules := campaign_runner.read_rules(p_campaign_id);
    if v_cursor ->> 'rules_hash' is distinct from v_rules.hash then
        v_cursor := null;
    end if;
    v_from := coalesce((v_cursor ->> 'from')::uuid, v_first);
    -- Decided by the first page, as by a launch. Decided by each page, the first recipients of a launch that begins meanwhile
    -- would count as recipients that were there before.
    v_generates := coalesce(
        (v_cursor ->> 'generates')::boolean,
        (select l.generates from campaign_runner.launches l where l.campaign_id = p_campaign_id and l.closed_at is null),
        campaign_runner.would_generate(p_campaign_id)
    );
    v_sample := array(select s::uuid from jsonb_array_elements_text(v_cursor -> 'sample') s);
    v_countries := case
        when v_cursor is not null then array(select c from jsonb_array_elements_text(v_cursor -> 'countries') c)
        else array(
            select e
            from unnest(campaign_runner.text_array(
                campaign_runner.rules_row(p_campaign_id, v_rules.organization_id) -> 'exclude_countries'
            )) e
            where campaign_runner.fold(e) <> ''
        )
    end;

    select * into v_page
    from campaign_runner.preview_page(
        p_campaign_id, v_rules.organization_id, v_from, p_max_rows, v_generates,
        v_max_sample - cardinality(v_sample), v_rules
    );
    v_countries := campaign_runner.unmatched_countries(
        v_rules.organization_id, v_countries, v_from, coalesce(v_page.next_from, v_last)
    );
    v_counts := jsonb_build_object(
        'generates', v_generates,
        'contacts', coalesce((v_cursor ->> 'contacts')::bigint, 0) + v_page.contacts,
        'recipients', coalesce((v_cursor ->> 'recipients')::bigint, 0) + v_page.recipients,
        'orphaned', coalesce((v_cursor ->> 'orphaned')::bigint, 0) + v_page.orphaned,
        'excluded', campaign_runner.add_counts(coalesce(v_cursor -> 'excluded', '{}'), v_page.excluded),
        'sample', to_jsonb(v_sample || v_page.sample),
        'countries', to_jsonb(v_countries),
        'pages', coalesce((v_cursor ->> 'pages')::integer, 0) + 1
    );
    return jsonb_build_object(
        'contacts', v_counts -> 'contacts',
        'cursor', case
            when v_page.next_from is not null
                then (v_counts || jsonb_build_object('rules_hash', v_rules.hash, 'from', v_page.next_from))::text
        end,
        'preview', case
            when v_page.next_from is null
                then campaign_runner.describe_preview(
                    p_campaign_id, v_counts, p_system_user_id, p_system_user_roles, p_max_lateness_minutes
                )
        end
    );
end;
$$;
comment on function public.campaign_runner_preview_campaign(uuid, uuid, text[], integer, integer, text) is
    'The recipients that the campaign, of any status, would have if it were launched now. Each call reads up to p_max_rows '
    'contacts, as of its own moment. Pass the returned cursor until it is null: the last answer has `preview`. A change of '
    'the rules or the schedule between two calls starts the preview again.';
