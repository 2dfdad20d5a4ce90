create or replace function campaign_runner.project_exclusions(
    p_campaign_id uuid,
    p_contact_ids uuid[]
)
returns table (contact_id uuid, reason text)
language plpgsql
stable
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
        kept_reasons as (
            select e.reason from excluded e group by e.reason order by e.reason limit v_reasons_at_most
        )
        select e.contact_id, 'project:' || coalesce(min(c.reason), 'other')
        from excluded e
        left join kept_reasons c on c.reason = e.reason
        group by e.contact_id;
end;
$$;
comment on function campaign_runner.project_exclusions(uuid, uuid[]) is
    'Those of the contacts that the project''s own rules leave out, each once, with project: and the reason. A reason that '
    'is NULL, empty or longer than 63 characters becomes other. Of one call, the first 20 reasons in alphabetical order keep '
    'their names.';
