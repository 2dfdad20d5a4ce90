create or replace function campaign_runner.is_ready(
    p_waiting text,
    p_next_attempt_at timestamptz,
    p_failed_with text,
    p_failed_version text,
    p_version text,
    p_is_permitted boolean,
    p_now timestamptz
)
returns boolean
language sql
immutable
-- Parsed when it is created, and inlined: a step asks for a thousand launches.
return p_waiting is null
    or (p_waiting = 'backoff' and p_next_attempt_at <= p_now)
    or p_failed_version is distinct from p_version
    or (p_failed_with = 'CR403' and p_is_permitted);
comment on function campaign_runner.is_ready(text, timestamptz, text, text, text, boolean, timestamptz) is
    'Whether a launch may be worked on: not while it waits, unless its backoff is over, its campaign was edited since, or '
    'the system user became a member.';
