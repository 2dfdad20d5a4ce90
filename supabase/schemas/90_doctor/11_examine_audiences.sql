create or replace function campaign_runner.examine_audiences()
returns jsonb
language plpgsql
stable
set search_path = pg_catalog, pg_temp
set row_security = off
as $$
declare
    v_organizations_at_most constant integer := 20;
    v_contacts_at_most constant integer := 2000; -- of each organization: all may have to come from the disk
    v_deadline constant timestamptz := clock_timestamp() + interval '2 seconds';
    v_organization_id uuid;
    v_sample record;
    v_contacts bigint := 0;
    v_is_sample boolean;
    v_found jsonb := '[]';
begin
    -- Without its index, a look for a twin would read all contacts.
    if exists (
        select from campaign_runner.missing_indexes() m where m.index_name = 'campaign_runner_addresses_idx'
    ) then
        return null;
    end if;
    v_is_sample := exists (select from public.organizations o offset v_organizations_at_most);
    -- First the organizations that are about to send, then any.
    for v_organization_id in
        select o.id
        from (
            select 1 as part, c.organization_id as id
            from campaign_runner.scheduled_campaigns(10000) c
            where c.organization_id is not null
            union all
            (select 2, r.id from public.organizations r limit v_organizations_at_most)
        ) o
        group by o.id
        order by min(o.part)
        limit v_organizations_at_most
    loop
        if clock_timestamp() >= v_deadline then
            v_is_sample := true;
            exit;
        end if;
        select * into v_sample from campaign_runner.examine_contacts(v_organization_id, v_contacts_at_most);
        v_contacts := v_contacts + v_sample.contacts;
        v_is_sample := v_is_sample or v_sample.contacts >= v_contacts_at_most;
        if v_sample.addresses + v_sample.mobiles + v_sample.malformed + v_sample.unknown > 0 then
            v_found := v_found
                || (to_jsonb(v_sample) - 'contacts' || jsonb_build_object('organization_id', v_organization_id));
        end if;
    end loop;
    return jsonb_build_object('contacts', v_contacts, 'is_sample', v_is_sample, 'organizations', v_found);
end;
$$;
comment on function campaign_runner.examine_audiences() is
    'What looks wrong in the contacts of some organizations, those with scheduled campaigns first. NULL: the index that this '
    'needs is missing.';
