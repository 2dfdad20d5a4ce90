-- Purpose: for the author of the sender: what may be sent now.
-- Tables:  reads campaigns, campaign_recipients and contacts, and what the audience reads
-- Rerun:   safe.
-- Undo:    supabase/uninstall.sql drops the view.

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
    -- These columns may be missing in a table that is not ours, see campaign_runner.audience: NULL then.
    from (select null::text as mobile, null::text as first_name, null::text as last_name) absent
    cross join public.campaign_recipients r
    join public.campaigns c on c.id = r.campaign_id
    cross join lateral (
        select
            k.id,
            nullif(btrim(k.email::text, E' \t\n\v\f\r'), '') as email,
            nullif(btrim(mobile::text, E' \t\n\v\f\r'), '') as mobile,
            first_name::text as first_name,
            last_name::text as last_name
        from public.contacts k
        where k.organization_id = c.organization_id and k.id = r.contact_id
        offset 0 -- one look into the index for each; a merge join would walk all contacts
    ) contact
    where c.status = 'sending'
        -- As a case, which the planner does not take for selective. Where it knows nothing of the recipients yet, which is so
        -- after each first launch, it expected a handful, and judged all of them before it sorted and showed 500.
        and case when r.status = 'pending' then true else false end
        -- The verdict of the launch itself, of one contact: up to the next one of the organization. As a scalar, which
        -- stays a filter: as a join the planner took it for selective, and judged a million before it showed 500.
        and (
            select a.reason is null
                -- Whom an equal address kept out of the launch is no recipient. A contact that came to the address later
                -- takes nobody's mail away, unless it is a recipient too.
                or (
                    a.reason = 'duplicate_address'
                    and not exists (
                        select
                        from public.contacts rival
                        join public.campaign_recipients other
                            on other.campaign_id = r.campaign_id and other.contact_id = rival.id
                        where rival.organization_id = c.organization_id
                            and hashtextextended(lower(btrim(rival.email::text, E' \t\n\v\f\r')), 0)
                            = hashtextextended(lower(contact.email), 0)
                            and rival.id < r.contact_id
                            -- It got the mail, or it would get it now.
                            and (
                                other.status <> 'pending'
                                or (
                                    select coalesce(verdict.reason, 'duplicate_address') = 'duplicate_address'
                                    from campaign_runner.audience(
                                        r.campaign_id,
                                        rival.id,
                                        coalesce(
                                            (
                                                select following.id
                                                from public.contacts following
                                                where following.organization_id = c.organization_id
                                                    and following.id > rival.id
                                                order by following.id
                                                limit 1
                                            ),
                                            'ffffffff-ffff-ffff-ffff-ffffffffffff'
                                        )
                                    ) verdict
                                    where verdict.contact_id = rival.id
                                )
                            )
                    )
                )
            from campaign_runner.audience(
                r.campaign_id,
                r.contact_id,
                coalesce(
                    (
                        select following.id
                        from public.contacts following
                        where following.organization_id = c.organization_id and following.id > r.contact_id
                        order by following.id
                        limit 1
                    ),
                    'ffffffff-ffff-ffff-ffff-ffffffffffff'
                )
            ) a
            where a.contact_id = r.contact_id
        );
comment on view public.campaign_runner_sendable is
    'What may be sent now: the pending recipients of sending campaigns whose contacts get the campaign by its audience of '
    'this moment. A millisecond a row: read one campaign, in the order of contact_id, with a limit.';
revoke all on public.campaign_runner_sendable from public, anon, authenticated;
grant select on public.campaign_runner_sendable to service_role;

notify pgrst, 'reload schema';
