create or replace function campaign_runner.unmatched_names(
    p_campaign_id uuid
)
returns jsonb
language plpgsql
stable
set search_path = pg_catalog, pg_temp
set row_security = off
set enable_nestloop = off
set enable_seqscan = off
set enable_bitmapscan = off
set enable_sort = off
set enable_incremental_sort = off
as $$
declare
    v_emails_at_most constant integer := 10000; -- to be looked up in one statement
    v_organization_id uuid;
    v_row jsonb;
    v_include_emails text[];
    v_include_tags text[];
    v_exclude_tags text[];
    v_emails text[];
    v_tag_names text[];
begin
    select c.organization_id into v_organization_id from public.campaigns c where c.id = p_campaign_id;
    v_row := campaign_runner.rules_row(p_campaign_id, v_organization_id);
    v_include_emails := campaign_runner.text_array(v_row -> 'include_emails');
    v_include_tags := campaign_runner.text_array(v_row -> 'include_tags');
    v_exclude_tags := campaign_runner.text_array(v_row -> 'exclude_tags');

    v_emails := array(
        select contact.email
        -- `deleted_at` may be missing in a table that is not ours, see tagged_contacts().
        from (select null::timestamptz as deleted_at) absent
        cross join lateral (
            select campaign_runner.fold(c.email::text) as email, deleted_at is not null as is_deleted
            from public.contacts c
            where campaign_runner.address_hash(c.organization_id, c.email::text) = any (array(
                    select campaign_runner.address_hash(v_organization_id, e.name)
                    from unnest(v_include_emails) with ordinality as e (name, position)
                    where e.position <= v_emails_at_most
                ))
                and (c.organization_id = v_organization_id) is true
            offset 0 -- else an index of the project for live contacts was read from end to end
        ) contact
        where not contact.is_deleted and contact.email <> ''
    );

    -- The tables may not exist: these statements are planned only where they do.
    if to_regclass('public.contact_tags') is not null and to_regclass('public.contact_tag_assignments') is not null then
        v_tag_names := array(
            select campaign_runner.fold(t.name::text)
            from public.contact_tags t
            where t.organization_id = v_organization_id
                and t.name is not null
                -- A scalar subquery looks into the index once for each tag. A semijoin, with loops switched off, would read
                -- the assignments of all organizations.
                and (
                    select true
                    from public.contact_tag_assignments a
                    where a.tag_id = any (array[t.id])
                    order by a.tag_id, a.contact_id
                    limit 1
                )
        );
    end if;

    return jsonb_build_object(
        'include_emails', (
            select coalesce(jsonb_agg(e.name order by e.position), '[]')
            from unnest(v_include_emails) with ordinality as e (name, position)
            left join unnest(v_emails) as found (email) on found.email = campaign_runner.fold(e.name)
            where e.position <= v_emails_at_most and e.name is not null and found.email is null
        ),
        'include_tags', to_jsonb(array(
            select t.name
            from unnest(v_include_tags) with ordinality as t (name, position)
            where t.name is not null and campaign_runner.fold(t.name) <> all (coalesce(v_tag_names, '{}'))
            order by t.position
        )),
        'exclude_tags', to_jsonb(array(
            select t.name
            from unnest(v_exclude_tags) with ordinality as t (name, position)
            where t.name is not null and campaign_runner.fold(t.name) <> all (coalesce(v_tag_names, '{}'))
            order by t.position
        )),
        'emails_not_looked_up', greatest(cardinality(v_include_emails) - v_emails_at_most, 0)
    );
end;
$$;
comment on function campaign_runner.unmatched_names(uuid) is
    'The e-mail addresses in the campaign''s rules that no contact of the organization has (a deleted one does not count), '
    'and the tags that nobody has. Addresses beyond the first 10,000 are not looked up, but counted.';
