-- Every function is for the service role alone. `campaign_runner_exclusions`, which belongs to the project, is not named here.
revoke execute on all functions in schema campaign_runner from public, anon, authenticated;
grant execute on all functions in schema campaign_runner to service_role;

revoke execute on function
    public.campaign_runner_step, public.campaign_runner_report, public.campaign_runner_retry,
    public.campaign_runner_preview, public.campaign_runner_preview_campaign,
    public.campaign_runner_health, public.campaign_runner_history, public.campaign_runner_campaigns,
    public.campaign_runner_doctor
from public, anon, authenticated;
grant execute on function
    public.campaign_runner_step, public.campaign_runner_report, public.campaign_runner_retry,
    public.campaign_runner_preview, public.campaign_runner_preview_campaign,
    public.campaign_runner_health, public.campaign_runner_history, public.campaign_runner_campaigns,
    public.campaign_runner_doctor
to service_role;

revoke all on public.campaign_runner_sendable from public, anon, authenticated;
grant select on public.campaign_runner_sendable to service_role;

notify pgrst, 'reload schema';
