create or replace function campaign_runner.condition(
    p_launch campaign_runner.launches,
    p_status text,
    p_is_due boolean,
    p_is_ready boolean
)
returns text
language sql
immutable
return case
    when (p_launch).closed_at is not null then (p_launch).state
    when p_status = 'sending' and (p_launch).generates then 'taken_over'
    when p_is_due is not true then 'resting'
    when (p_launch).waiting in ('held', 'needs_attention') then case when p_is_ready then 'ready' else (p_launch).waiting end
    when (p_launch).failed_with is not null then 'failing'
    else (p_launch).state
end;
comment on function campaign_runner.condition(campaign_runner.launches, text, boolean, boolean) is
    'The condition of a launch whose campaign has this status (NULL: deleted). launched and abandoned: over; taken_over: a '
    'person set the campaign to sending in the middle of the launch; resting: the campaign is not due; held and '
    'needs_attention: waits for a person; ready: waited for a person, and the cause is gone, in no list until a step takes '
    'it; failing: failed, and tried again by itself; else the state, such as generating or reconciling.';
