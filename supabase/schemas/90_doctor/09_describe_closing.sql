create or replace function campaign_runner.describe_closing(
    p_campaign_id uuid
)
returns jsonb
language plpgsql
stable
set search_path = pg_catalog, pg_temp
set row_security = off
as $$
begin
    return (
        select jsonb_build_object(
            'columns', to_jsonb(c.columns),
            'statement', (
                select string_agg(
                    format(
                        'update public.%s set %s = %s where id = %s;',
                        split_part(k, '.', 1),
                        split_part(k, '.', 2),
                        case when k = 'organizations.is_active' then 'true' else 'null' end,
                        case
                            when k like 'organizations.%'
                                then format('(select organization_id from public.campaigns where id = %L)', p_campaign_id)
                            else quote_literal(p_campaign_id)
                        end
                    ),
                    ' '
                )
                from unnest(c.columns) k
            )
        )
        from (select campaign_runner.closing_columns(p_campaign_id) as columns) c
    );
end;
$$;
comment on function campaign_runner.describe_closing(uuid) is
    'The columns that keep the campaign from being due, and the statement that opens it again.';
