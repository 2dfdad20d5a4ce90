do $$
begin
    if to_regtype('campaign_runner.rules') is null then
        create type campaign_runner.rules as (
            organization_id uuid,
            include_emails text[], -- folded
            include_tag_ids uuid[],
            exclude_tag_ids uuid[],
            exclude_countries text[], -- folded
            is_restricted boolean, -- whether an address or a tag has to admit a contact
            exclude_unsubscribed boolean,
            exclude_inactive boolean,
            exclude_bounced boolean,
            unmatched_tags text[], -- the names in exclude_tags that no tag of the organization has
            hash text -- of tenant, schedule, rules and tags: what a launch works by
        );
        comment on type campaign_runner.rules is 'The target rules of a campaign, with all defaults applied.';
    end if;
end;
$$;
