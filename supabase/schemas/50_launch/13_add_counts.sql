create or replace function campaign_runner.add_counts(
    p_left jsonb,
    p_right jsonb
)
returns jsonb
language plpgsql
immutable
set search_path = pg_catalog, pg_temp
as $$
declare
    v_project_reasons_at_most constant integer := 20;
begin
    if p_left = '{}' then
        return p_right;
    end if;
    return (
        select jsonb_object_agg(total.reason, total.n)
        from (
            select named.reason, sum(named.n) as n
            from (
                select
                    case
                        when counted.key like 'project:%'
                            and dense_rank() over (partition by counted.key like 'project:%' order by counted.key)
                            > v_project_reasons_at_most
                            then 'project:other'
                        else counted.key
                    end as reason,
                    counted.value::bigint as n
                from (
                    select l.key, l.value from jsonb_each_text(p_left) l
                    union all
                    select r.key, r.value from jsonb_each_text(p_right) r
                ) counted
            ) named
            group by named.reason
        ) total
    );
end;
$$;
comment on function campaign_runner.add_counts(jsonb, jsonb) is
    'Adds two objects of reason to number. The project''s own reasons after the twentieth are project:other.';
