create or replace function campaign_runner.missing_grants()
returns table (lack text, statement text)
language plpgsql
stable
set search_path = pg_catalog, pg_temp
as $$
begin
    return query
        select
            format('%s on %s', needed.privilege, needed.table_name),
            format(
                'grant %s%s on %s to %I;',
                needed.privilege,
                case when needed.table_name = 'public.contacts' and needed.privilege = 'update' then ' (id)' end,
                needed.table_name, current_user
            )
        from (
            values
                ('public.organizations', 'select'), ('public.profiles', 'select'),
                ('public.organization_members', 'select'), ('public.campaigns', 'select'),
                ('public.contacts', 'select'), ('public.contacts', 'update'), ('public.campaign_target_rules', 'select'),
                ('public.campaign_target_rules', 'update'), ('public.campaigns', 'update'),
                ('public.campaign_recipients', 'select'), ('public.campaign_recipients', 'insert'),
                ('public.campaign_recipients', 'delete'), ('public.contact_tags', 'select'),
                ('public.contact_tag_assignments', 'select'), ('public.activity_events', 'insert')
        ) as needed (table_name, privilege)
        where to_regclass(needed.table_name) is not null
            and not case
                when needed.table_name = 'public.contacts' and needed.privilege = 'update'
                    then has_any_column_privilege(to_regclass(needed.table_name), needed.privilege)
                else has_table_privilege(to_regclass(needed.table_name), needed.privilege)
            end
        union all
        select format('execute on function %s', p.oid::regprocedure), format(
            'grant execute on function %s to %I;', p.oid::regprocedure, current_user
        )
        from pg_catalog.pg_proc p
        where (
                p.pronamespace = 'campaign_runner'::regnamespace
                or (p.pronamespace = 'public'::regnamespace and starts_with(p.proname, 'campaign_runner_'))
            )
            and not has_function_privilege(p.oid, 'execute')
        union all
        select
            'bypassrls, so the row level security holds for it of ' || string_agg(c.oid::regclass::text, ', ' order by c.relname),
            format('alter role %I bypassrls;', current_user)
        from pg_catalog.pg_class c
        where c.relnamespace = 'public'::regnamespace
            and c.relname in (
                'organizations', 'profiles', 'organization_members', 'contacts', 'campaigns', 'campaign_target_rules',
                'campaign_recipients', 'contact_tags', 'contact_tag_assignments', 'activity_events'
            )
            and row_security_active(c.oid)
        having count(*) > 0;
end;
$$;
comment on function campaign_runner.missing_grants() is
    'What the calling role lacks, with the statement that grants it. No rows: nothing.';
