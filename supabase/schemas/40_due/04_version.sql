create or replace function campaign_runner.version(
    p_campaign_id uuid
)
returns text
language plpgsql
stable
set search_path = pg_catalog, pg_temp
set row_security = off
as $$
begin
    return (
        select campaign_runner.join_versions(c.xmin, (select r.version from campaign_runner.rules_versions(array[c.id]) r))
        from public.campaigns c
        where c.id = p_campaign_id
    );
end;
$$;
comment on function campaign_runner.version(uuid) is
    'A text that changes with every edit of the campaign or its rules: an edit makes a launch ready that waits. NULL: '
    'there is no such campaign.';
