-- Takes away what is the campaign runner's alone: its functions, its ledger and its indexes. The public tables and the
-- grants on them stay: they hold your data, and may have been there before.
--
--   psql "$DATABASE_URL" --single-transaction --file supabase/uninstall.sql
--
-- The linter warns of drops. Dropping is the purpose of this file.
-- squawk-ignore-file ban-drop-function, ban-drop-schema, ban-drop-view, require-concurrent-index-deletion

drop view if exists public.campaign_runner_sendable;
drop function if exists public.campaign_runner_health(uuid, uuid, text[]);
drop function if exists public.campaign_runner_doctor(uuid, text[]);
drop function if exists public.campaign_runner_history(uuid, integer);
drop function if exists public.campaign_runner_preview(uuid, uuid, text[], integer, integer, text);
drop function if exists public.campaign_runner_preview_campaign(uuid, uuid, text[], integer, integer, text);
drop function if exists public.campaign_runner_report(uuid);
drop function if exists public.campaign_runner_retry(uuid);
drop function if exists public.campaign_runner_step(uuid, uuid, uuid, text[], integer, integer);

-- With it go the ledger of all launches, and what an unfinished launch knows of its audience.
drop schema if exists campaign_runner cascade;

drop index if exists public.campaign_runner_due_idx;
drop index if exists public.campaign_runner_contacts_idx;
drop index if exists public.campaign_runner_addresses_idx;
drop index if exists public.campaign_runner_recipients_idx;
drop index if exists public.campaign_runner_bounced_idx;
drop index if exists public.campaign_runner_tags_idx;

notify pgrst, 'reload schema';
