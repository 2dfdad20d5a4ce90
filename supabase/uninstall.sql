-- Drops the runner's functions, its ledger and its indexes. The public tables, their rows and the grants on them stay, and
-- so does public.campaign_runner_exclusions, which belongs to the project.
--
--   psql "$DATABASE_URL" --single-transaction --set ON_ERROR_STOP=1 --file supabase/uninstall.sql
--
-- Run the file as one transaction: then a refusal keeps everything. The SQL editor does so by itself.
--
-- The linter warns of drops. Dropping is the purpose of this file.
-- squawk-ignore-file ban-drop-function, ban-drop-schema, ban-drop-view, require-concurrent-index-deletion

-- A new ledger would take the recipients of a half-done launch for recipients that a person chose, and would launch the
-- campaign to them alone. To go on in spite of half-done launches, run this first in the same session:
--
--   set campaign_runner.uninstall = 'anyway';
--
-- The recipients that were written then stay pending, and the campaigns stay scheduled. Before you install again, delete
-- these recipients.
do $$
declare
    v_named_at_most constant integer := 5;
    v_campaigns text[];
begin
    if to_regclass('campaign_runner.launches') is null or to_regclass('public.campaign_recipients') is null then
        return;
    end if;

    -- Every step reads this table first. So the steps that are under way end now, and new ones wait.
    lock table campaign_runner.runs in access exclusive mode;
    v_campaigns := array(
        select format('%s (%s)', l.campaign_name, l.campaign_id)
        from campaign_runner.launches l
        where l.closed_at is null
            and l.generates
            and exists (
                select from public.campaign_recipients r where r.campaign_id = l.campaign_id and r.status = 'pending'
            )
        order by l.id
        limit v_named_at_most + 1
    );
    if cardinality(v_campaigns) > 0 and current_setting('campaign_runner.uninstall', true) is distinct from 'anyway' then
        raise exception 'campaign runner: a launch has written only a part of the recipients of:%',
            (select string_agg(E'\n  - ' || c, '') from unnest(v_campaigns[:v_named_at_most]) c)
            || case when cardinality(v_campaigns) > v_named_at_most then E'\n  - and others' else '' end
            using hint = 'Let each of these launches finish, or pause its campaign and delete the pending recipients. '
                'Then run this file again. To uninstall anyway, run in the same session before this file: '
                'set campaign_runner.uninstall = ''anyway''; The recipients that were written then stay pending. Delete these '
                'before you install again: a new installation would launch the campaigns to them alone.';
    end if;
end;
$$;

drop view if exists public.campaign_runner_sendable;
drop function if exists public.campaign_runner_health(uuid, uuid, text[], boolean);
drop function if exists public.campaign_runner_campaigns(uuid, text, integer);
drop function if exists public.campaign_runner_doctor(uuid, text[]);
drop function if exists public.campaign_runner_history(uuid, integer);
drop function if exists public.campaign_runner_preview(uuid, uuid, text[], integer, integer, text, integer);
drop function if exists public.campaign_runner_preview_campaign(uuid, uuid, text[], integer, integer, text);
drop function if exists public.campaign_runner_report(uuid);
drop function if exists public.campaign_runner_retry(uuid);
drop function if exists public.campaign_runner_step(uuid, uuid, uuid, text[], integer, integer, integer);

-- The ledger of all launches goes with the schema.
drop schema if exists campaign_runner cascade;

drop index if exists public.campaign_runner_due_idx;
drop index if exists public.campaign_runner_contacts_idx;
drop index if exists public.campaign_runner_addresses_idx;
drop index if exists public.campaign_runner_opted_out_idx;
drop index if exists public.campaign_runner_recipients_idx;
drop index if exists public.campaign_runner_bounced_idx;
drop index if exists public.campaign_runner_tags_idx;

notify pgrst, 'reload schema';
