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
