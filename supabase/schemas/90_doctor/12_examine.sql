create or replace function campaign_runner.examine(
    p_check text,
    p_system_user_id uuid,
    p_system_user_roles text[]
)
returns jsonb
language plpgsql
volatile
set search_path = pg_catalog, pg_temp
set row_security = off
as $$
declare
    v_due_at_most constant integer := 1000;
begin
    -- Postgres plans only the branch that is taken: a missing object makes one check fail, and not all checks.
    case p_check
        when 'version' then
            return to_jsonb(campaign_runner.schema_version());

        when 'objects' then
            return to_jsonb(array(
                select format('function %s %s', i.key, case when p.present ? i.key then 'was changed' else 'is gone' end)
                -- Once: asked for each function, the catalog took 1.6 s.
                from (select campaign_runner.present_functions() as present offset 0) p
                cross join jsonb_each_text(campaign_runner.installed_functions()) i
                where p.present ->> i.key is distinct from i.value
                union all
                select format('table campaign_runner.%s is gone', t)
                from unnest(array['runs', 'launches', 'launch_chunks', 'run_errors', 'last_call']) t
                where to_regclass('campaign_runner.' || t) is null
                order by 1
            ));

        when 'requirements' then
            return (select coalesce(jsonb_agg(to_jsonb(c)), '[]') from campaign_runner.check_project() c);

        when 'grants' then
            return (select coalesce(jsonb_agg(to_jsonb(m)), '[]') from campaign_runner.missing_grants() m);

        when 'writing' then
            return to_jsonb(campaign_runner.probe_writing());

        when 'locks' then
            return (select coalesce(jsonb_agg(to_jsonb(b)), '[]') from campaign_runner.blockers() b);

        when 'guards' then
            return (select coalesce(jsonb_agg(to_jsonb(g)), '[]') from campaign_runner.guards() g);

        when 'indexes' then
            return (
                select coalesce(
                    jsonb_agg(jsonb_build_object('name', m.index_name, 'is_invalid', m.is_invalid, 'command', m.command)),
                    '[]'
                )
                from campaign_runner.missing_indexes() m
            );

        when 'system_user' then
            return to_jsonb(exists (select from public.profiles p where p.id = p_system_user_id));

        when 'memberships' then
            return campaign_runner.examine_memberships(p_system_user_id, p_system_user_roles);

        when 'schedules', 'tenants', 'closed', 'recipients', 'nobody', 'dropped', 'unmatched' then
            return campaign_runner.examine_campaigns(p_check);

        when 'audiences' then
            return campaign_runner.examine_audiences();

        when 'last_call' then
            return (
                with due as materialized (
                    select d.*
                    from campaign_runner.due_campaigns(array(
                        select c.id from campaign_runner.scheduled_campaigns(v_due_at_most) c where c.scheduled_at <= now()
                    )) d
                )
                select jsonb_build_object(
                    'seconds_ago', case when isfinite(t.at) then extract(epoch from clock_timestamp() - t.at) end,
                    'is_any_due', exists (select from due),
                    -- The call was for this organization alone, and campaigns of others are due.
                    'passed_over_for', (
                        select jsonb_build_object(
                            'id', t.organization_id, 'name', campaign_runner.organization_name(t.organization_id)
                        )
                        where exists (
                            select from due d where d.scheduled_at <= t.at and d.organization_id <> t.organization_id
                        )
                    ),
                    'system_user_id', t.system_user_id,
                    'system_user_roles', t.system_user_roles,
                    'max_lateness_minutes', t.max_lateness_minutes
                )
                from campaign_runner.last_call t
            );
    end case;
end;
$$;
comment on function campaign_runner.examine(text, uuid, text[]) is
    'One thing that may be out of order, looked at in bounded time: version, objects, requirements, grants, writing, locks, '
    'guards, indexes, system_user, memberships, schedules, tenants, closed, recipients, nobody, dropped, unmatched, audiences '
    'or last_call.';
