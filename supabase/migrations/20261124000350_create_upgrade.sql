-- Purpose: what keeps calls and upgrades apart. Every public function begins with hold_version(). Each migration of a later
--          release begins with begin_upgrade(), and the one that replaces functions ends with drop_replaced_functions().
-- Tables:  none
-- Rerun:   safe.
-- Undo:    supabase/uninstall.sql drops the schema campaign_runner.

create or replace function campaign_runner.upgrade_key()
returns bigint
language plpgsql
immutable
set search_path = pg_catalog, pg_temp
as $$
begin
    return hashtextextended('campaign_runner upgrade', 0);
end;
$$;
comment on function campaign_runner.upgrade_key() is
    'The advisory lock that a call shares with other calls, and that an upgrade has alone.';
revoke execute on function campaign_runner.upgrade_key() from public, anon, authenticated;
grant execute on function campaign_runner.upgrade_key() to service_role;


create or replace function campaign_runner.hold_version(
    p_interface integer default 1
)
returns void
language plpgsql
volatile
set search_path = pg_catalog, pg_temp
as $$
declare
    -- What the functions of a release take and return has a number. A release serves the number before, too.
    v_oldest constant integer := 1;
    v_newest constant integer := 1;
begin
    if not pg_try_advisory_xact_lock_shared(campaign_runner.upgrade_key()) then
        raise exception 'the functions of the campaign runner are being upgraded' using errcode = 'CR503';
    end if;
    if p_interface > v_newest then
        raise exception 'The function is newer than the SQL of the database: apply the migrations of the function''s release'
            using errcode = 'CR500';
    elsif p_interface < v_oldest then
        raise exception 'The function is older than the SQL of the database: deploy the function of the SQL''s release'
            using errcode = 'CR500';
    end if;
end;
$$;
comment on function campaign_runner.hold_version(integer) is
    'Keeps upgrades away to the end of the transaction. Raises CR503 where an upgrade is under way, and CR500 where the '
    'SQL does not serve the interface that the program speaks.';
revoke execute on function campaign_runner.hold_version(integer) from public, anon, authenticated;
grant execute on function campaign_runner.hold_version(integer) to service_role;


create or replace function campaign_runner.begin_upgrade()
returns void
language plpgsql
volatile
set search_path = pg_catalog, pg_temp
as $$
begin
    -- Calls that begin while this waits are turned away, so it waits for one step at most.
    perform pg_advisory_xact_lock(campaign_runner.upgrade_key());
end;
$$;
comment on function campaign_runner.begin_upgrade() is
    'Waits for the calls that are under way, and keeps others away to the end of the transaction.';
revoke execute on function campaign_runner.begin_upgrade() from public, anon, authenticated;
grant execute on function campaign_runner.begin_upgrade() to service_role;


create or replace function campaign_runner.drop_replaced_functions()
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
comment on function campaign_runner.drop_replaced_functions() is
    'Drops each function of the runner that the migration did not create or replace. The function of the project, '
    'campaign_runner_exclusions, stays.';
revoke execute on function campaign_runner.drop_replaced_functions() from public, anon, authenticated;
grant execute on function campaign_runner.drop_replaced_functions() to service_role;
