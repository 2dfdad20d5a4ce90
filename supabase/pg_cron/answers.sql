-- The last calls by pg_cron, and the last answers that pg_net received, the newest first. A call that "succeeded" was sent:
-- whether it was answered stands in the answers, which pg_net keeps for six hours, for whatever else uses it too.

with calls as (
    select d.start_time as at, 'call' as what, d.status as outcome, d.return_message as detail
    from cron.job_run_details as d
    where d.command like '%campaign_runner_token%'
    order by d.start_time desc
    limit 20
),
answers as (
    select
        r.created as at,
        'answer' as what,
        coalesce(r.status_code::text, case when r.timed_out then 'timed out' else 'failed' end) as outcome,
        coalesce(r.error_msg, left(r.content, 200)) as detail
    from net._http_response as r
    order by r.created desc
    limit 20
)
select * from calls
union all
select * from answers
order by at desc;
