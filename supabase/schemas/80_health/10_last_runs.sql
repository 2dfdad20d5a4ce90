create or replace function campaign_runner.last_runs(
    p_at_most integer
)
returns jsonb
language plpgsql
stable
set search_path = pg_catalog, pg_temp
set row_security = off
as $$
begin
    return (
        select coalesce(
            jsonb_agg(
                jsonb_build_object(
                    'run_id', r.id,
                    'opened_at', r.opened_at,
                    'closed_at', r.closed_at,
                    'launched', (select count(*) from campaign_runner.launches l where l.run_id = r.id),
                    'failed', (
                        select count(*)
                        from campaign_runner.run_errors e
                        where e.run_id = r.id
                            and not exists (
                                select from campaign_runner.launches later
                                where later.run_id = r.id and later.campaign_id = e.campaign_id
                            )
                    ),
                    'duration_seconds', round(extract(epoch from r.closed_at - r.opened_at), 1)
                )
                order by r.opened_at desc
            ),
            '[]'
        )
        from (select * from campaign_runner.runs order by opened_at desc limit p_at_most) r
    );
end;
$$;
comment on function campaign_runner.last_runs(integer) is 'The last runs that did something or were reported, the newest first.';
