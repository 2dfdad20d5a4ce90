-- What the isolation specs call: a project with one due campaign, a step of a run under observation, and the verdict.

create schema referee;
grant usage on schema referee to service_role;

create table referee.violations (what text not null);
-- Of each contact, from the step that synced it last: whether it was subscribed before that step and after it.
create table referee.synced (contact integer primary key, was_subscribed boolean not null, is_subscribed boolean not null);
grant all on referee.violations, referee.synced to service_role;


create function referee.id(p_what text) returns uuid
language sql immutable
return md5(p_what)::uuid;

create function referee.contact(p_number integer) returns uuid
language sql immutable
return ('00000000-0000-4000-8000-00000000000' || p_number)::uuid;

create function referee.country(p_contact integer) returns text
language sql immutable
return (array['FR', 'DE', null])[(p_contact - 1) % 3 + 1];


-- As of the statement that calls them.

create function referee.is_due() returns boolean
language sql volatile
begin atomic
    select exists (
        select from public.campaigns c
        where c.id = referee.id('campaign') and c.status = 'scheduled' and c.scheduled_at <= now()
    );
end;

create function referee.subscribers() returns integer[]
language sql volatile
begin atomic
    select array(
        select i
        from generate_series(1, 6) i
        join public.contacts c on c.id = referee.contact(i) and c.is_subscribed
    );
end;

create function referee.excluded_countries() returns text[]
language sql volatile
begin atomic
    select coalesce(
        (select r.exclude_countries from public.campaign_target_rules r where r.campaign_id = referee.id('campaign')), '{}'
    );
end;

create function referee.launches() returns bigint
language sql volatile
begin atomic
    select count(*) from campaign_runner.launches l where l.state = 'launched';
end;


-- One step of a run. Returns the state of the launch after it, or why it did nothing, and notes what must not be.
create function referee.step(p_run text, p_max_rows integer) returns text
language plpgsql
as $$
declare
    v_was_due constant boolean := referee.is_due();
    v_subscribers constant integer[] := referee.subscribers();
    v_countries constant text[] := referee.excluded_countries();
    v_launches constant bigint := referee.launches();
    v_chunks constant campaign_runner.launch_chunks[] := array(select s from campaign_runner.launch_chunks s);
    v_answer constant jsonb := public.campaign_runner_step(
        referee.id(p_run), null, (select p.id from public.profiles p), '{member}', p_max_rows, null
    );
    v_is_launched constant boolean := v_answer ->> 'launched' = '1';
begin
    insert into referee.synced (contact, was_subscribed, is_subscribed)
    select i, i = any (v_subscribers), i = any (referee.subscribers())
    from generate_series(1, 6) i
    -- A launch in one step leaves no chunk behind. One in several steps takes its chunks away at the end.
    where v_is_launched and cardinality(v_chunks) = 0
        or exists (
            select
            from unnest(v_chunks) old
            left join campaign_runner.launch_chunks new on new.launch_id = old.launch_id and new.lo = old.lo
            where referee.contact(i) >= old."cursor" and referee.contact(i) < coalesce(new."cursor", old.hi)
        )
    on conflict (contact) do update
    set was_subscribed = excluded.was_subscribed, is_subscribed = excluded.is_subscribed;

    if v_is_launched then
        insert into referee.violations (what)
        select 'launched, and was not due' where not v_was_due
        union all
        select 'launched twice' where v_launches > 0
        union all
        select format('contact %s is %s', i, case when r.contact_id is null then 'missing' else 'too many' end)
        from generate_series(1, 6) i
        left join public.contacts c on c.id = referee.contact(i)
        left join public.campaign_recipients r
            on r.campaign_id = referee.id('campaign') and r.contact_id = referee.contact(i)
        -- Exact as of the sync of the contact, by the rules of the final status update. A contact that is deleted after its
        -- sync takes its recipient along.
        where not exists (
            select
            from referee.synced s
            cross join lateral (
                values (s.was_subscribed), (s.is_subscribed), (c.id is not null and s.was_subscribed)
            ) seen (subscribed)
            cross join (values (v_countries), (referee.excluded_countries())) rules (countries)
            where s.contact = i
                and (r.contact_id is not null)
                = (seen.subscribed and (referee.country(i) = any (rules.countries)) is not true)
        );
    end if;
    return case
        when v_answer ->> 'busy' <> '0' then 'contended'
        when not v_is_launched and v_answer ->> 'work_left' = 'false' then 'nothing to do'
        else (select l.state from campaign_runner.launches l order by l.id desc limit 1)
    end;
end;
$$;


-- Six contacts, of which the fourth has unsubscribed. The rules exclude Germany: the audience is 1, 3 and 6. The campaign
-- is due, and so many steps were taken.
create procedure referee.prepare(p_steps integer, p_max_rows integer)
language plpgsql
as $$
begin
    delete from public.organizations;
    delete from campaign_runner.launches;
    delete from campaign_runner.runs;
    delete from campaign_runner.run_errors;
    delete from referee.synced;
    delete from referee.violations;
    insert into public.organizations (id, name) values (referee.id('organization'), 'Organization');
    insert into public.organization_members (organization_id, user_id)
    select referee.id('organization'), p.id from public.profiles p;
    insert into public.contacts (id, organization_id, email, country, is_subscribed)
    select referee.contact(i), referee.id('organization'), i || '@example.org', referee.country(i), i <> 4
    from generate_series(1, 6) i;
    insert into public.campaigns (id, organization_id, name, status, scheduled_at)
    values (referee.id('campaign'), referee.id('organization'), 'Campaign', 'scheduled', now() - interval '1 minute');
    insert into public.campaign_target_rules (campaign_id, organization_id, exclude_countries)
    values (referee.id('campaign'), referee.id('organization'), '{DE}');
    commit;
    set role service_role;
    for i in 1..p_steps loop
        perform referee.step('before', p_max_rows);
        commit;
    end loop;
    reset role;
end;
$$;


create procedure referee.settle(p_max_rows integer)
language plpgsql
as $$
declare
    v_outcome text;
begin
    set role service_role;
    for i in 1..50 loop
        v_outcome := referee.step('settling', p_max_rows);
        commit;
        exit when v_outcome = 'nothing to do';
    end loop;
    reset role;
    insert into referee.violations (what)
    select 'there is work left after 50 steps' where v_outcome <> 'nothing to do'
    union all
    select 'the campaign is due, and not launched' where referee.is_due();
    commit;
end;
$$;


create procedure referee.check_tables()
language plpgsql
as $$
begin
    insert into referee.violations (what)
    select 'launched more than once' where referee.launches() > 1
    union all
    select 'sending without a launch'
    from public.campaigns c
    where c.status = 'sending' and referee.launches() = 0
    union all
    select format('%s launches, %s events', referee.launches(), count(*))
    from public.activity_events
    having count(*) <> referee.launches() and exists (select from public.organizations)
    union all
    select 'a recipient without its campaign or contact'
    from public.campaign_recipients r
    where not exists (select from public.campaigns c where c.id = r.campaign_id)
        or not exists (select from public.contacts c where c.id = r.contact_id)
    union all
    select format('blamed: %s attempts, %s', l.attempts, l.last_error)
    from campaign_runner.launches l
    where l.attempts > 0
        or l.waiting is not null
        or l.failed_with is not null
        or l.closed_at is not null and l.last_error is not null
    union all
    select format('blamed: %s', e.error)
    from campaign_runner.run_errors e;
end;
$$;


-- After the steps of the spec. What a person stopped is scheduled again in the end, and must be launched whole, too.
create procedure referee.judge(p_max_rows integer, inout verdict text)
language plpgsql
as $$
declare
    v_status text;
begin
    call referee.check_tables();
    call referee.settle(p_max_rows);
    call referee.check_tables();
    select coalesce(min(c.status), 'deleted') into v_status from public.campaigns c;
    if v_status <> 'deleted' and referee.launches() = 0 then
        update public.campaigns set status = 'scheduled', scheduled_at = now();
        commit;
        call referee.settle(p_max_rows);
        call referee.check_tables();
    end if;
    insert into referee.violations (what)
    select format('a launch is %s in the end', l.state)
    from campaign_runner.launches l
    where l.closed_at is null;
    select
        format(
            '%s to %s; violations: %s',
            v_status,
            coalesce(string_agg(i::text, ' ' order by i), 'nobody'),
            (select coalesce(string_agg(distinct v.what, ', '), 'none') from referee.violations v)
        )
    into verdict
    from public.campaign_recipients r
    join generate_series(1, 6) i on referee.contact(i) = r.contact_id;
end;
$$;
