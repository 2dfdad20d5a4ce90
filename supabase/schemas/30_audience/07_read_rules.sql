create or replace function campaign_runner.read_rules(
    p_campaign_id uuid
)
returns campaign_runner.rules
language plpgsql
stable
set search_path = pg_catalog, pg_temp
set row_security = off
as $$
declare
    v_campaign record;
    v_row jsonb;
    v_rules campaign_runner.rules;
    v_include_tags text[];
    v_exclude_tags text[];
    v_matched_tags text[];
begin
    select c.organization_id, c.scheduled_at into v_campaign
    from public.campaigns c
    where c.id = p_campaign_id;
    if not found then
        raise exception 'There is no such campaign.' using errcode = 'CR410';
    end if;

    -- A column that is not there, or NULL, is a rule that is not set.
    v_row := campaign_runner.rules_row(p_campaign_id, v_campaign.organization_id);
    v_rules.organization_id := v_campaign.organization_id;
    v_rules.exclude_unsubscribed := coalesce((v_row ->> 'exclude_unsubscribed')::boolean, true);
    v_rules.exclude_inactive := coalesce((v_row ->> 'exclude_inactive')::boolean, true);
    v_rules.exclude_bounced := coalesce((v_row ->> 'exclude_bounced')::boolean, false);
    v_rules.include_emails := array(
        select campaign_runner.fold(e) from unnest(campaign_runner.text_array(v_row -> 'include_emails')) e
    );
    v_rules.exclude_countries := array(
        select campaign_runner.fold(e)
        from unnest(campaign_runner.text_array(v_row -> 'exclude_countries')) e
        where campaign_runner.fold(e) <> ''
    );
    v_include_tags := campaign_runner.text_array(v_row -> 'include_tags');
    v_exclude_tags := campaign_runner.text_array(v_row -> 'exclude_tags');
    -- A list whose entries are blank, or match no contact, is a restriction that admits no contact: "everybody by accident"
    -- is the worst outcome.
    v_rules.is_restricted := cardinality(v_rules.include_emails) + cardinality(v_include_tags) > 0;

    v_rules.include_tag_ids := '{}'::uuid[];
    v_rules.exclude_tag_ids := '{}'::uuid[];
    if cardinality(v_include_tags || v_exclude_tags) > 0
        and to_regclass('public.contact_tags') is not null
        and to_regclass('public.contact_tag_assignments') is not null
    then
        select
            coalesce(array_agg(t.id order by t.id) filter (where t.is_included), '{}'),
            coalesce(array_agg(t.id order by t.id) filter (where t.is_excluded), '{}'),
            array_agg(t.name) filter (where t.is_excluded)
        into v_rules.include_tag_ids, v_rules.exclude_tag_ids, v_matched_tags
        from (
            select
                tag.id,
                campaign_runner.fold(tag.name::text) as name,
                campaign_runner.fold(tag.name::text) = any (
                    array(select campaign_runner.fold(e) from unnest(v_include_tags) e)
                ) as is_included,
                campaign_runner.fold(tag.name::text) = any (
                    array(select campaign_runner.fold(e) from unnest(v_exclude_tags) e)
                ) as is_excluded
            from public.contact_tags tag
            where tag.organization_id = v_campaign.organization_id
        ) t;
    end if;
    v_rules.unmatched_tags := array(
        select e
        from unnest(v_exclude_tags) e
        where campaign_runner.fold(e) <> '' and campaign_runner.fold(e) <> all (coalesce(v_matched_tags, '{}'))
    );

    v_rules.hash := encode(
        sha256(
            convert_to(
                jsonb_build_array(
                    to_jsonb(v_rules) - 'unmatched_tags', extract(epoch from v_campaign.scheduled_at)::text
                )::text,
                'UTF8'
            )
        ),
        'hex'
    );
    return v_rules;
end;
$$;
comment on function campaign_runner.read_rules(uuid) is
    'The target rules of a campaign, with all defaults applied and the tags resolved, and the hash of their content and of '
    'the schedule. Raises CR410 where the campaign does not exist.';
