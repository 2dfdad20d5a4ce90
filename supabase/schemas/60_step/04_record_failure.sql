create or replace function campaign_runner.record_failure(
    p_run_id uuid,
    p_campaign_id uuid,
    p_version text,
    p_code text,
    p_message text,
    p_detail text,
    p_now timestamptz
)
returns boolean
language plpgsql
volatile
set search_path = pg_catalog, pg_temp
set row_security = off
set enable_seqscan = off
as $$
declare
    v_attempts_until_attention constant integer := 10;
    v_pushed_back_for constant interval := '10 seconds';
    v_lasting_after constant interval := '1 minute';
    -- A lock, a deadlock, a serialization failure; and a timeout where a smaller step may be in time.
    v_passing constant text[] := array['CR004', 'CR005', '55P03', '40P01', '40001'];
    v_is_passing constant boolean := p_code = any (v_passing);
    -- SQLSTATE classes of the connection, transaction, resources, operator and disk. A trigger may raise these as well.
    v_classes_of_database constant text[] := array['08', '25', '40', '53', '55', '57', '58', 'XX'];
    v_may_be_database constant boolean := left(p_code, 2) = any (v_classes_of_database)
        and p_code <> '57014' and not v_is_passing;
    v_launch campaign_runner.launches;
    v_database_failed_at timestamptz;
    v_is_told boolean;
    v_attempts integer;
    v_is_reported boolean := true;
begin
    -- A campaign that is gone, or not due any more, has not failed.
    if not exists (select from campaign_runner.due_campaigns(array[p_campaign_id], p_now)) then
        return false;
    end if;
    v_launch := campaign_runner.open_launch(p_campaign_id);
    -- Another step may be at work on the launch. To wait for that step would end in 55P03.
    select * into v_launch
    from campaign_runner.launches l
    where l.id = v_launch.id and l.closed_at is null
    for update skip locked;
    if not found then
        return false;
    end if;

    -- An edit starts the count again.
    v_attempts := case when v_launch.failed_version is distinct from p_version then 0 else v_launch.attempts end;
    -- A step that began before this failure was recorded, on another chunk of the launch, met the same failure.
    v_is_told := v_attempts > 0 and coalesce(v_launch.next_attempt_at > p_now, false);
    -- The time of a lock says nothing about the database.
    v_database_failed_at := case
        when left(v_launch.failed_with, 2) = any (v_classes_of_database) and v_launch.failed_with <> all (v_passing)
            then v_launch.hindered_at
    end;
    if v_is_passing then
        -- Not a failure of the campaign. It is told once it has lasted a minute.
        v_is_reported := coalesce(v_launch.hindered_at < p_now - v_lasting_after, false);
        update campaign_runner.launches l
        set
            -- The launch was tried, so it was ready: the next step tries it again.
            waiting = case when v_is_told then l.waiting end,
            next_attempt_at = case when v_is_told then l.next_attempt_at end,
            hindered_at = coalesce(l.hindered_at, p_now),
            failed_with = case when v_is_reported then p_code else l.failed_with end,
            last_error = p_message,
            last_error_detail = p_detail
        where l.id = v_launch.id;
    elsif v_may_be_database and (
        v_database_failed_at is null
        or not exists (
            select from campaign_runner.launches other
            where other.closed_at > v_database_failed_at and other.state = 'launched' and other.id <> v_launch.id
        )
    ) then
        -- Not counted, unless the database has launched others since.
        update campaign_runner.launches l
        set
            waiting = 'backoff', next_attempt_at = p_now + v_pushed_back_for,
            hindered_at = coalesce(v_database_failed_at, p_now), attempts = v_attempts, failed_with = p_code,
            failed_version = p_version,
            last_error = p_message, last_error_detail = p_detail
        where l.id = v_launch.id;
    else
        v_attempts := v_attempts + (not v_is_told)::integer;
        update campaign_runner.launches l
        set
            attempts = v_attempts,
            hindered_at = case when v_may_be_database then l.hindered_at end,
            -- A membership makes the launch ready, and time does not.
            waiting = case
                when p_code = 'CR002' then 'held'
                when p_code = 'CR403' or v_attempts >= v_attempts_until_attention then 'needs_attention'
                else 'backoff'
            end,
            -- A minute, doubled each time, at most an hour.
            next_attempt_at = case
                when p_code not in ('CR002', 'CR403') and v_attempts < v_attempts_until_attention
                    then p_now + least(interval '1 hour', interval '1 minute' * power(2, v_attempts - 1))
            end,
            failed_with = p_code,
            failed_version = p_version,
            failed_rules_at = (select r.place from campaign_runner.rules_versions(array[p_campaign_id]) r),
            last_error = p_message,
            last_error_detail = p_detail
        where l.id = v_launch.id;
    end if;

    if v_is_reported then
        insert into campaign_runner.run_errors (run_id, campaign_id, error)
        values (p_run_id, p_campaign_id, p_message)
        on conflict (run_id, campaign_id) do update set error = excluded.error, occurred_at = now();
    end if;
    return v_is_reported;
exception
    when sqlstate 'CR001' then
        return false;
end;
$$;
comment on function campaign_runner.record_failure(uuid, uuid, text, text, text, text, timestamptz) is
    'Records a failure of this version of a campaign in its launch, which then waits, and in the errors of the run. A lock, '
    'a deadlock, a serialization failure or a timeout of a big step is noted in the launch, which stays ready, and entered '
    'into the errors once it has lasted a minute. What may be the '
    'database''s trouble is not counted as an attempt, unless other campaigns were launched since. False: nothing was entered '
    'into the errors.';
