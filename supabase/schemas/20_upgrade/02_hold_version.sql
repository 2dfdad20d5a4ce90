create or replace function campaign_runner.hold_version(
    p_interface integer default 1
)
returns void
language plpgsql
volatile
set search_path = pg_catalog, pg_temp
as $$
declare
    -- The interface has a number, and this release serves these. campaign_runner_step() and campaign_runner_preview() send
    -- their number; all other functions count as 1.
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
