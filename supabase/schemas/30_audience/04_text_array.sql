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
