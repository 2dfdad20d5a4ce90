create or replace function campaign_runner.begin_launch(
    p_campaign_id uuid,
    p_rules campaign_runner.rules
)
returns campaign_runner.launches
language plpgsql
volatile
set search_path = pg_catalog, pg_temp
set row_security = off
set enable_seqscan = off
as $$
declare
    v_launch campaign_runner.launches;
begin
    -- The one moment at which it is decided whether recipients exist already. From here on every pending row of the
    -- campaign belongs to the launch, if it generates.
    insert into campaign_runner.launches as l (
        campaign_id, organization_id, campaign_name, scheduled_at, state, generates, rules_hash
    )
    select
        c.id, c.organization_id, coalesce(c.name::text, ''), c.scheduled_at,
        'generating', campaign_runner.would_generate(c.id), p_rules.hash
    from public.campaigns c
    where c.id = p_campaign_id and c.organization_id is not null and c.scheduled_at is not null
    on conflict (campaign_id) where closed_at is null do update
    set
        organization_id = excluded.organization_id,
        campaign_name = excluded.campaign_name,
        scheduled_at = excluded.scheduled_at,
        state = excluded.state,
        generates = excluded.generates,
        rules_hash = excluded.rules_hash
    returning l.* into v_launch;
    if not found then
        raise exception 'the campaign is not due any more' using errcode = 'CR001';
    end if;

    if v_launch.generates then
        insert into campaign_runner.launch_chunks (launch_id, lo, hi, "cursor")
        values (
            v_launch.id,
            '00000000-0000-0000-0000-000000000000',
            'ffffffff-ffff-ffff-ffff-ffffffffffff',
            '00000000-0000-0000-0000-000000000000'
        );
    else
        update campaign_runner.launches l
        set recipients_before = present.n, pending_before = present.pending
        from (
            select count(*) as n, count(*) filter (where r.status = 'pending') as pending
            from public.campaign_recipients r
            where r.campaign_id = v_launch.campaign_id
        ) present
        where l.id = v_launch.id;
    end if;
    return v_launch;
end;
$$;
comment on function campaign_runner.begin_launch(uuid, campaign_runner.rules) is
    'Takes the launch of a campaign, opened or not yet, to generating, under the lock on its opening: decides whether it '
    'generates, and lays out its first chunk, or counts the recipients that are there.';
