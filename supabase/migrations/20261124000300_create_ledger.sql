-- Purpose: the runner's own tables: runs, launches, the slices of a launch's audience, and the errors of runs.
-- Tables:  campaign_runner.runs, .launches, .launch_slices, .run_errors, .last_tick
-- Rerun:   safe.
-- Undo:    supabase/uninstall.sql drops the schema campaign_runner.

create table if not exists campaign_runner.runs (
    id uuid primary key,
    system_user_id uuid, -- NULL: the report came before any step had something to report
    opened_at timestamptz not null default now(),
    closed_at timestamptz, -- set by the report; a closed run takes no more steps
    constraint closed_at_is_not_before_opened_at check (closed_at >= opened_at)
);
comment on table campaign_runner.runs is 'One row for each run that did something. An idle tick leaves none.';
create index if not exists runs_opened_at_idx on campaign_runner.runs (opened_at);
create index if not exists runs_closed_at_idx on campaign_runner.runs (closed_at);

-- No foreign key to campaigns: the ledger outlives a campaign that is deleted.
create table if not exists campaign_runner.launches (
    id bigint generated always as identity primary key,
    campaign_id uuid not null,
    organization_id uuid not null,
    campaign_name text not null,
    state text not null default 'claimed',
    scheduled_at timestamptz not null, -- the schedule that it works by
    fingerprint text, -- the schedule and rules that it works by, see campaign_runner.fingerprint(); NULL: still claimed
    generates boolean, -- false: recipients were there before, and stay as they are; NULL: not decided, still claimed
    opened_at timestamptz not null default now(),
    closed_at timestamptz,
    -- How it ended.
    run_id uuid, -- the run that flipped the status, written once
    system_user_id uuid,
    late_by interval,
    contacts bigint, -- contacts of the organization that the last pass judged
    recipients_inserted bigint,
    recipient_count bigint,
    excluded jsonb, -- reason to number of contacts
    left_recipients boolean, -- abandoned, with recipients of ours behind it, which the next launch takes over
    -- What went wrong.
    rechecks integer not null default 0, -- times that the rows before the flip were not those that were written
    attempts integer not null default 0,
    next_attempt_at timestamptz, -- NULL: free; infinity: needs attention
    failed_with text, -- SQLSTATE
    failed_version text, -- the campaign as it was, see campaign_runner.version(): an edit frees the launch
    last_error text,
    last_error_detail text, -- the database's own words; may hold row data, so it stays in here
    constraint state_is_known check (state in ('claimed', 'generating', 'reconciling', 'launched', 'abandoned')),
    constraint closed_when_over check ((closed_at is not null) = (state in ('launched', 'abandoned'))),
    constraint work_is_decided_at_the_start check (
        (generates is not null and fingerprint is not null) or state in ('claimed', 'abandoned')
    ),
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
-- What is open, by what it waits for: NULL is on its way, infinity is held or needs attention.
create index if not exists launches_open_idx on campaign_runner.launches (next_attempt_at, id) where closed_at is null;
create index if not exists launches_closed_at_idx on campaign_runner.launches (closed_at) where closed_at is not null;

create table if not exists campaign_runner.launch_slices (
    launch_id bigint not null references campaign_runner.launches (id) on delete cascade,
    lo uuid not null, -- the first contact id of the slice
    hi uuid not null, -- the first id after it; the highest uuid stands for the end, and belongs to the slice
    "cursor" uuid, -- the next contact id to judge; NULL: this pass is through
    contacts bigint not null default 0,
    inserted bigint not null default 0, -- over all passes
    recipients bigint not null default 0, -- rows that this pass left there,
    digest bigint not null default 0, -- and which, as the exclusive or of their hashed contact ids
    recipients_before bigint, -- the same of the pass before; NULL where it did not come through,
    digest_before bigint, -- or its rows were found to be others
    excluded jsonb not null default '{}',
    worked_at timestamptz not null default now(),
    primary key (launch_id, lo),
    constraint slice_is_not_empty check (lo <= hi),
    constraint cursor_lies_in_slice check ("cursor" between lo and hi)
);
comment on table campaign_runner.launch_slices is
    'The ranges of contact ids of an open launch. Steps work on different slices side by side; a locked row is taken.';

create table if not exists campaign_runner.run_errors (
    run_id uuid not null, -- no foreign key: a step may be the first to enter one, and another the run
    campaign_id uuid not null,
    error text not null,
    occurred_at timestamptz not null default now(),
    primary key (run_id, campaign_id)
);
comment on table campaign_runner.run_errors is 'Each campaign that a run tried and could not launch, with the reason.';
create index if not exists run_errors_occurred_at_idx on campaign_runner.run_errors (occurred_at);

create table if not exists campaign_runner.last_tick (
    singleton boolean primary key default true,
    at timestamptz not null,
    constraint one_row_only check (singleton)
);
comment on table campaign_runner.last_tick is 'When a run last asked for work. Stays old when nothing calls the runner.';
insert into campaign_runner.last_tick (at) values ('-infinity') on conflict do nothing;

do $$
declare
    v_table text;
begin
    foreach v_table in array array['runs', 'launches', 'launch_slices', 'run_errors', 'last_tick'] loop
        -- No policy: nobody but the service role, which bypasses them, sees a row.
        execute format('alter table campaign_runner.%I enable row level security', v_table);
        execute format('revoke all on campaign_runner.%I from public, anon, authenticated', v_table);
        execute format('grant select, insert, update, delete on campaign_runner.%I to service_role', v_table);
    end loop;
end;
$$;
