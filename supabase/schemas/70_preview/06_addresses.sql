create or replace function campaign_runner.addresses(
    p_contact_ids uuid[]
)
returns jsonb
language plpgsql
stable
set search_path = pg_catalog, pg_temp
set row_security = off
set enable_seqscan = off
as $$
begin
    return (
        select coalesce(
            jsonb_agg(contact.address order by contact.id) filter (where contact.address is not null),
            '[]'
        )
        -- `mobile` may be missing in a table that is not ours, see tagged_contacts().
        from (select null::text as mobile) absent
        cross join lateral (
            -- A recipient whom somebody chose may have no address.
            select
                c.id,
                coalesce(
                    nullif(campaign_runner.trim(c.email::text), ''), nullif(campaign_runner.trim(mobile::text), '')
                ) as address
            from public.contacts c
            where c.id = any (p_contact_ids)
        ) contact
    );
end;
$$;
comment on function campaign_runner.addresses(uuid[]) is
    'The e-mail addresses of contacts, or else their mobile numbers, in the order of the ids.';
