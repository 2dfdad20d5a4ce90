create or replace function campaign_runner.examine_memberships(
    p_system_user_id uuid,
    p_system_user_roles text[]
)
returns jsonb
language plpgsql
stable
set search_path = pg_catalog, pg_temp
set row_security = off
as $$
declare
    v_scheduled_at_most constant integer := 10000;
    v_tenants_at_most constant integer := 1000;
    v_organizations uuid[];
    v_lacking uuid[];
begin
    v_organizations := array(
        select distinct c.organization_id
        from campaign_runner.scheduled_campaigns(v_scheduled_at_most) c
        where c.organization_id is not null
        limit v_tenants_at_most
    );
    v_lacking := array(
        select o from unnest(v_organizations) o
        except
        select p
        from campaign_runner.permitted_organizations(v_organizations, p_system_user_id, p_system_user_roles) p
        order by 1
    );
    return jsonb_build_object(
        'is_cut', cardinality(v_organizations) >= v_tenants_at_most or exists (
            select from public.campaigns c where c.status = 'scheduled' offset v_scheduled_at_most
        ),
        'lacking', cardinality(v_lacking),
        'named', (
            select coalesce(
                jsonb_agg(
                    jsonb_build_object(
                        'id', o.id,
                        'name', campaign_runner.organization_name(o.id),
                        'role', (
                            select m.role::text
                            from public.organization_members m
                            where m.organization_id = o.id and m.user_id = p_system_user_id
                            limit 1
                        )
                    )
                    order by o.id
                ),
                '[]'
            )
            from unnest(v_lacking[1:5]) as o (id)
        )
    );
end;
$$;
comment on function campaign_runner.examine_memberships(uuid, text[]) is
    'The organizations with scheduled campaigns in which the system user has none of these roles. Names the first '
    'five, each with the role that the system user has there.';
