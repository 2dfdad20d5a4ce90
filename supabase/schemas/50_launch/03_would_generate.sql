create or replace function campaign_runner.would_generate(
    p_campaign_id uuid
)
returns boolean
language plpgsql
stable
set search_path = pg_catalog, pg_temp
set row_security = off
set enable_seqscan = off
as $$
begin
    -- "Recipients exist" is not "recipients complete": rows that an interrupted launch of ours left are resumed.
    return (
        select coalesce(
            (
                select l.left_recipients
                from campaign_runner.launches l
                where l.campaign_id = p_campaign_id and l.closed_at is not null
                order by l.id desc
                limit 1
            ),
            false
        )
        or not exists (select from public.campaign_recipients r where r.campaign_id = p_campaign_id)
    );
end;
$$;
comment on function campaign_runner.would_generate(uuid) is
    'Whether a launch that begins now generates recipients: not where recipients exist that no launch of ours left '
    'behind.';
