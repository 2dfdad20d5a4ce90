-- Purpose: the runner's own tables: runs, launches, the chunks of a launch's audience, and the errors of runs.
-- Tables:  campaign_runner.runs, .launches, .launch_chunks, .run_errors, .last_call
-- Rerun:   safe.
-- Undo:    supabase/uninstall.sql drops the schema campaign_runner.

create table if not exists campaign_runner.runs (
    id uuid primary key,
    system_user_id uuid, -- NULL: the report came before any step had something to report
    opened_at timestamptz not null default now(),
    closed_at timestamptz, -- set by the report; a closed run takes no more steps
    constraint closed_at_is_not_before_opened_at check (closed_at >= opened_at)
);
comment on table campaign_runner.runs is 'One row for each run that did something or was reported. An idle call leaves none.';
create index if not exists runs_opened_at_idx on campaign_runner.runs (opened_at);
create index if not exists runs_closed_at_idx on campaign_runner.runs (closed_at);

-- No foreign key to campaigns: the ledger outlives a campaign that is deleted.
create table if not exists campaign_runner.launches (
    id bigint generated always as identity primary key,
    campaign_id uuid not null,
    organization_id uuid not null,
    campaign_name text not null,
    state text not null default 'opened',
    scheduled_at timestamptz not null, -- the schedule that the launch works by
    rules_hash text, -- the schedule and rules that the launch works by, see campaign_runner.read_rules(); NULL: opened
    generates boolean, -- false: recipients were there before, and stay as they are; NULL: not decided, opened
    recipients_before bigint, -- where recipients were there before: how many when the launch began
    pending_before bigint, -- and how many of those were pending
    opened_at timestamptz not null default now(),
    closed_at timestamptz,
    -- How it ended.
    run_id uuid, -- the run that marked the campaign sending, written once
    system_user_id uuid,
    late_by interval,
    contacts bigint, -- contacts of the organization that the last pass evaluated
    recipients_inserted bigint,
    recipient_count bigint,
    excluded jsonb, -- reason to number of contacts
    unmatched jsonb, -- exclude_tags: the names that no tag has; exclude_countries: those that kept no contact out
    left_recipients boolean, -- abandoned, with recipients of ours behind it, which the next launch resumes
    -- What went wrong.
    waiting text, -- NULL: ready
    next_attempt_at timestamptz, -- when a launch in backoff is ready again
    attempts integer not null default 0, -- that failed for the campaign's own reasons, since the last edit
    hindered_at timestamptz, -- when a lock, slow work or the database first kept it from its launch, since the last progress
    failed_with text, -- SQLSTATE
    failed_version text, -- the campaign as it was, see campaign_runner.version(): an edit makes the launch ready
    failed_rules_at tid, -- where the row of the rules was: a hint, see campaign_runner.rules_versions()
    last_error text,
    last_error_detail text, -- the database's own words; may hold row data, so it stays in here
    constraint state_is_known check (state in ('opened', 'generating', 'reconciling', 'launched', 'abandoned')),
    constraint closed_when_over check ((closed_at is not null) = (state in ('launched', 'abandoned'))),
    constraint work_is_decided_at_the_start check (
        (generates is not null and rules_hash is not null) or state in ('opened', 'abandoned')
    ),
    constraint waiting_is_known check (waiting in ('backoff', 'held', 'needs_attention')),
    constraint backoff_has_an_end check ((next_attempt_at is not null) = (waiting is not distinct from 'backoff')),
    constraint launched_by_a_run check (
        state <> 'launched'
        or (run_id is not null and system_user_id is not null and recipient_count is not null)
    )
);
comment on table campaign_runner.launches is
    'One row for each launch of a campaign: what it works by, how it ended, and what went wrong on the way.';

-- The last guard on "once": prevents two launches of one campaign at a time.
create unique index if not exists launches_one_open_per_campaign
    on campaign_runner.launches (campaign_id) where closed_at is null;
create index if not exists launches_campaign_id_idx on campaign_runner.launches (campaign_id, id);
create index if not exists launches_run_id_idx on campaign_runner.launches (run_id);
-- The open launches, in the orders in which steps read them. Two indexes hold all open launches: the unique one by campaign,
-- and this one. Avoid a third: a plan from an empty table would use it to look up one campaign, and read all open launches.
create index if not exists launches_schedule_idx
    on campaign_runner.launches (scheduled_at, campaign_id) where closed_at is null;
create index if not exists launches_ready_idx
    on campaign_runner.launches (id) where closed_at is null and waiting is null;
create index if not exists launches_backoff_idx
    on campaign_runner.launches (next_attempt_at, id) where closed_at is null and waiting = 'backoff';
create index if not exists launches_held_idx
    on campaign_runner.launches (id) where closed_at is null and waiting in ('held', 'needs_attention');
create index if not exists launches_closed_at_idx on campaign_runner.launches (closed_at) where closed_at is not null;

create table if not exists campaign_runner.launch_chunks (
    launch_id bigint not null references campaign_runner.launches (id) on delete cascade,
    lo uuid not null, -- the first contact id of the chunk
    hi uuid not null, -- the first id after the chunk; the highest uuid stands for the end, and belongs to the chunk
    "cursor" uuid, -- the next contact id to evaluate; NULL: this pass is through
    contacts bigint not null default 0, -- evaluated by this pass
    inserted bigint not null default 0, -- over all passes
    excluded jsonb not null default '{}', -- by this pass: reason to number of contacts
    excluded_countries text[] not null default '{}', -- those that kept a contact out in this pass
    worked_at timestamptz not null default now(),
    primary key (launch_id, lo),
    constraint bounds_are_in_order check (lo <= hi),
    constraint cursor_lies_in_chunk check ("cursor" between lo and hi)
);
comment on table campaign_runner.launch_chunks is
    'The ranges of contact ids of an open launch. Steps work on different chunks side by side; a locked row is taken.';

create table if not exists campaign_runner.run_errors (
    run_id uuid not null, -- no foreign key: one step may enter an error before another step enters the run
    campaign_id uuid not null,
    error text not null,
    occurred_at timestamptz not null default now(),
    primary key (run_id, campaign_id)
);
comment on table campaign_runner.run_errors is 'Each campaign that a run tried and could not launch, with the reason.';
create index if not exists run_errors_occurred_at_idx on campaign_runner.run_errors (occurred_at);

create table if not exists campaign_runner.last_call (
    singleton boolean primary key default true,
    at timestamptz not null,
    organization_id uuid, -- the call was for this one alone; NULL: for all
    -- The settings of that call.
    system_user_id uuid,
    system_user_roles text[],
    max_lateness_minutes integer,
    -- The last campaign, in the order of schedules, that ready_campaigns() looked at.
    campaigns_after_time timestamptz not null default '-infinity',
    campaigns_after_id uuid not null default '00000000-0000-0000-0000-000000000000',
    launches_after_id uuid not null default '00000000-0000-0000-0000-000000000000', -- the campaign of the last launch that vanished_launches() looked at
    constraint one_row_only check (singleton)
);
comment on table campaign_runner.last_call is 'When a run last asked for work. Stays old when nothing calls the runner.';
insert into campaign_runner.last_call (at) values ('-infinity') on conflict do nothing;

do $$
declare
    v_table text;
begin
    foreach v_table in array array['runs', 'launches', 'launch_chunks', 'run_errors', 'last_call'] loop
        -- No policy: nobody but the service role, which bypasses them, sees a row.
        execute format('alter table campaign_runner.%I enable row level security', v_table);
        execute format('revoke all on campaign_runner.%I from public, anon, authenticated', v_table);
        execute format('grant select, insert, update, delete on campaign_runner.%I to service_role', v_table);
    end loop;
end;
$$;
