create or replace function campaign_runner.fold(
    p_text text
)
returns text
language sql
immutable
return pg_catalog.lower(campaign_runner.trim(p_text));
comment on function campaign_runner.fold(text) is
    'An address, a country or the name of a tag as it is compared: without blanks around it, in lower case.';
