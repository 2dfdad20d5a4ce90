create or replace function campaign_runner.count_recipients(
    p_campaign_id uuid,
    p_organization_id uuid,
    p_from uuid,
    p_max_rows bigint,
    p_deadline timestamptz,
    out next_from uuid,
    out contacts bigint,
    out inserts bigint,
    out recipients bigint
)
language plpgsql
stable
set search_path = pg_catalog, pg_temp
set row_security = off
as $$
declare
    v_rules constant campaign_runner.rules := campaign_runner.read_rules(p_campaign_id);
    v_page record;
begin
    next_from := p_from;
    contacts := 0;
    inserts := 0;
    recipients := 0;
    loop
        select * into v_page
        from campaign_runner.preview_page(
            p_campaign_id, p_organization_id, next_from, p_max_rows - contacts, true, 0, v_rules
        );
        next_from := v_page.next_from;
        contacts := contacts + v_page.contacts;
        inserts := inserts + v_page.inserts;
        recipients := recipients + v_page.recipients;
        exit when next_from is null or contacts >= p_max_rows or clock_timestamp() >= p_deadline;
    end loop;
end;
$$;
comment on function campaign_runner.count_recipients(uuid, uuid, uuid, bigint, timestamptz) is
    'The outcome of a launch that generates, page by page, up to p_max_rows contacts or the deadline. The count goes on at '
    'next_from, which is NULL after the last contact.';
