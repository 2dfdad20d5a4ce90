-- Demo data for an empty project: `make run`, `SEED=1 make serve` and `supabase db reset` load it.
--
-- Three organizations. The system user is a member of the first two, so nothing of the third may be launched.
--   Northwind  26,000 contacts, the one with the big audience
--   Contoso     1,250 contacts
--   Fabrikam      100 contacts

insert into auth.users (id, email) values
    ('5e5e5e5e-0000-4000-8000-000000000000', 'campaign-runner@example.com'),
    ('5e5e5e5e-0000-4000-8000-000000000001', 'maria@northwind.example');

-- A project may have a trigger that makes the profiles.
insert into public.profiles (id) values
    ('5e5e5e5e-0000-4000-8000-000000000000'),
    ('5e5e5e5e-0000-4000-8000-000000000001')
on conflict (id) do nothing;

insert into public.organizations (id, name) values
    ('a0000000-0000-4000-8000-000000000001', 'Northwind'),
    ('a0000000-0000-4000-8000-000000000002', 'Contoso'),
    ('a0000000-0000-4000-8000-000000000003', 'Fabrikam');

insert into public.organization_members (organization_id, user_id, role) values
    ('a0000000-0000-4000-8000-000000000001', '5e5e5e5e-0000-4000-8000-000000000000', 'member'),
    ('a0000000-0000-4000-8000-000000000002', '5e5e5e5e-0000-4000-8000-000000000000', 'member'),
    ('a0000000-0000-4000-8000-000000000001', '5e5e5e5e-0000-4000-8000-000000000001', 'owner');


-- Contacts. Their ids are hashes, scattered as random ones are, and the same each time.

-- Northwind: 25,000 whom anybody may mail, one in five of them without a country, then 200 of each kind that drops out.
insert into public.contacts (id, organization_id, email, first_name, country, is_active, is_subscribed, deleted_at)
select
    md5('northwind ' || n)::uuid,
    'a0000000-0000-4000-8000-000000000001',
    format('contact%s@northwind.example', n),
    format('Contact %s', n),
    case
        when n > 25800 then 'DE' -- in the country that the newsletter leaves out
        else (array['US', 'FR', 'BR', 'JP', null])[1 + n % 5]
    end,
    n not between 25001 and 25200, -- inactive
    n not between 25201 and 25400, -- unsubscribed
    case when n between 25401 and 25600 then now() - interval '30 days' end -- deleted
    -- 25601 to 25800: bounced, see the campaign of last year
from generate_series(1, 26000) n;

-- Contoso: 1,200 whom anybody may mail, and 50 who unsubscribed.
insert into public.contacts (id, organization_id, email, first_name, country, is_subscribed)
select
    md5('contoso ' || n)::uuid,
    'a0000000-0000-4000-8000-000000000002',
    format('contact%s@contoso.example', n),
    format('Contact %s', n),
    'CH',
    n <= 1200
from generate_series(1, 1250) n;

insert into public.contacts (id, organization_id, email, first_name)
select
    md5('fabrikam ' || n)::uuid,
    'a0000000-0000-4000-8000-000000000003',
    format('contact%s@fabrikam.example', n),
    format('Contact %s', n)
from generate_series(1, 100) n;


-- Tags: 500 contacts of Northwind are VIPs, 20 of these are not to be mailed. Contoso's `lapsed` all unsubscribed.

insert into public.contact_tags (id, organization_id, name) values
    ('7a900000-0000-4000-8000-000000000001', 'a0000000-0000-4000-8000-000000000001', 'vip'),
    ('7a900000-0000-4000-8000-000000000002', 'a0000000-0000-4000-8000-000000000001', 'do not mail'),
    ('7a900000-0000-4000-8000-000000000003', 'a0000000-0000-4000-8000-000000000002', 'lapsed');

insert into public.contact_tag_assignments (contact_id, tag_id, organization_id)
select md5('northwind ' || n)::uuid, '7a900000-0000-4000-8000-000000000001'::uuid, 'a0000000-0000-4000-8000-000000000001'::uuid
from generate_series(1, 500) n
union all
select md5('northwind ' || n)::uuid, '7a900000-0000-4000-8000-000000000002', 'a0000000-0000-4000-8000-000000000001'
from generate_series(481, 500) n
union all
select md5('contoso ' || n)::uuid, '7a900000-0000-4000-8000-000000000003', 'a0000000-0000-4000-8000-000000000002'
from generate_series(1201, 1250) n;


-- Campaigns, each there for a reason.

insert into public.campaigns (id, organization_id, name, status, scheduled_at, created_by) values
    -- The big one: 25,000 recipients, more than a REST call returns by far. Leaves out a country, and who bounced.
    ('ca000000-0000-4000-8000-000000000001', 'a0000000-0000-4000-8000-000000000001', 'Newsletter to 25,000',
        'scheduled', now() - interval '5 minutes', '5e5e5e5e-0000-4000-8000-000000000001'),
    -- Tags, one that lets in and one that keeps out.
    ('ca000000-0000-4000-8000-000000000002', 'a0000000-0000-4000-8000-000000000001', 'Offer to VIPs',
        'scheduled', now() - interval '4 minutes', '5e5e5e5e-0000-4000-8000-000000000001'),
    -- Somebody chose its three recipients beforehand: they stay as they are, and nobody is added.
    ('ca000000-0000-4000-8000-000000000003', 'a0000000-0000-4000-8000-000000000001', 'Invitation to three',
        'scheduled', now() - interval '3 minutes', '5e5e5e5e-0000-4000-8000-000000000001'),
    -- Not due yet.
    ('ca000000-0000-4000-8000-000000000004', 'a0000000-0000-4000-8000-000000000001', 'Due tomorrow',
        'scheduled', now() + interval '1 day', '5e5e5e5e-0000-4000-8000-000000000001'),
    -- Was due, but a person has paused it.
    ('ca000000-0000-4000-8000-000000000005', 'a0000000-0000-4000-8000-000000000001', 'Paused by Maria',
        'paused', now() - interval '1 hour', '5e5e5e5e-0000-4000-8000-000000000001'),
    -- Over long ago. Its bounces are why some contacts get no newsletter.
    ('ca000000-0000-4000-8000-000000000006', 'a0000000-0000-4000-8000-000000000001', 'Newsletter of last year',
        'sent', now() - interval '1 year', '5e5e5e5e-0000-4000-8000-000000000001'),
    -- Has no target rules, so the defaults hold.
    ('ca000000-0000-4000-8000-000000000007', 'a0000000-0000-4000-8000-000000000002', 'Welcome to Contoso',
        'scheduled', now() - interval '2 minutes', null),
    -- Everybody whom it addresses has unsubscribed: launched, to nobody.
    ('ca000000-0000-4000-8000-000000000008', 'a0000000-0000-4000-8000-000000000002', 'We miss you',
        'scheduled', now() - interval '1 minute', null),
    -- The system user may not act for this organization: an error, and the others are launched all the same.
    ('ca000000-0000-4000-8000-000000000009', 'a0000000-0000-4000-8000-000000000003', 'Fabrikam opens',
        'scheduled', now() - interval '6 minutes', null);

insert into public.campaign_target_rules (campaign_id, organization_id, include_tags, exclude_tags, exclude_countries, exclude_bounced)
values
    ('ca000000-0000-4000-8000-000000000001', 'a0000000-0000-4000-8000-000000000001', null, null, array['DE'], true),
    ('ca000000-0000-4000-8000-000000000002', 'a0000000-0000-4000-8000-000000000001', array['vip'], array['do not mail'], null, false),
    ('ca000000-0000-4000-8000-000000000008', 'a0000000-0000-4000-8000-000000000002', array['lapsed'], null, null, false);

insert into public.campaign_recipients (campaign_id, contact_id, organization_id, status, sent_at)
select
    'ca000000-0000-4000-8000-000000000006'::uuid,
    md5('northwind ' || n)::uuid,
    'a0000000-0000-4000-8000-000000000001'::uuid,
    'bounced',
    now() - interval '1 year'
from generate_series(25601, 25800) n
union all
select
    'ca000000-0000-4000-8000-000000000003',
    md5('northwind ' || n)::uuid,
    'a0000000-0000-4000-8000-000000000001',
    'pending',
    null
from generate_series(1, 3) n;
