create or replace function campaign_runner.why_nobody(
    p_campaign_id uuid
)
returns text
language plpgsql
stable
set search_path = pg_catalog, pg_temp
set row_security = off
as $$
declare
    v_names_at_most constant integer := 5;
begin
    return (
        select case
            when l.recipients_before > 0 then format('%s recipients were there before, none of them pending', l.recipients_before)
            when l.contacts = 0 then 'the organization has no contacts'
            else concat_ws(
                '; ',
                (
                    select string_agg(format('%s %s', x.value, x.key), ', ' order by x.value::bigint desc, x.key)
                    from jsonb_each_text(l.excluded) x
                ),
                (
                    select 'no contact has ' || string_agg(included.name, ', ')
                    from (
                        select n.name
                        from campaign_runner.unmatched_names(p_campaign_id) u
                        cross join jsonb_array_elements_text((u -> 'include_tags') || (u -> 'include_emails')) n (name)
                        limit v_names_at_most
                    ) included
                    where l.excluded ? 'not_included'
                )
            )
        end
        from campaign_runner.launches l
        where l.campaign_id = p_campaign_id and l.state = 'launched'
        order by l.id desc
        limit 1
    );
end;
$$;
comment on function campaign_runner.why_nobody(uuid) is
    'Why the last launch of the campaign has no recipient to mail: the contacts by the reason against them, and the tags and '
    'addresses that its rules include and no contact has.';
