create or replace function campaign_runner.lock_key(
    p_kind text,
    p_id uuid
)
returns bigint
language plpgsql
immutable
set search_path = pg_catalog, pg_temp
as $$
begin
    return hashtextextended('campaign_runner ' || p_kind || ' ' || p_id::text, 0);
end;
$$;
comment on function campaign_runner.lock_key(text, uuid) is
    'The advisory lock of a run (kind run), of its entry into the ledger (kind open), or of the opening of a launch '
    '(kind launch).';
