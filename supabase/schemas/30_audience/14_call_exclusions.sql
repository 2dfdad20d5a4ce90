create or replace function campaign_runner.call_exclusions(
    p_campaign_id uuid,
    p_contact_ids uuid[]
)
returns table (contact_id uuid, reason text)
language plpgsql
stable
-- The search path of the app, for the project's function. Nothing else is looked up by it.
set search_path = public, extensions
-- And the plans that the project's function has in the app.
set enable_seqscan = on
set enable_bitmapscan = on
set enable_sort = on
set enable_incremental_sort = on
set enable_nestloop = on
set enable_mergejoin = on
set plan_cache_mode = auto
as $$
begin
    return query select x.contact_id, x.reason from public.campaign_runner_exclusions(p_campaign_id, p_contact_ids) x;
end;
$$;
comment on function campaign_runner.call_exclusions(uuid, uuid[]) is
    'What public.campaign_runner_exclusions returns. Only for project_exclusions().';
