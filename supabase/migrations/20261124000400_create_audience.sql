-- Purpose: whom a campaign addresses: the one predicate, what it reads, and what it would change.
-- Tables:  reads contacts, contact_tags, contact_tag_assignments, campaigns, campaign_target_rules, campaign_recipients
-- Rerun:   safe.
-- Undo:    supabase/uninstall.sql drops the schema campaign_runner.
--
-- Ranges of contact ids are written p_from, p_to everywhere: p_from belongs to the range and p_to does not, so that
-- neighbours leave no gap into which a new contact could fall; only the highest uuid, which stands for the end, does.

create or replace function campaign_runner.tag_ids(
    p_organization_id uuid,
    p_names text[]
)
returns uuid[]
language plpgsql
stable
set search_path = ''
set row_security = off
as $$
begin
    if coalesce(cardinality(p_names), 0) = 0
        or to_regclass('public.contact_tags') is null
        or to_regclass('public.contact_tag_assignments') is null
    then
        return '{}'::uuid[];
    end if;
    return (
        select coalesce(array_agg(t.id order by t.id), '{}')
        from public.contact_tags t
        where t.organization_id = p_organization_id and t.name::text = any (p_names)
    );
end;
$$;
comment on function campaign_runner.tag_ids(uuid, text[]) is
    'The ids of the tags of the organization that have one of these names, in order. Empty where tags are not installed.';
revoke execute on function campaign_runner.tag_ids(uuid, text[]) from public, anon, authenticated;
grant execute on function campaign_runner.tag_ids(uuid, text[]) to service_role;


create or replace function campaign_runner.tagged_contacts(
    p_tag_ids uuid[],
    p_from uuid,
    p_to uuid,
    p_contact_ids uuid[]
)
returns table (contact_id uuid, tag_id uuid)
language plpgsql
stable
set search_path = ''
set row_security = off
as $$
#variable_conflict use_column
begin
    -- The table may not exist: its statement is planned only where there are tags to look for.
    if cardinality(p_tag_ids) = 0 then
        return;
    end if;
    return query
        select a.contact_id, a.tag_id
        from public.contact_tag_assignments a
        where a.tag_id = any (p_tag_ids)
            and a.contact_id between p_from and p_to
            and (a.contact_id < p_to or p_to = 'ffffffff-ffff-ffff-ffff-ffffffffffff')
        union all
        select a.contact_id, a.tag_id
        from public.contact_tag_assignments a
        where a.tag_id = any (p_tag_ids) and a.contact_id = any (p_contact_ids);
end;
$$;
comment on function campaign_runner.tagged_contacts(uuid[], uuid, uuid, uuid[]) is
    'Which contacts of the range, and which of these ids, have which of these tags.';
revoke execute on function campaign_runner.tagged_contacts(uuid[], uuid, uuid, uuid[]) from public, anon, authenticated;
grant execute on function campaign_runner.tagged_contacts(uuid[], uuid, uuid, uuid[]) to service_role;


create or replace function campaign_runner.verdicts(
    p_campaign_id uuid,
    p_from uuid,
    p_to uuid,
    p_address_hashes bigint[] default null
)
returns table (contact_id uuid, reason text, address text, address_hash bigint)
language plpgsql
stable
rows 20000
set search_path = ''
-- A policy that hides contacts must be an error, never a smaller audience.
set row_security = off
-- Hash joins and index ranges only. A nested loop over a materialized range is quadratic, and on tables that were
-- never analyzed the planner chose it: a reconcile of 3 s took more than 10 minutes.
set enable_nestloop = off
set enable_seqscan = off
-- It would sort the contacts, which the hash does not need.
set enable_mergejoin = off
set jit = off
-- Set below, and given back at the end.
set plan_cache_mode = auto
-- A step's rows, which would go through temporary files.
set work_mem = '64MB'
as $$
#variable_conflict use_column
declare
    v_blanks constant text := E' \t\n\v\f\r';
    v_organization_id uuid;
    v_rules record;
    v_include_tag_ids uuid[];
    v_exclude_tag_ids uuid[];
    v_exclude_countries text[];
    v_has_excluded_countries boolean;
    v_is_restricted boolean;
begin
    select c.organization_id into strict v_organization_id
    from public.campaigns c
    where c.id = p_campaign_id;

    -- No row of rules: every field below is NULL, and NULL is the default of its flag.
    select r.* into v_rules
    from public.campaign_target_rules r
    where r.campaign_id = p_campaign_id;

    v_include_tag_ids := campaign_runner.tag_ids(v_organization_id, v_rules.include_tags::text[]);
    v_exclude_tag_ids := campaign_runner.tag_ids(v_organization_id, v_rules.exclude_tags::text[]);
    v_exclude_countries := array(
        select lower(btrim(e, v_blanks)) from unnest(v_rules.exclude_countries::text[]) e where btrim(e, v_blanks) <> ''
    );
    v_has_excluded_countries := cardinality(v_exclude_countries) > 0;
    -- A list whose entries are all blank, or name nobody, is a restriction that admits nobody: "everybody by accident"
    -- is the worst outcome.
    v_is_restricted := coalesce(cardinality(v_rules.include_emails), 0) > 0
        or coalesce(cardinality(v_rules.include_tags), 0) > 0;

    -- A range is planned anew: the planner thinks a plan for any range cheaper, and after five calls took one that walks the
    -- contacts of all organizations. From the first id on only the walk of one index is left, and a small campaign is
    -- spared the 0.4 ms, a tenth of its launch.
    perform set_config(
        'plan_cache_mode',
        case
            when p_from = '00000000-0000-0000-0000-000000000000' and p_address_hashes is null then 'force_generic_plan'
            else 'force_custom_plan'
        end,
        true
    );

    return query
        with at_addresses as materialized (
            select contact.*
            -- `deleted_at` and `mobile` may be missing in a table that is not ours. A name without a table is looked up
            -- in the innermost query first: where contacts has no such column, that of `absent` is found.
            from (select null::timestamptz as deleted_at, null::text as mobile) absent
            cross join lateral (
                select
                    c.id, nullif(lower(btrim(c.email::text, E' \t\n\v\f\r')), '') as address, mobile::text as mobile,
                    c.country::text as country, c.is_active, c.is_subscribed, deleted_at is not null as is_deleted
                from public.contacts c
                -- One array for the index, which walks it in order; a probe for each address by itself took six times as
                -- long. Behind a select, since the planner looks at each element of an array that it knows: a fifth of all.
                where p_address_hashes is not null
                    and c.organization_id = v_organization_id
                    and hashtextextended(lower(btrim(c.email::text, E' \t\n\v\f\r')), 0)
                        = any ((select p_address_hashes)::bigint[])
                    and c.id >= p_from
                    and c.id < p_to
            ) contact
        ),
        ids_at_addresses as materialized (
            select array(select a.id from at_addresses a) as ids
        ),
        -- Distinct only afterwards, so that no order is asked for: a plan that was made while the table was empty took the
        -- index over contact ids alone, and read the recipients of all campaigns.
        bounces as materialized (
            select r.contact_id
            from public.campaign_recipients r
            where v_rules.exclude_bounced
                and p_address_hashes is null
                and r.status = 'bounced'
                and (r.organization_id, r.contact_id) >= (v_organization_id, p_from)
                and (r.organization_id, r.contact_id) <= (v_organization_id, p_to)
            union all
            select r.contact_id
            from public.campaign_recipients r
            where v_rules.exclude_bounced
                and r.organization_id = v_organization_id
                and r.status = 'bounced'
                and r.contact_id = any ((select i.ids from ids_at_addresses i)::uuid[])
        ),
        bounced as materialized (
            select distinct b.contact_id from bounces b
        ),
        tagged as materialized (
            select
                a.contact_id,
                bool_or(a.tag_id = any (v_include_tag_ids)) as is_included,
                bool_or(a.tag_id = any (v_exclude_tag_ids)) as is_excluded
            from campaign_runner.tagged_contacts(
                v_include_tag_ids || v_exclude_tag_ids,
                case when p_address_hashes is null then p_from end,
                case when p_address_hashes is null then p_to end,
                (select i.ids from ids_at_addresses i)
            ) a
            group by a.contact_id
        ),
        included_addresses as materialized (
            select distinct lower(btrim(e, v_blanks)) as address
            from unnest(v_rules.include_emails::text[]) e
        )
        select
            v.id,
            v.reason,
            case when v.reason is null then v.address end,
            case when v.reason is null then hashtextextended(v.address, 0) end
        from (
            select
                c.id,
                c.address,
                case
                    when c.is_deleted then 'deleted'
                    when coalesce(v_rules.exclude_inactive, true) and not coalesce(c.is_active, true) then 'inactive'
                    when coalesce(v_rules.exclude_unsubscribed, true) and not coalesce(c.is_subscribed, true)
                        then 'unsubscribed'
                    when b.contact_id is not null then 'bounced'
                    when c.address is null and coalesce(btrim(c.mobile, v_blanks), '') = '' then 'no_address'
                    when v_has_excluded_countries and lower(btrim(c.country, v_blanks)) = any (v_exclude_countries)
                        then 'country'
                    when v_is_restricted and i.address is null and t.is_included is not true then 'not_included'
                    when t.is_excluded then 'excluded_tag'
                end as reason
            from (
                select contact.*
                from (select null::timestamptz as deleted_at, null::text as mobile) absent
                cross join lateral (
                    select
                        c.id, nullif(lower(btrim(c.email::text, E' \t\n\v\f\r')), '') as address,
                        mobile::text as mobile, c.country::text as country, c.is_active, c.is_subscribed,
                        deleted_at is not null as is_deleted
                    from public.contacts c
                    -- As pairs, for which an index has to lead with both; and the last line as what no index is for.
                    where p_address_hashes is null
                        and (c.organization_id, c.id) >= (v_organization_id, p_from)
                        and (c.organization_id, c.id) <= (v_organization_id, p_to)
                        and (c.id < p_to or p_to = 'ffffffff-ffff-ffff-ffff-ffffffffffff') is true
                    offset 0 -- keeps the address from being made again wherever it is used
                ) contact
                union all
                select a.* from at_addresses a
            ) c
            left join bounced b on b.contact_id = c.id
            left join tagged t on t.contact_id = c.id
            left join included_addresses i on i.address = c.address
            offset 0
        ) v;
end;
$$;
comment on function campaign_runner.verdicts(uuid, uuid, uuid, bigint[]) is
    'The verdict on each contact of the range, or on those of them at these addresses, by itself: NULL, '
    'with the address and its hash, or the first reason why not. Only for campaign_runner.audience().';
revoke execute on function campaign_runner.verdicts(uuid, uuid, uuid, bigint[]) from public, anon, authenticated;
grant execute on function campaign_runner.verdicts(uuid, uuid, uuid, bigint[]) to service_role;


create or replace function campaign_runner.audience(
    p_campaign_id uuid,
    p_from uuid default '00000000-0000-0000-0000-000000000000',
    p_to uuid default 'ffffffff-ffff-ffff-ffff-ffffffffffff'
)
returns table (contact_id uuid, reason text)
language plpgsql
stable
rows 20000
set search_path = ''
set row_security = off
set enable_nestloop = off
set enable_mergejoin = off
set jit = off
set work_mem = '64MB'
as $$
#variable_conflict use_column
begin
    return query
        with in_range as materialized (
            select v.* from campaign_runner.verdicts(p_campaign_id, p_from, p_to) v
        ),
        -- One sort for both, from Postgres 16 on: the index walks sorted hashes a fifth faster, and where none comes twice,
        -- which is usual, nothing is left to group, which took as long as the sort.
        addresses as materialized (
            select
                coalesce(array_agg(i.address_hash order by i.address_hash), '{}') as hashes,
                count(i.address_hash) > count(distinct i.address_hash) as are_shared
            from in_range i
            where i.address_hash is not null
        ),
        -- Contacts below the range that share an address with one in it: whether one of them gets the mail is part of
        -- the verdict. There is none in an organization without duplicates, and none can be below the first range.
        -- Only of those who would get the mail themselves: where rules leave a third, that spares two thirds of the probes.
        rivals as materialized (
            select v.*
            from campaign_runner.verdicts(
                p_campaign_id, '00000000-0000-0000-0000-000000000000', p_from, (select a.hashes from addresses a)
            ) v
            where p_from > '00000000-0000-0000-0000-000000000000' and v.reason is null
        ),
        -- By their hashes, whose order costs nothing, and not the collation of the texts.
        shared_hashes as materialized (
            select i.address_hash
            from in_range i
            where (select a.are_shared from addresses a)
            group by i.address_hash
            having count(*) > 1
            union
            select r.address_hash from rivals r
        ),
        -- Of those who would get the same mail at the same address, the lowest id does.
        duplicates as materialized (
            select ranked.contact_id
            from (
                select c.contact_id, row_number() over (partition by c.address order by c.contact_id) as position
                from (
                    select i.contact_id, i.address, i.address_hash from in_range i
                    union all
                    select r.contact_id, r.address, r.address_hash from rivals r
                ) c
                join shared_hashes s on s.address_hash = c.address_hash
            ) ranked
            where ranked.position > 1
        )
        select i.contact_id, coalesce(i.reason, case when d.contact_id is not null then 'duplicate_address' end)
        from in_range i
        left join duplicates d on d.contact_id = i.contact_id;
end;
$$;
comment on function campaign_runner.audience(uuid, uuid, uuid) is
    'Each contact of the campaign''s organization in the range, with NULL when it gets the campaign, and else the first '
    'reason why not: deleted, inactive, unsubscribed, bounced, no_address, country, not_included, excluded_tag, '
    'duplicate_address. Launch, dry run and preview all use it; replace it where your rules differ.';
revoke execute on function campaign_runner.audience(uuid, uuid, uuid) from public, anon, authenticated;
grant execute on function campaign_runner.audience(uuid, uuid, uuid) to service_role;


create or replace function campaign_runner.changes(
    p_campaign_id uuid,
    p_from uuid,
    p_to uuid,
    p_recipients bigint default null,
    p_digest bigint default null
)
returns table (contact_id uuid, reason text, change text)
language plpgsql
stable
rows 20000
set search_path = ''
set row_security = off
set enable_nestloop = off
set enable_seqscan = off
set enable_mergejoin = off
set jit = off
as $$
#variable_conflict use_column
begin
    return query
        with judged as materialized (
            select a.contact_id, a.reason from campaign_runner.audience(p_campaign_id, p_from, p_to) a
        ),
        -- Who was written a moment ago mostly still is who qualifies: to compare a number spares reading and joining them.
        qualified as (
            select count(*) as n, coalesce(bit_xor(uuid_hash_extended(j.contact_id, 0)), 0) as digest
            from judged j
            where p_digest is not null and j.reason is null
        ),
        unchanged as materialized (
            select coalesce(q.n = p_recipients and q.digest = p_digest, false) as is_unchanged from qualified q
        ),
        present as materialized (
            select r.contact_id, r.status = 'pending' as is_pending
            from public.campaign_recipients r
            -- As pairs, again, and materialized, so that no order is asked for: a plan that was made while the table was
            -- empty took the index over contact ids alone, and each of 1,000 campaigns read the recipients of all: 27 ms
            -- instead of 0.1.
            where (r.campaign_id, r.contact_id) >= (p_campaign_id, p_from)
                and (r.campaign_id, r.contact_id) <= (p_campaign_id, p_to)
                and (r.contact_id < p_to or p_to = 'ffffffff-ffff-ffff-ffff-ffffffffffff') is true
        )
        select
            coalesce(j.contact_id, p.contact_id),
            case when j.contact_id is null then 'foreign' else j.reason end,
            case
                when p.contact_id is null then case when j.reason is null then 'insert' end
                when p.is_pending and (j.contact_id is null or j.reason is not null) then 'delete'
                else 'keep'
            end
        from judged j
        full join present p on p.contact_id = j.contact_id
        where (select not u.is_unchanged from unchanged u)
        union all
        select j.contact_id, j.reason, null
        from judged j
        where j.reason is not null and (select u.is_unchanged from unchanged u)
        union all
        select null, null, 'unchanged'
        from unchanged u
        where u.is_unchanged;
end;
$$;
comment on function campaign_runner.changes(uuid, uuid, uuid, bigint, bigint) is
    'The audience in the range against the recipients that are there: insert, delete, keep, or NULL for a contact that '
    'is no recipient and shall be none. A recipient that is no contact of the organization has the reason foreign. Only '
    'pending rows are ever deleted. Where the audience is just so many contacts with this digest, one row, unchanged, '
    'stands for all of them, and nobody has looked whether they are there.';
revoke execute on function campaign_runner.changes(uuid, uuid, uuid, bigint, bigint) from public, anon, authenticated;
grant execute on function campaign_runner.changes(uuid, uuid, uuid, bigint, bigint) to service_role;


create or replace function campaign_runner.fingerprint(
    p_campaign_id uuid
)
returns text
language plpgsql
stable
set search_path = ''
set row_security = off
as $$
begin
    -- The rules by the xmin of their row, which is new with each version: so rules that were changed and changed back
    -- show. Not the campaign's own xmin: a project's trigger may count recipients there, and we would chase ourselves.
    return (
        select concat_ws(
            ' ',
            c.organization_id,
            extract(epoch from c.scheduled_at),
            coalesce(r.xmin::text, '-'),
            campaign_runner.tag_ids(c.organization_id, r.include_tags::text[]),
            campaign_runner.tag_ids(c.organization_id, r.exclude_tags::text[])
        )
        from public.campaigns c
        left join public.campaign_target_rules r on r.campaign_id = c.id
        where c.id = p_campaign_id
    );
end;
$$;
comment on function campaign_runner.fingerprint(uuid) is
    'Tenant, schedule, rules and tags that a launch works by, as one text. Differs as soon as one of them was touched.';
revoke execute on function campaign_runner.fingerprint(uuid) from public, anon, authenticated;
grant execute on function campaign_runner.fingerprint(uuid) to service_role;
