create or replace function campaign_runner.missing_indexes()
returns table (index_name text, is_invalid boolean, command text)
language plpgsql
stable
set search_path = pg_catalog, pg_temp
as $$
begin
    return query
        with needed (name, table_name, columns, definition) as (
            values
                -- NULL for the columns: the index has a condition or an expression, and is known by its name alone.
                ('campaign_runner_due_idx', 'public.campaigns', null, '(scheduled_at, id) where status = ''scheduled'''),
                (
                    'campaign_runner_contacts_idx', 'public.contacts', array['organization_id', 'id'],
                    '(organization_id, id)'
                ),
                (
                    'campaign_runner_addresses_idx', 'public.contacts', null,
                    '(hashtextextended(lower(btrim(email::text, E'' \t\n\x0b\f\r\u00a0\u200b\u200c\u200d\u202f\u2060\ufeff'')), '
                    'uuid_hash_extended(organization_id, 0)), id)'
                ),
                (
                    'campaign_runner_opted_out_idx', 'public.contacts', null,
                    '(hashtextextended(lower(btrim(email::text, E'' \t\n\x0b\f\r\u00a0\u200b\u200c\u200d\u202f\u2060\ufeff'')), '
                    'uuid_hash_extended(organization_id, 0))) where not is_subscribed'
                ),
                (
                    'campaign_runner_recipients_idx', 'public.campaign_recipients', array['campaign_id', 'contact_id'],
                    '(campaign_id, contact_id)'
                ),
                (
                    'campaign_runner_bounced_idx', 'public.campaign_recipients', null,
                    '(organization_id, contact_id) where status = ''bounced'''
                ),
                (
                    'campaign_runner_tags_idx', 'public.contact_tag_assignments', array['tag_id', 'contact_id'],
                    '(tag_id, contact_id)'
                )
        ),
        found as (
            select n.name, n.table_name, n.columns, n.definition, to_regclass(n.table_name) as table_oid, i.indisvalid
            from needed n
            left join pg_catalog.pg_index i
                on i.indexrelid = to_regclass('public.' || n.name) and i.indrelid = to_regclass(n.table_name)
            where to_regclass(n.table_name) is not null
        )
        select
            f.name, f.indisvalid is not null,
            format('create index concurrently if not exists %s on %s %s;', f.name, f.table_name, f.definition)
        from found f
        where f.indisvalid is not true
            and (f.columns is null or not campaign_runner.has_index(f.table_oid, f.columns));
end;
$$;
comment on function campaign_runner.missing_indexes() is
    'The indexes that the runner needs and that are not there, or are there but invalid, as a build with `concurrently` that '
    'failed leaves them; each with the command that builds it.';
