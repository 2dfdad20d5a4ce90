create or replace view public.campaign_runner_sendable
with (security_invoker = true)
as
    select
        r.campaign_id,
        c.organization_id,
        r.contact_id,
        contact.email,
        contact.mobile,
        contact.first_name,
        contact.last_name
    -- These columns may be missing in a table that is not ours, see campaign_runner.tagged_contacts: NULL then.
    from (select null::text as mobile, null::text as first_name, null::text as last_name) absent
    cross join public.campaign_recipients r
    join (
        -- The rules, and the hashes of the included addresses in ascending order. The `order by` makes
        -- Postgres compute both once for each campaign. Computed for each recipient, 100,000 addresses cost 390 ms a row.
        select
            c.id,
            c.organization_id,
            jsonb_populate_record(rules, '{"include_emails": []}') as rules,
            array(
                select campaign_runner.address_hash(c.organization_id, e.address) as address_hash
                from unnest(rules.include_emails) as e (address)
                where e.address is not null
                order by address_hash
            ) as include_hashes
        from public.campaigns c
        cross join lateral campaign_runner.read_rules(c.id) rules
        where c.status = 'sending'
            -- Nothing is handed over while a launch generates: recipients are missing, or too many.
            and not exists (
                select from campaign_runner.launches l
                where l.campaign_id = c.id and l.closed_at is null and l.generates
            )
        order by rules.hash
    ) c on c.id = r.campaign_id
    cross join lateral (
        select
            nullif(campaign_runner.trim(k.email::text), '') as email,
            campaign_runner.fold(k.email::text) as address,
            campaign_runner.address_hash(k.organization_id, k.email::text) as address_hash,
            nullif(campaign_runner.trim(mobile::text), '') as mobile,
            first_name::text as first_name,
            last_name::text as last_name
        from public.contacts k
        where k.organization_id = c.organization_id and k.id = r.contact_id
        offset 0 -- one look into the index for each; a merge join would walk all contacts
    ) contact
    -- The condition is a `case`, so that the planner does not take it for selective. After a first launch there are no
    -- statistics on the recipients. Then the planner expected a handful, and the query evaluated all before it showed 500.
    where case when r.status = 'pending' then true else false end
        -- The condition is a scalar subquery, so it stays a filter. As a join the planner took it for selective, and the query
        -- evaluated a million before it showed 500.
        and (
            select e.reason is null
            from campaign_runner.evaluate_contacts(
                r.campaign_id,
                p_contact_ids => array[r.contact_id],
                -- The list is cut down to the contact's own address. The only others that are judged are its twins, which have
                -- the same.
                p_rules => jsonb_populate_record(c.rules, jsonb_build_object('include_emails', case
                    when c.include_hashes[width_bucket(contact.address_hash, c.include_hashes)] = contact.address_hash
                        then jsonb_build_array(contact.address)
                    else '[]'
                end)),
                -- A contact that came to the address after the launch is no recipient, so it takes no mail away.
                p_among_recipients => true
            ) e
        );
comment on view public.campaign_runner_sendable is
    'What may be sent now: the pending recipients of sending campaigns whose contacts get the campaign by its audience of '
    'this moment. A millisecond a row: read one campaign, in the order of contact_id, with a limit.';
