-- Purpose: the indexes that the runner needs on the public tables, and the grants of the service role.
-- Tables:  campaigns, contacts, contact_tag_assignments, campaign_recipients (indexes only)
-- Rerun:   safe.
-- Undo:    supabase/uninstall.sql drops the indexes named campaign_runner_*.

-- The indexes. Those without a condition or an expression are left out where an equivalent index stands under another name.
-- On a big table build each index beforehand, with `create index concurrently` and the same name: docs/installing.md has the
-- commands.

do $$
begin
    -- Finds the due campaigns without reading the others.
    create index if not exists campaign_runner_due_idx
        on public.campaigns (scheduled_at, id) where status = 'scheduled';

    -- The order in which an audience is walked; without it a chunk reads the contacts of all organizations.
    if not campaign_runner.has_index('public.contacts', array['organization_id', 'id']) then
        create index if not exists campaign_runner_contacts_idx on public.contacts (organization_id, id);
    end if;

    -- Finds the contacts of a tenant that have the same address, by one hash over both. The addresses themselves would make
    -- an index twice as large, and each look into the index compare texts by their collation. With the tenant as a column
    -- of its own, a planner without statistics read all contacts of the tenant for each look.
    create index if not exists campaign_runner_addresses_idx
        on public.contacts (
            hashtextextended(
                lower(btrim(email::text, E' \t\n\x0b\f\r\u00a0\u200b\u200c\u200d\u202f\u2060\ufeff')),
                uuid_hash_extended(organization_id, 0)
            ),
            id
        );

    -- Finds the addresses that opted out.
    create index if not exists campaign_runner_opted_out_idx
        on public.contacts (
            hashtextextended(
                lower(btrim(email::text, E' \t\n\x0b\f\r\u00a0\u200b\u200c\u200d\u202f\u2060\ufeff')),
                uuid_hash_extended(organization_id, 0)
            )
        )
        where not is_subscribed;

    -- A chunk of a campaign's recipients; the unique key may have its columns the other way round.
    if not campaign_runner.has_index('public.campaign_recipients', array['campaign_id', 'contact_id']) then
        create index if not exists campaign_runner_recipients_idx
            on public.campaign_recipients (campaign_id, contact_id);
    end if;

    -- Finds who bounced in a chunk. Pending rows are not in it, so a launch does not pay for it.
    create index if not exists campaign_runner_bounced_idx
        on public.campaign_recipients (organization_id, contact_id) where status = 'bounced';

    -- The contacts of one tag in a chunk. (By name: 'public.…' as a literal would be looked up where it is absent, too.)
    if to_regclass('public.contact_tag_assignments') is not null
        and not campaign_runner.has_index(
            to_regclass('public.contact_tag_assignments'), array['tag_id', 'contact_id']
        )
    then
        create index if not exists campaign_runner_tags_idx
            on public.contact_tag_assignments (tag_id, contact_id);
    end if;
end;
$$;

-- Newer Supabase projects grant nothing on new tables, not even to the service role. These are what the runner uses;
-- `for share` on the rules is what needs an update grant there.
grant usage on schema public to service_role;
grant select on public.organizations, public.profiles, public.organization_members, public.contacts to service_role;
grant select, update on public.campaigns to service_role;
grant select, insert, delete on public.campaign_recipients to service_role;

do $$
declare
    v_sequence regclass;
begin
    -- `for key share` keeps contacts while their recipients are written, and needs the right to update one column. Beside a
    -- grant on the table, a grant on a column would stay after uninstalling, and show as a difference of the schema.
    if not has_column_privilege('service_role', 'public.contacts', 'id', 'update') then
        grant update (id) on public.contacts to service_role;
    end if;
    if to_regclass('public.campaign_target_rules') is not null then
        grant select, update on public.campaign_target_rules to service_role;
    end if;
    if to_regclass('public.contact_tags') is not null then
        grant select on public.contact_tags to service_role;
    end if;
    if to_regclass('public.contact_tag_assignments') is not null then
        grant select on public.contact_tag_assignments to service_role;
    end if;
    if to_regclass('public.activity_events') is not null then
        grant insert on public.activity_events to service_role;
    end if;

    -- The sequences behind the keys of the two tables that the runner inserts into.
    for v_sequence in
        select d.objid::regclass
        from pg_depend d
        join pg_class s on s.oid = d.objid and s.relkind = 'S'
        where d.refobjid in (to_regclass('public.campaign_recipients'), to_regclass('public.activity_events'))
    loop
        execute format('grant usage on sequence %s to service_role', v_sequence);
    end loop;
end;
$$;
