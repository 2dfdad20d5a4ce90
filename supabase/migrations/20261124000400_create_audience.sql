-- Purpose: whom a campaign addresses: the one predicate, what it reads, and what a sync would change.
-- Tables:  reads contacts, contact_tags, contact_tag_assignments, campaigns, campaign_target_rules, campaign_recipients
-- Rerun:   safe.
-- Undo:    supabase/uninstall.sql drops the schema campaign_runner.
--
-- Ranges of contact ids are written p_from, p_to everywhere: p_from belongs to the range and p_to does not, so that
-- neighbours leave no gap into which a new contact could fall; only the highest uuid, which stands for the end, does.
--
-- A range is read by `tenant = any (array[…]) and id >= … order by tenant, id`, with sorts, bitmaps and sequential scans
-- switched off. `= any` is no equality, so that only an index on both columns has the order; with an equality the planner
-- took an index on one of them, where the project has one, and read the whole tenant for each range.

create or replace function campaign_runner.trim(
    p_text text
)
returns text
language sql
immutable
-- A body that is parsed when the function is created needs no search_path, and is inlined: the planner sees the
-- expression of the indexes. The characters beyond ASCII are the no-break, narrow no-break and zero-width spaces, the
-- joiners and the byte order mark, which come with addresses that were pasted.
-- The vertical tab in hex: before Postgres 16, \v is the letter v, and vera@… was the address of era@….
return pg_catalog.btrim(p_text, E' \t\n\x0b\f\r\u00a0\u200b\u200c\u200d\u202f\u2060\ufeff');
comment on function campaign_runner.trim(text) is 'A text without the blanks around it.';
revoke execute on function campaign_runner.trim(text) from public, anon, authenticated;
grant execute on function campaign_runner.trim(text) to service_role;


create or replace function campaign_runner.fold(
    p_text text
)
returns text
language sql
immutable
return pg_catalog.lower(campaign_runner.trim(p_text));
comment on function campaign_runner.fold(text) is
    'An address, a country or the name of a tag as it is compared: without blanks around it, in lower case.';
revoke execute on function campaign_runner.fold(text) from public, anon, authenticated;
grant execute on function campaign_runner.fold(text) to service_role;


create or replace function campaign_runner.address_hash(
    p_organization_id uuid,
    p_address text
)
returns bigint
language sql
immutable
return pg_catalog.hashtextextended(
    campaign_runner.fold(p_address), pg_catalog.uuid_hash_extended(p_organization_id, 0)
);
comment on function campaign_runner.address_hash(uuid, text) is
    'Tenant and address as one number, the expression of the indexes campaign_runner_addresses_idx and …_opted_out_idx.';
revoke execute on function campaign_runner.address_hash(uuid, text) from public, anon, authenticated;
grant execute on function campaign_runner.address_hash(uuid, text) to service_role;


create or replace function campaign_runner.text_array(
    p_value jsonb
)
returns text[]
language sql
immutable
return array(
    select e.value
    from pg_catalog.jsonb_array_elements_text(
        case when pg_catalog.jsonb_typeof(p_value) operator(pg_catalog.=) 'array' then p_value end
    ) with ordinality as e (value, position)
    order by e.position
);
comment on function campaign_runner.text_array(jsonb) is 'The elements of an array. Empty for anything else.';
revoke execute on function campaign_runner.text_array(jsonb) from public, anon, authenticated;
grant execute on function campaign_runner.text_array(jsonb) to service_role;


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

create or replace function campaign_runner.rules_row(
    p_campaign_id uuid,
    p_organization_id uuid
)
returns jsonb
language plpgsql
stable
set search_path = pg_catalog, pg_temp
set row_security = off
as $$
begin
    if to_regclass('public.campaign_target_rules') is null then
        return null;
    end if;
    return (
        select r.fields
        from (
            select to_jsonb(t) as fields from public.campaign_target_rules t where t.campaign_id = p_campaign_id
        ) r
        where coalesce((r.fields ->> 'organization_id')::uuid = p_organization_id, true)
    );
end;
$$;
comment on function campaign_runner.rules_row(uuid, uuid) is
    'The row of target rules as jsonb, which lacks the columns that the table lacks. NULL: there is none of this '
    'tenant.';
revoke execute on function campaign_runner.rules_row(uuid, uuid) from public, anon, authenticated;
grant execute on function campaign_runner.rules_row(uuid, uuid) to service_role;


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
revoke execute on function campaign_runner.read_rules(uuid) from public, anon, authenticated;
grant execute on function campaign_runner.read_rules(uuid) to service_role;


create or replace function campaign_runner.tagged_contacts(
    p_organization_id uuid,
    p_tag_ids uuid[],
    p_from uuid,
    p_to uuid,
    p_contact_ids uuid[]
)
returns table (contact_id uuid, tag_id uuid)
language plpgsql
stable
set search_path = pg_catalog, pg_temp
set row_security = off
set plan_cache_mode = force_generic_plan
set enable_seqscan = off
set enable_bitmapscan = off
set enable_sort = off
set enable_incremental_sort = off
as $$
#variable_conflict use_column
begin
    -- The table may not exist: its statement is planned only where there are tags to look for.
    if cardinality(p_tag_ids) = 0 then
        return;
    end if;
    -- `organization_id` may be missing in a table that is not ours. A name without a table is looked up in the innermost
    -- query first: where contact_tag_assignments has no such column, the one of `absent` is found.
    return query
        select assigned.contact_id, assigned.tag_id
        from (select null::uuid as organization_id) absent
        cross join lateral (
            (
                select a.contact_id, a.tag_id, organization_id as tenant
                from public.contact_tag_assignments a
                where p_contact_ids is null
                    and a.tag_id = any (p_tag_ids)
                    and a.contact_id >= p_from
                    and a.contact_id <= p_to
                    and (a.contact_id < p_to or p_to = 'ffffffff-ffff-ffff-ffff-ffffffffffff') is true
                order by a.tag_id, a.contact_id
            )
            union all
            select k.contact_id, k.tag_id, k.tenant
            from unnest(p_contact_ids) as c (id)
            cross join lateral (
                select a.contact_id, a.tag_id, organization_id as tenant
                from public.contact_tag_assignments a
                where a.tag_id = any (p_tag_ids) and a.contact_id >= c.id and a.contact_id <= c.id
                order by a.tag_id, a.contact_id
            ) k
        ) assigned
        where coalesce(assigned.tenant = p_organization_id, true);
end;
$$;
comment on function campaign_runner.tagged_contacts(uuid, uuid[], uuid, uuid, uuid[]) is
    'Which contacts of the range, or of these ids, have which of these tags. An assignment of another tenant is none.';
revoke execute on function campaign_runner.tagged_contacts(uuid, uuid[], uuid, uuid, uuid[])
    from public, anon, authenticated;
grant execute on function campaign_runner.tagged_contacts(uuid, uuid[], uuid, uuid, uuid[]) to service_role;


create or replace function campaign_runner.find_twins(
    p_campaign_id uuid,
    p_organization_id uuid,
    p_address_hashes bigint[],
    p_from uuid,
    p_to uuid,
    p_contact_ids uuid[],
    p_twins_at_most integer
)
returns table (contact_id uuid, address_hash bigint, status text)
language plpgsql
stable
rows 200 -- with 1,000 the planner prepared hash tables for millions of rivals: 50 ms a range
set search_path = pg_catalog, pg_temp
set row_security = off
set plan_cache_mode = force_generic_plan
set enable_seqscan = off
set enable_bitmapscan = off
set enable_sort = off
set enable_incremental_sort = off
set enable_nestloop = off
set enable_mergejoin = off
set jit = off
as $$
#variable_conflict use_column
declare
    v_last constant uuid := 'ffffffff-ffff-ffff-ffff-ffffffffffff';
    v_usual constant integer := cardinality(p_address_hashes) + p_twins_at_most;
begin
    return query
        -- One array for the index, which walks it in order: that takes half as long as a look for each address. Behind a
        -- select, since the planner looks at each element of an array that it knows: a fifth of all.
        with usual as materialized (
            select c.id, campaign_runner.address_hash(c.organization_id, c.email::text) as hash
            from public.contacts c
            where campaign_runner.address_hash(c.organization_id, c.email::text) = any ((select p_address_hashes)::bigint[])
                and (c.organization_id = p_organization_id) is true
                -- The range itself is known: only its twins outside are looked for.
                and (c.id < p_from or c.id >= p_to and p_to <> v_last) is true
                and (c.id <> all (coalesce(p_contact_ids, '{}'))) is true
            order by campaign_runner.address_hash(c.organization_id, c.email::text), c.id
            limit v_usual
        ),
        -- A crowd at one address fills the limit, and hides the twins at others: then each address is looked for.
        is_crowded as materialized (
            select cardinality(p_address_hashes) > 1 and count(*) >= v_usual as yes from usual
        ),
        twins as (
            select u.id, u.hash
            from usual u
            where not (select i.yes from is_crowded i)
            union all
            select k.id, a.hash
            from unnest(p_address_hashes) as a (hash)
            cross join lateral (
                select c.id
                from public.contacts c
                where campaign_runner.address_hash(c.organization_id, c.email::text) = any (array[a.hash])
                    and (c.organization_id = p_organization_id) is true
                    and (c.id < p_from or c.id >= p_to and p_to <> v_last) is true
                    and (c.id <> all (coalesce(p_contact_ids, '{}'))) is true
                order by campaign_runner.address_hash(c.organization_id, c.email::text), c.id
                limit p_twins_at_most
            ) k
            where (select i.yes from is_crowded i)
        )
        select
            t.id,
            t.hash,
            (
                select r.status::text
                from public.campaign_recipients r
                where r.campaign_id = any (array[p_campaign_id])
                    and r.contact_id >= t.id
                    and r.contact_id <= t.id
                order by r.campaign_id, r.contact_id
                limit 1
            )
        from twins t;
end;
$$;
comment on function
    campaign_runner.find_twins(uuid, uuid, bigint[], uuid, uuid, uuid[], integer)
is
    'The contacts at these addresses that are outside of the range, or not of these ids, each with its status as a '
    'recipient. Of more than p_twins_at_most at one address at least so many, those with the lowest ids. Only for '
    'evaluate_contacts().';
revoke execute on function campaign_runner.find_twins(uuid, uuid, bigint[], uuid, uuid, uuid[], integer)
    from public, anon, authenticated;
grant execute on function campaign_runner.find_twins(uuid, uuid, bigint[], uuid, uuid, uuid[], integer)
    to service_role;


create or replace function campaign_runner.evaluate_alone(
    p_rules campaign_runner.rules,
    p_from uuid,
    p_to uuid,
    p_contact_ids uuid[]
)
returns table (contact_id uuid, reason text, address text, address_hash bigint, country text)
language plpgsql
stable
rows 20000
set search_path = pg_catalog, pg_temp
-- A policy that hides contacts must be an error, never a smaller audience.
set row_security = off
-- One plan for all ranges. The order above allows no other index, and planning took 1.5 ms, more than 100 contacts.
set plan_cache_mode = force_generic_plan
set enable_seqscan = off
set enable_bitmapscan = off
set enable_sort = off
set enable_incremental_sort = off
-- Hash joins only. A nested loop over a materialized range is quadratic, and on tables that were never analyzed the
-- planner chose it: a reconcile of 3 s took more than 10 minutes.
set enable_nestloop = off
set enable_mergejoin = off
set jit = off
-- A step's rows, which would go through temporary files.
set work_mem = '64MB'
as $$
#variable_conflict use_column
declare
    v_first constant uuid := '00000000-0000-0000-0000-000000000000';
    v_last constant uuid := 'ffffffff-ffff-ffff-ffff-ffffffffffff';
    v_is_range constant boolean := p_contact_ids is null;
    v_is_whole constant boolean := v_is_range and p_from = v_first and p_to = v_last;
    v_opt_outs_more constant integer := 100; -- than addresses
    v_has_excluded_countries constant boolean := cardinality(p_rules.exclude_countries) > 0;
    -- For address_hash() of an address that is folded already: to fold it again took a fifth of all.
    v_seed constant bigint := uuid_hash_extended(p_rules.organization_id, 0);
begin
    return query
        with contacts as materialized (
            select k.*
            -- `deleted_at` and `mobile` may be missing in a table that is not ours, see tagged_contacts().
            from (select null::timestamptz as deleted_at, null::text as mobile) absent
            cross join lateral (
                (
                    select
                        c.id, nullif(campaign_runner.fold(c.email::text), '') as address, mobile::text as mobile,
                        c.country::text as country, coalesce(c.is_active, true) as is_active,
                        coalesce(c.is_subscribed, true) as is_subscribed, deleted_at is not null as is_deleted
                    from public.contacts c
                    where v_is_range
                        and c.organization_id = any (array[p_rules.organization_id])
                        and c.id >= p_from
                        and c.id <= p_to
                        and (c.id < p_to or p_to = v_last) is true
                    order by c.organization_id, c.id
                )
                union all
                select
                    c.id, nullif(campaign_runner.fold(c.email::text), ''), mobile::text, c.country::text,
                    coalesce(c.is_active, true), coalesce(c.is_subscribed, true), deleted_at is not null
                from public.contacts c
                where c.id = any (p_contact_ids)
                    and (c.organization_id = p_rules.organization_id) is true
                offset 0 -- keeps the address from being made again wherever it is used
            ) k
        ),
        -- An address that unsubscribed on one live contact is unsubscribed for all of them.
        asked_addresses as materialized (
            select c.address, hashtextextended(c.address, v_seed) as hash
            from contacts c
            where p_rules.exclude_unsubscribed
                and not v_is_whole
                and not c.is_deleted
                and c.is_subscribed
                and c.address is not null
        ),
        -- All opt-outs of these addresses, unless a crowd at one of them fills the limit, as in find_twins().
        opt_outs as materialized (
            select k.address, k.is_deleted
            from (select null::timestamptz as deleted_at) absent
            cross join lateral (
                select campaign_runner.fold(c.email::text) as address, deleted_at is not null as is_deleted
                from public.contacts c
                where campaign_runner.address_hash(c.organization_id, c.email::text)
                        = any (array(select a.hash from asked_addresses a))
                    and not c.is_subscribed
                    and (c.organization_id = p_rules.organization_id) is true
                order by campaign_runner.address_hash(c.organization_id, c.email::text)
                limit (select v_opt_outs_more + count(*) from asked_addresses)
            ) k
        ),
        opted_out as materialized (
            select distinct o.address
            from (
                select c.address
                from contacts c
                where p_rules.exclude_unsubscribed and v_is_whole and not c.is_deleted and not c.is_subscribed
                union all
                select k.address from opt_outs k where not k.is_deleted
                union all
                -- Then one opt-out of each address, which is as good as all.
                select a.address
                from (select null::timestamptz as deleted_at) absent
                cross join asked_addresses a
                cross join lateral (
                    select
                    from public.contacts c
                    where campaign_runner.address_hash(c.organization_id, c.email::text) = any (array[a.hash])
                        and not c.is_subscribed
                        and (deleted_at is null) is true
                        and (c.organization_id = p_rules.organization_id) is true
                        and (campaign_runner.fold(c.email::text) = a.address) is true
                    order by campaign_runner.address_hash(c.organization_id, c.email::text)
                    limit 1
                ) one
                where (select count(*) from opt_outs)
                    >= (select v_opt_outs_more + count(*) from asked_addresses)
            ) o
        ),
        bounces as materialized (
            (
                select r.contact_id
                from public.campaign_recipients r
                where p_rules.exclude_bounced
                    and v_is_range
                    and r.status = 'bounced'
                    and r.organization_id = any (array[p_rules.organization_id])
                    and r.contact_id >= p_from
                    and r.contact_id <= p_to
                order by r.organization_id, r.contact_id
            )
            union all
            select b.contact_id
            from contacts c
            cross join lateral (
                select r.contact_id
                from public.campaign_recipients r
                where r.status = 'bounced'
                    and r.organization_id = any (array[p_rules.organization_id])
                    and r.contact_id >= c.id
                    and r.contact_id <= c.id
                order by r.organization_id, r.contact_id
                limit 1
            ) b
            where p_rules.exclude_bounced and not v_is_range
        ),
        bounced as materialized (
            select distinct b.contact_id from bounces b
        ),
        tagged as materialized (
            select
                a.contact_id,
                bool_or(a.tag_id = any (p_rules.include_tag_ids)) as is_included,
                bool_or(a.tag_id = any (p_rules.exclude_tag_ids)) as is_excluded
            from campaign_runner.tagged_contacts(
                p_rules.organization_id,
                p_rules.include_tag_ids || p_rules.exclude_tag_ids,
                p_from,
                p_to,
                case when not v_is_range then array(select c.id from contacts c) end
            ) a
            group by a.contact_id
        ),
        included_addresses as materialized (
            select distinct e as address from unnest(p_rules.include_emails) e
        )
        select
            v.id,
            v.reason,
            v.address,
            case when v.reason is null then hashtextextended(v.address, v_seed) end,
            case when v.reason = 'country' then campaign_runner.fold(v.country) end
        from (
            select
                c.id,
                c.address,
                c.country,
                case
                    when c.is_deleted then 'deleted'
                    when p_rules.exclude_inactive and not c.is_active then 'inactive'
                    when p_rules.exclude_unsubscribed and (not c.is_subscribed or o.address is not null)
                        then 'unsubscribed'
                    when b.contact_id is not null then 'bounced'
                    when c.address is null and coalesce(campaign_runner.trim(c.mobile), '') = '' then 'no_address'
                    when v_has_excluded_countries
                        and campaign_runner.fold(c.country) = any (p_rules.exclude_countries)
                        then 'country'
                    when p_rules.is_restricted and i.address is null and t.is_included is not true then 'not_included'
                    when t.is_excluded then 'excluded_tag'
                end as reason
            from contacts c
            left join opted_out o on o.address = c.address
            left join bounced b on b.contact_id = c.id
            left join tagged t on t.contact_id = c.id
            left join included_addresses i on i.address = c.address
            offset 0
        ) v;
end;
$$;
comment on function campaign_runner.evaluate_alone(campaign_runner.rules, uuid, uuid, uuid[]) is
    'Each contact of the range, or of these ids, without regard to twins: NULL with the address and its hash, or the '
    'first reason against the contact. Only for evaluate_contacts().';
revoke execute on function campaign_runner.evaluate_alone(campaign_runner.rules, uuid, uuid, uuid[])
    from public, anon, authenticated;
grant execute on function campaign_runner.evaluate_alone(campaign_runner.rules, uuid, uuid, uuid[])
    to service_role;


create or replace function campaign_runner.has_exclusions()
returns boolean
language plpgsql
stable
set search_path = pg_catalog, pg_temp
as $$
declare
    v_function constant regprocedure := to_regprocedure('public.campaign_runner_exclusions(uuid, uuid[])');
    v_lack text;
begin
    if v_function is null then
        return false;
    end if;
    select case
        when p.provolatile = 'v' then 'is volatile, and a dry run must not write: alter function '
            || 'public.campaign_runner_exclusions(uuid, uuid[]) stable'
        when p.proowner <> c.relowner then 'is not owned by the owner of contacts: alter function '
            || 'public.campaign_runner_exclusions(uuid, uuid[]) owner to ' || quote_ident(pg_get_userbyid(c.relowner))
        when not has_function_privilege('service_role', p.oid, 'execute') then 'cannot be executed by the service role: '
            || 'grant execute on function public.campaign_runner_exclusions(uuid, uuid[]) to service_role'
    end
    into v_lack
    from pg_proc p
    join pg_class c on c.oid = to_regclass('public.contacts')
    where p.oid = v_function;
    if v_lack is not null then
        raise exception 'The function campaign_runner_exclusions %', v_lack using errcode = 'CR422';
    end if;
    return true;
end;
$$;
comment on function campaign_runner.has_exclusions() is
    'Whether the project has rules of its own, in the function public.campaign_runner_exclusions. Raises CR422 where that '
    'function cannot be used.';
revoke execute on function campaign_runner.has_exclusions() from public, anon, authenticated;
grant execute on function campaign_runner.has_exclusions() to service_role;


create or replace function campaign_runner.call_exclusions(
    p_campaign_id uuid,
    p_contact_ids uuid[]
)
returns table (contact_id uuid, reason text)
language plpgsql
stable
rows 20000
-- The search path of the app, for the project's function. Nothing else is looked up by it.
set search_path = public, extensions
-- And the plans that the project's function has in the app.
set enable_seqscan = on
set enable_bitmapscan = on
set enable_sort = on
set enable_incremental_sort = on
set enable_nestloop = on
set enable_mergejoin = on
set plan_cache_mode = auto
as $$
begin
    return query select x.contact_id, x.reason from public.campaign_runner_exclusions(p_campaign_id, p_contact_ids) x;
end;
$$;
comment on function campaign_runner.call_exclusions(uuid, uuid[]) is
    'What public.campaign_runner_exclusions returns. Only for project_exclusions().';
revoke execute on function campaign_runner.call_exclusions(uuid, uuid[]) from public, anon, authenticated;
grant execute on function campaign_runner.call_exclusions(uuid, uuid[]) to service_role;


create or replace function campaign_runner.project_exclusions(
    p_campaign_id uuid,
    p_contact_ids uuid[]
)
returns table (contact_id uuid, reason text)
language plpgsql
stable
rows 20000
set search_path = pg_catalog, pg_temp
set row_security = off
as $$
#variable_conflict use_column
declare
    v_reasons_at_most constant integer := 20;
    v_characters_at_most constant integer := 63;
begin
    if p_contact_ids is null then
        return;
    end if;
    return query
        with excluded as materialized (
            select
                x.contact_id,
                case when length(x.reason) between 1 and v_characters_at_most then x.reason else 'other' end as reason
            from campaign_runner.call_exclusions(p_campaign_id, p_contact_ids) x
            where x.contact_id is not null
        ),
        counted_by_name as (
            select e.reason from excluded e group by e.reason order by e.reason limit v_reasons_at_most
        )
        select e.contact_id, 'project:' || coalesce(min(c.reason), 'other')
        from excluded e
        left join counted_by_name c on c.reason = e.reason
        group by e.contact_id;
end;
$$;
comment on function campaign_runner.project_exclusions(uuid, uuid[]) is
    'Those of the contacts that the project''s own rules leave out, each once, with project: and the reason. A reason that '
    'is NULL, long or the twenty-first is other.';
revoke execute on function campaign_runner.project_exclusions(uuid, uuid[]) from public, anon, authenticated;
grant execute on function campaign_runner.project_exclusions(uuid, uuid[]) to service_role;


create or replace function campaign_runner.evaluate_contacts(
    p_campaign_id uuid,
    p_from uuid default '00000000-0000-0000-0000-000000000000',
    p_to uuid default 'ffffffff-ffff-ffff-ffff-ffffffffffff',
    p_contact_ids uuid[] default null,
    p_rules campaign_runner.rules default null,
    p_launch_id bigint default null,
    p_among_recipients boolean default false,
    p_twins_at_most integer default 100
)
returns table (contact_id uuid, reason text, country text)
language plpgsql
stable
rows 20000
set search_path = pg_catalog, pg_temp
set row_security = off
set plan_cache_mode = force_generic_plan
set enable_sort = off
set enable_incremental_sort = off
set enable_seqscan = off
set enable_nestloop = off
set enable_mergejoin = off
set jit = off
set work_mem = '64MB'
as $$
#variable_conflict use_column
declare
    v_first constant uuid := '00000000-0000-0000-0000-000000000000';
    v_last constant uuid := 'ffffffff-ffff-ffff-ffff-ffffffffffff';
    v_is_whole constant boolean := p_contact_ids is null and p_from = v_first and p_to = v_last;
    v_has_exclusions constant boolean := campaign_runner.has_exclusions();
    v_wider constant integer := 100; -- times as many twins as before
    v_rules campaign_runner.rules := p_rules;
begin
    if v_rules.hash is null then
        v_rules := campaign_runner.read_rules(p_campaign_id);
    end if;
    return query
        with in_range as materialized (
            select e.*
            from campaign_runner.evaluate_alone(v_rules, p_from, p_to, p_contact_ids) e
        ),
        -- One sort for both, from Postgres 16 on: the index is walked a fifth faster in the order of the hashes.
        addresses as materialized (
            select
                coalesce(array_agg(distinct i.address_hash), '{}') as hashes,
                count(i.address_hash) > count(distinct i.address_hash) as are_shared
            from in_range i
            where i.address_hash is not null
        ),
        found_twins as materialized (
            select f.*
            from campaign_runner.find_twins(
                p_campaign_id, v_rules.organization_id, (select a.hashes from addresses a),
                p_from, case when p_contact_ids is null then p_to else p_from end, p_contact_ids, p_twins_at_most
            ) f
            where not v_is_whole
        ),
        -- The addresses of which only the twins with the lowest ids were looked at.
        crowds as materialized (
            select f.address_hash from found_twins f group by f.address_hash having count(*) >= p_twins_at_most
        ),
        -- Only of contacts that would get the mail themselves: where rules leave a third, that spares two thirds of the
        -- probes. A twin that is no recipient takes no mail away from a contact with a lower id.
        twins as materialized (
            select
                t.*,
                f.address_hash as hash,
                f.status,
                -- Whether this pass of the launch has synced the twin: then its row, or the lack of one, is final.
                coalesce(
                    (
                        select s."cursor" is null or t.contact_id < s."cursor"
                        from campaign_runner.launch_chunks s
                        where s.launch_id = p_launch_id and s.lo <= t.contact_id
                        order by s.lo desc
                        limit 1
                    ),
                    p_among_recipients
                ) as is_final
            from campaign_runner.evaluate_alone(
                v_rules, p_from, p_to,
                array(
                    select f.contact_id
                    from found_twins f
                    where f.status is not null
                        or not p_among_recipients
                        and case
                            when p_contact_ids is null then f.contact_id < p_to
                            else f.contact_id < any (p_contact_ids)
                        end
                )
            ) t
            join found_twins f on f.contact_id = t.contact_id
            where exists (select from found_twins)
        ),
        excluded as materialized (
            select x.contact_id, x.reason
            from campaign_runner.project_exclusions(
                p_campaign_id,
                case when v_has_exclusions then array(
                    select i.contact_id from in_range i where i.reason is null
                    union all
                    select t.contact_id from twins t where t.reason is null
                ) end
            ) x
            where v_has_exclusions
        ),
        -- Who competes for an address, the best first. A twin that has its row, because this pass is done with the twin or
        -- because the mail is on its way, goes before the contacts of the range: they come too late.
        rivals as materialized (
            select i.contact_id, i.address, i.address_hash, 1 as place
            from in_range i
            left join excluded x on x.contact_id = i.contact_id
            where i.address_hash is not null
                and x.contact_id is null
                and ((select a.are_shared from addresses a) or exists (select from found_twins))
            union all
            select
                t.contact_id, t.address, t.hash,
                case
                    when t.status <> 'pending' then 0
                    when t.is_final and not p_among_recipients then 0
                    else 1
                end
            from twins t
            left join excluded x on x.contact_id = t.contact_id
            where t.status <> 'pending'
                or (t.reason is null and x.contact_id is null and (t.status is not null or not t.is_final))
        ),
        -- By their hashes, whose order costs nothing, and not the collation of the texts.
        shared_hashes as materialized (
            select r.address_hash
            from rivals r
            left join crowds w on w.address_hash = r.address_hash
            group by r.address_hash
            having count(*) > 1 or count(w.address_hash) > 0
        ),
        ranked as materialized (
            select
                r.contact_id,
                r.address_hash,
                row_number() over (
                    partition by r.address
                    order by
                        -- A contact of the range whose mail is on its way goes first as well.
                        least(r.place, (
                            select case when sent.status = 'pending' then 1 else 0 end
                            from public.campaign_recipients sent
                            where sent.campaign_id = any (array[p_campaign_id])
                                and sent.contact_id >= r.contact_id
                                and sent.contact_id <= r.contact_id
                            order by sent.campaign_id, sent.contact_id
                            limit 1
                        )),
                        r.contact_id
                ) as position
            from rivals r
            join shared_hashes s on s.address_hash = r.address_hash
        ),
        -- Contacts that go before all twins that were looked at, in a crowd. A wider look tells whether another twin takes
        -- their mail away. In a pass of a launch that is rare: the other contacts of the crowd come after one that was seen.
        undecided as materialized (
            select r.contact_id
            from ranked r
            join crowds w on w.address_hash = r.address_hash
            join in_range i on i.contact_id = r.contact_id
            where r.position = 1
        ),
        displaced as materialized (
            select r.contact_id from ranked r where r.position > 1
            union all
            select e.contact_id
            from campaign_runner.evaluate_contacts(
                p_campaign_id,
                p_contact_ids => array(select u.contact_id from undecided u),
                p_rules => v_rules,
                p_launch_id => p_launch_id,
                p_among_recipients => p_among_recipients,
                p_twins_at_most => p_twins_at_most * v_wider
            ) e
            where exists (select from undecided) and e.reason is not null
        )
        select
            i.contact_id,
            coalesce(i.reason, x.reason, case when d.contact_id is not null then 'duplicate_address' end),
            i.country
        from in_range i
        left join excluded x on x.contact_id = i.contact_id
        left join displaced d on d.contact_id = i.contact_id;
end;
$$;
comment on function
    campaign_runner.evaluate_contacts(uuid, uuid, uuid, uuid[], campaign_runner.rules, bigint, boolean, integer)
is
    'Each contact of the campaign''s organization in the range, or of these ids, with NULL when it gets the campaign, and '
    'else the first reason against it: deleted, inactive, unsubscribed, bounced, no_address, country (with the country), '
    'not_included, excluded_tag, project:…, duplicate_address. p_launch_id: as the present pass of this launch sees it. '
    'p_among_recipients: only a recipient takes the mail away from a twin. p_twins_at_most: so many twins at each '
    'address are looked at first, and more only where these decide nothing.';
revoke execute on function
    campaign_runner.evaluate_contacts(uuid, uuid, uuid, uuid[], campaign_runner.rules, bigint, boolean, integer)
    from public, anon, authenticated;
grant execute on function
    campaign_runner.evaluate_contacts(uuid, uuid, uuid, uuid[], campaign_runner.rules, bigint, boolean, integer)
    to service_role;


create or replace function campaign_runner.diff_recipients(
    p_campaign_id uuid,
    p_rules campaign_runner.rules,
    p_from uuid,
    p_to uuid,
    p_launch_id bigint default null
)
returns table (contact_id uuid, reason text, country text, change text, place tid)
language plpgsql
stable
rows 20000
set search_path = pg_catalog, pg_temp
set row_security = off
set plan_cache_mode = force_generic_plan
set enable_seqscan = off
set enable_bitmapscan = off
set enable_sort = off
set enable_incremental_sort = off
set enable_nestloop = off
set enable_mergejoin = off
set jit = off
as $$
#variable_conflict use_column
begin
    return query
        with evaluated as materialized (
            select e.contact_id, e.reason, e.country
            from campaign_runner.evaluate_contacts(p_campaign_id, p_from, p_to, null, p_rules, p_launch_id) e
        ),
        present as materialized (
            select r.contact_id, r.status = 'pending' as is_pending, r.ctid as place
            from public.campaign_recipients r
            where r.campaign_id = any (array[p_campaign_id])
                and r.contact_id >= p_from
                and r.contact_id <= p_to
                and (r.contact_id < p_to or p_to = 'ffffffff-ffff-ffff-ffff-ffffffffffff') is true
            order by r.campaign_id, r.contact_id
        )
        select
            coalesce(e.contact_id, p.contact_id),
            case when e.contact_id is null then 'orphaned' else e.reason end,
            e.country,
            case
                when p.contact_id is null then case when e.reason is null then 'insert' end
                when p.is_pending and (e.contact_id is null or e.reason is not null) then 'delete'
                else 'keep'
            end,
            p.place
        from evaluated e
        full join present p on p.contact_id = e.contact_id;
end;
$$;
comment on function campaign_runner.diff_recipients(uuid, campaign_runner.rules, uuid, uuid, bigint) is
    'What a sync of the range would change: insert, delete, keep, or NULL for a contact that is no recipient and shall be '
    'none. A recipient that is no contact of the organization has the reason orphaned. Only pending rows are ever deleted. '
    'With the place of the row of a recipient.';
revoke execute on function campaign_runner.diff_recipients(uuid, campaign_runner.rules, uuid, uuid, bigint)
    from public, anon, authenticated;
grant execute on function campaign_runner.diff_recipients(uuid, campaign_runner.rules, uuid, uuid, bigint)
    to service_role;
