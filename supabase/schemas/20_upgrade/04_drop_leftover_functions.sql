create or replace function campaign_runner.drop_leftover_functions()
returns void
language plpgsql
volatile
set search_path = pg_catalog, pg_temp
as $$
declare
    v_function regprocedure;
begin
    for v_function in
        select p.oid::regprocedure
        from pg_proc p
        where p.xmin <> pg_current_xact_id()::xid
            and (
                p.pronamespace = 'campaign_runner'::regnamespace
                or p.pronamespace = 'public'::regnamespace and starts_with(p.proname, 'campaign_runner_')
            )
            and p.proname <> 'campaign_runner_exclusions'
    loop
        -- Without cascade: an object of the project that uses the function refuses the upgrade.
        execute format('drop function %s', v_function);
    end loop;
end;
$$;
comment on function campaign_runner.drop_leftover_functions() is
    'Drops each function of the runner that the migration did not create or replace: called after the functions, before the '
    'grants, and outside of savepoints. The prefix campaign_runner_ is the runner''s. campaign_runner_exclusions, the function '
    'of the project, stays.';
