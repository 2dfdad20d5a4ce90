-- Purpose: the public tables that the runner reads and writes, each created only where it is absent.
-- Tables:  organizations, profiles, organization_members, contacts, contact_tags, contact_tag_assignments,
--          campaigns, campaign_target_rules, campaign_recipients, activity_events
-- Rerun:   safe; a table that exists is left exactly as it is, with its policies and grants.
-- Undo:    the tables hold your data: supabase/uninstall.sql leaves them.

create or replace function campaign_runner.add_tenant_key(
    p_table text,
    p_column text,
    p_referenced text
)
returns void
language plpgsql
volatile
set search_path = pg_catalog, pg_temp
as $$
begin
    -- The key carries the organization, so that a row across tenants is impossible, where the referenced table has a key
    -- for that.
    if campaign_runner.has_index(to_regclass('public.' || p_referenced), array['organization_id', 'id'], true) then
        execute format(
            'alter table public.%I add constraint %I foreign key (organization_id, %I)'
            ' references public.%I (organization_id, id) on delete cascade',
            p_table, p_table || '_' || replace(p_column, '_id', '') || '_of_tenant', p_column, p_referenced
        );
    else
        execute format(
            'alter table public.%I add constraint %I foreign key (%I) references public.%I (id) on delete cascade',
            p_table, p_table || '_' || replace(p_column, '_id', '') || '_exists', p_column, p_referenced
        );
    end if;
end;
$$;
comment on function campaign_runner.add_tenant_key(text, text, text) is
    'Gives a new table its foreign key, with the organization where the referenced table has a key for that.';
revoke execute on function campaign_runner.add_tenant_key(text, text, text) from public, anon, authenticated;
grant execute on function campaign_runner.add_tenant_key(text, text, text) to service_role;

do $$
declare
    v_required constant text[] := array[
        'organizations', 'profiles', 'organization_members', 'contacts',
        'campaigns', 'campaign_recipients'
    ];
    -- A project that has campaigns of its own may do without these, so they come with a new `campaigns` only.
    v_optional constant text[] := array[
        'campaign_target_rules', 'contact_tags', 'contact_tag_assignments', 'activity_events'
    ];
    v_new text[];
    v_table text;
begin
    select coalesce(array_agg(t.name), '{}') into v_new
    from unnest(
        v_required || case when to_regclass('public.campaigns') is null then v_optional else '{}' end
    ) as t (name)
    where to_regclass('public.' || t.name) is null;

    if 'organizations' = any (v_new) then
        create table public.organizations (
            id uuid primary key default gen_random_uuid(),
            name text not null,
            created_at timestamptz not null default now()
        );
        comment on table public.organizations is 'Tenants. Every contact and every campaign belongs to one of them.';
    end if;

    if 'profiles' = any (v_new) then
        create table public.profiles (
            id uuid primary key references auth.users (id) on delete cascade,
            created_at timestamptz not null default now()
        );
        comment on table public.profiles is 'People, and the system user in whose name the campaign runner writes.';
    end if;

    if 'organization_members' = any (v_new) then
        create table public.organization_members (
            organization_id uuid not null references public.organizations (id) on delete cascade,
            user_id uuid not null references public.profiles (id) on delete cascade,
            role text not null default 'member',
            created_at timestamptz not null default now(),
            primary key (organization_id, user_id)
        );
        create index organization_members_user_id_idx on public.organization_members (user_id);
        comment on table public.organization_members is 'Who may act for which organization, and in which role.';
    end if;

    if 'contacts' = any (v_new) then
        create table public.contacts (
            id uuid primary key default gen_random_uuid(),
            organization_id uuid not null references public.organizations (id) on delete cascade,
            email text,
            mobile text,
            first_name text,
            last_name text,
            country text,
            is_active boolean default true,
            is_subscribed boolean default true,
            deleted_at timestamptz,
            created_at timestamptz not null default now(),
            updated_at timestamptz not null default now(),
            -- The target of the tenant keys below, and the order in which the runner walks an audience.
            constraint contacts_tenant_key unique (organization_id, id)
        );
        comment on table public.contacts is 'The people an organization may write to.';
    end if;

    if 'contact_tags' = any (v_new) then
        create table public.contact_tags (
            id uuid primary key default gen_random_uuid(),
            organization_id uuid not null references public.organizations (id) on delete cascade,
            name text not null,
            created_at timestamptz not null default now(),
            constraint contact_tags_tenant_key unique (organization_id, id),
            constraint contact_tags_name_is_unique unique (organization_id, name)
        );
        comment on table public.contact_tags is 'Tags of an organization. Target rules name them.';
    end if;

    if 'contact_tag_assignments' = any (v_new) then
        create table public.contact_tag_assignments (
            contact_id uuid not null,
            tag_id uuid not null,
            organization_id uuid not null references public.organizations (id) on delete cascade,
            created_at timestamptz not null default now(),
            primary key (tag_id, contact_id)
        );
        perform campaign_runner.add_tenant_key('contact_tag_assignments', 'contact_id', 'contacts');
        perform campaign_runner.add_tenant_key('contact_tag_assignments', 'tag_id', 'contact_tags');
        create index contact_tag_assignments_contact_id_idx on public.contact_tag_assignments (contact_id);
        create index contact_tag_assignments_organization_id_idx on public.contact_tag_assignments (organization_id);
        comment on table public.contact_tag_assignments is 'Which contact has which tag.';

        create or replace function public.set_organization_of_contact_tag_assignment()
        returns trigger
        language plpgsql
        volatile
        set search_path = pg_catalog, pg_temp
        as $function$
        begin
            select t.organization_id into new.organization_id from public.contact_tags t where t.id = new.tag_id;
            return new;
        end;
        $function$;
        comment on function public.set_organization_of_contact_tag_assignment() is
            'If an assignment is inserted without an organization, it gets the organization of its tag.';
        revoke execute on function public.set_organization_of_contact_tag_assignment() from public, anon, authenticated;

        create trigger set_organization
            before insert on public.contact_tag_assignments
            for each row when (new.organization_id is null)
            execute function public.set_organization_of_contact_tag_assignment();
    end if;

    if 'activity_events' = any (v_new) then
        create table public.activity_events (
            id bigint generated always as identity primary key,
            organization_id uuid references public.organizations (id) on delete cascade,
            user_id uuid references public.profiles (id) on delete set null,
            event_type text,
            payload jsonb not null default '{}',
            created_at timestamptz not null default now()
        );
        create index activity_events_organization_id_idx on public.activity_events (organization_id, created_at);
        create index activity_events_user_id_idx on public.activity_events (user_id);
        comment on table public.activity_events is
            'What happened in an organization. The campaign runner writes one campaign.sending event per launch.';
    end if;

    if 'campaigns' = any (v_new) then
        create table public.campaigns (
            id uuid primary key default gen_random_uuid(),
            organization_id uuid not null references public.organizations (id) on delete cascade,
            name text not null,
            status text not null default 'draft',
            scheduled_at timestamptz,
            created_by uuid references public.profiles (id) on delete set null,
            created_at timestamptz not null default now(),
            updated_at timestamptz not null default now(),
            constraint campaigns_tenant_key unique (organization_id, id),
            constraint campaigns_status_is_known
                check (status in ('draft', 'scheduled', 'sending', 'sent', 'failed', 'paused'))
        );
        create index campaigns_created_by_idx on public.campaigns (created_by);
        comment on table public.campaigns is
            'Campaigns. One with status scheduled and a scheduled_at that has come is launched by the campaign runner.';
    end if;

    if 'campaign_target_rules' = any (v_new) then
        create table public.campaign_target_rules (
            id uuid primary key default gen_random_uuid(),
            campaign_id uuid not null,
            organization_id uuid not null references public.organizations (id) on delete cascade,
            include_emails text[],
            include_tags text[],
            exclude_tags text[],
            exclude_countries text[],
            exclude_unsubscribed boolean default true,
            exclude_inactive boolean default true,
            exclude_bounced boolean default false,
            created_at timestamptz not null default now(),
            updated_at timestamptz not null default now(),
            constraint campaign_target_rules_one_per_campaign unique (campaign_id)
        );
        perform campaign_runner.add_tenant_key('campaign_target_rules', 'campaign_id', 'campaigns');
        create index campaign_target_rules_organization_id_idx on public.campaign_target_rules (organization_id);
        comment on table public.campaign_target_rules is
            'Whom a campaign addresses. A campaign without a row here has the defaults of its columns.';
    end if;

    if 'campaign_recipients' = any (v_new) then
        -- No surrogate key: with one, a unique constraint, three single-column foreign keys and their indexes, the same
        -- 300,000 rows took 1.5 to 2 times as long to insert.
        create table public.campaign_recipients (
            campaign_id uuid not null,
            contact_id uuid not null,
            organization_id uuid not null,
            status text not null default 'pending',
            sent_at timestamptz,
            created_at timestamptz not null default now(),
            primary key (campaign_id, contact_id),
            constraint campaign_recipients_status_is_known
                check (status in ('pending', 'sent', 'delivered', 'bounced', 'opened', 'clicked'))
        );
        -- For the cascade of a deleted contact, which would otherwise read the whole table for each.
        create index campaign_recipients_contact_id_idx on public.campaign_recipients (contact_id);

        perform campaign_runner.add_tenant_key('campaign_recipients', 'campaign_id', 'campaigns');
        perform campaign_runner.add_tenant_key('campaign_recipients', 'contact_id', 'contacts');

        create or replace function public.set_organization_of_campaign_recipient()
        returns trigger
        language plpgsql
        volatile
        set search_path = pg_catalog, pg_temp
        as $function$
        begin
            select c.organization_id into new.organization_id from public.campaigns c where c.id = new.campaign_id;
            return new;
        end;
        $function$;
        comment on function public.set_organization_of_campaign_recipient() is
            'If a recipient is inserted without an organization, it gets the organization of its campaign.';
        revoke execute on function public.set_organization_of_campaign_recipient() from public, anon, authenticated;

        create trigger set_organization
            before insert on public.campaign_recipients
            for each row when (new.organization_id is null)
            execute function public.set_organization_of_campaign_recipient();
        comment on table public.campaign_recipients is
            'Who gets a campaign. Written by the campaign runner; the sender mails the pending rows of sending campaigns.';
    end if;

    foreach v_table in array v_new loop
        execute format('alter table public.%I enable row level security', v_table);
        execute format('revoke all on public.%I from public, anon, authenticated', v_table);
        execute format('grant select on public.%I to authenticated', v_table);
        execute format('grant select, insert, update, delete on public.%I to service_role', v_table);

        -- A member sees the rows of its organizations. organization_members shows each person its own rows only, which
        -- is all that the other policies need, and keeps this policy from asking itself.
        execute format(
            'create policy members_read on public.%I for select to authenticated using (%s)',
            v_table,
            case v_table
                when 'profiles' then 'id = (select auth.uid())'
                when 'organization_members' then 'user_id = (select auth.uid())'
                else format(
                    '%I in (select m.organization_id from public.organization_members m'
                    ' where m.user_id = (select auth.uid()))',
                    case v_table when 'organizations' then 'id' else 'organization_id' end
                )
            end
        );

        -- Members edit these; recipients and events are written by the service role alone.
        if v_table in ('contacts', 'contact_tags', 'contact_tag_assignments', 'campaigns', 'campaign_target_rules') then
            execute format('grant insert, update, delete on public.%I to authenticated', v_table);
            execute format(
                'create policy members_edit on public.%1$I for all to authenticated using (%2$s) with check (%2$s)',
                v_table,
                'organization_id in (select m.organization_id from public.organization_members m'
                ' where m.user_id = (select auth.uid()))'
            );
        end if;
    end loop;
end;
$$;
