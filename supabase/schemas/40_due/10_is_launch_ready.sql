create or replace function campaign_runner.is_launch_ready(
    p_launch campaign_runner.launches,
    p_system_user_id uuid,
    p_system_user_roles text[],
    p_now timestamptz
)
returns boolean
language plpgsql
stable
set search_path = pg_catalog, pg_temp
set row_security = off
as $$
begin
    return (p_launch).waiting is null
        or campaign_runner.is_ready(
            (p_launch).waiting, (p_launch).next_attempt_at, (p_launch).failed_with, (p_launch).failed_version,
            campaign_runner.version((p_launch).campaign_id),
            exists (
                select from campaign_runner.permitted_organizations(
                    array[(p_launch).organization_id], p_system_user_id, p_system_user_roles
                )
            ),
            p_now
        );
end;
$$;
comment on function campaign_runner.is_launch_ready(campaign_runner.launches, uuid, text[], timestamptz) is
    'is_ready() for one launch, which reads the version of the campaign and the membership itself.';
