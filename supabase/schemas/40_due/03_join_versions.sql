create or replace function campaign_runner.join_versions(
    p_campaign xid,
    p_rules xid
)
returns text
language sql
immutable
-- Parsed when it is created, and inlined.
return p_campaign::text || ' ' || coalesce(p_rules::text, '');
comment on function campaign_runner.join_versions(xid, xid) is
    'The version of a campaign, from the transactions that wrote the campaign and its rules last.';
